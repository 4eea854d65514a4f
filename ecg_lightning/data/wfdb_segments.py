"""WFDB recordings in several segments, each a recording of its own with its own header.

In a recording of fixed layout all segments hold the same leads. In one of variable layout the first segment holds no
samples and names all leads, and each of the others holds some of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ecg_lightning.data.record import BadRecord
from ecg_lightning.data.wfdb_header import PLACEHOLDER, Header, SegmentedHeader, file_size, parse_header
from ecg_lightning.data.wfdb_samples import SAMPLES_PER_BYTE
from ecg_lightning.data.wfdb_signal import check_files, read_millivolts


@dataclass(frozen=True)
class Segments:
    """The segments of one recording.

    Attributes:
        path: its header file.
        header: what that says.
    """

    path: Path
    header: SegmentedHeader

    @property
    def files(self) -> list[str]:
        """Names of the segments' headers and signal files.

        Raises:
            BadRecord: a header cannot be read.
        """
        names = [f"{name}.hea" for name, _ in self.header.segments if name != PLACEHOLDER]
        return names + [file for header in self._headers if header for file in header.files]

    def check(self) -> tuple[str, ...]:
        """See that all segments are there and make up the whole.

        Returns:
            The names of the L leads.

        Raises:
            BadRecord: a segment is missing or bad, has segments itself, or contradicts the whole.
        """
        leads = next((segment.leads for segment in self._headers if segment), ())
        if len(leads) != self.header.signals or (self._variable and len(set(leads)) < len(leads)):
            raise BadRecord(f"{self.path}: its segments do not hold the {self.header.signals} leads that it states")
        for (name, samples), segment in zip(self.header.segments, self._headers, strict=True):
            if segment is None:
                continue
            if (segment.fs, segment.samples) != (self.header.fs, samples):
                raise self._disagrees(name, f"states {segment.samples} samples at {segment.fs:g} Hz, "
                                      f"{self.path.name} {samples} at {self.header.fs:g} Hz")  # fmt: skip
            if not (set(segment.leads) <= set(leads) if self._variable else segment.leads == leads):
                raise self._disagrees(name, f"holds the leads {segment.leads}, {self.path.name} {leads}")
            if samples:
                check_files(segment, self.path.parent)
        self._check_gaps(len(leads))
        return leads

    def read(self, leads: tuple[str, ...]) -> NDArray[np.float32]:
        """The whole recording, (L, T), NaN where a lead was not recorded; `check` comes before.

        Raises:
            BadRecord: a segment is bad.
        """
        signal = np.full((len(leads), self.header.samples), np.nan, np.float32)
        start = 0
        for (_, samples), segment in zip(self.header.segments, self._headers, strict=True):
            if segment is not None and samples:
                rows = [leads.index(lead) for lead in segment.leads] if self._variable else slice(None)
                signal[rows, start : start + samples] = read_millivolts(segment, self.path.parent)
            start += samples
        return signal

    @property
    def _variable(self) -> bool:
        return self.header.segments[0][1] == 0

    @cached_property
    def _headers(self) -> list[Header | None]:
        """Each segment's header, None for a gap."""
        return [None if name == PLACEHOLDER else self._parse(name) for name, _ in self.header.segments]

    def _parse(self, name: str) -> Header:
        header = parse_header(self._header_file(name))
        if isinstance(header, SegmentedHeader):
            raise self._disagrees(name, f"is a segment of {self.path.name} and has segments itself")
        return header

    def _check_gaps(self, leads: int) -> None:
        """A few bytes that state a year without a sample would take all memory."""
        files = {file for header in self._headers if header for file in header.files}
        size = sum(file_size(self.path.with_name(file)) for file in files)
        if self.header.samples * leads > SAMPLES_PER_BYTE * size:
            raise BadRecord(f"{self.path}: states {self.header.samples} samples, nearly all of which are missing")

    def _header_file(self, name: str) -> Path:
        return self.path.with_name(f"{name}.hea")

    def _disagrees(self, name: str, how: str) -> BadRecord:
        return BadRecord(f"{self._header_file(name)}: {how}; fetch the recording again")
