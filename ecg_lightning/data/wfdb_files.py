"""Recordings in WFDB files: PTB-XL, MIT-BIH, the CinC challenges and whatever else PhysioNet publishes.

They are decoded here with numpy, a PTB-XL record some twenty times faster than by wfdb, to the same samples. What a
header and its files say twice is compared: sizes with lengths, checksums and initial values with samples. A recording
that contradicts itself is a bad record, and no memory is taken before the files are known to be large enough.

Format: https://wfdb.io/spec/
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from ecg_lightning.data.record import BadRecord, Layout, Record
from ecg_lightning.data.wfdb_header import Header, SegmentedHeader, parse_header
from ecg_lightning.data.wfdb_segments import Segments
from ecg_lightning.data.wfdb_signal import check_files, read_millivolts


@dataclass(frozen=True)
class WFDBFile:
    """A recording in WFDB files (a `RecordFile`).

    Attributes:
        path: the header's path without `.hea`.
        record_id: see `RecordFile`.
        patient: see `RecordFile`.
        fold: see `RecordFile`.
        annotation: what the data set's tables say of it.
    """

    path: Path
    record_id: str
    patient: str
    fold: int | None = None
    annotation: Mapping[str, Any] = field(default_factory=dict)

    def paths(self) -> list[Path]:
        """Header and signal file, which lies in a `.mat` where it came with the CinC challenges."""
        return [self._with_suffix(suffix) for suffix in (".hea", ".dat", ".mat")]

    def named_files(self) -> list[Path]:
        """The header and every file that it names, whether they are there or not.

        Raises:
            BadRecord: a header cannot be read.
        """
        return [self._with_suffix(".hea"), *map(self.path.with_name, self._content.files)]

    def layout(self) -> Layout:
        """See `RecordFile`; compares the files' sizes with the header."""
        header = self._content
        if isinstance(header, Segments):
            return Layout(header.header.fs, header.check(), header.header.samples)
        if not header.samples:
            raise BadRecord(f"{self._with_suffix('.hea')}: is the layout of a recording and holds no samples")
        check_files(header, self.path.parent)
        return Layout(header.fs, header.leads, header.samples)

    def read(self) -> Record:
        """See `RecordFile`."""
        layout, content = self.layout(), self._content
        if isinstance(content, Segments):
            signal = content.read(layout.leads)
        else:
            signal = read_millivolts(content, self.path.parent)
        return Record(signal, layout.fs, layout.leads, self.annotation)

    @cached_property
    def _content(self) -> Header | Segments:
        path = self._with_suffix(".hea")
        header = parse_header(path)
        return Segments(path, header) if isinstance(header, SegmentedHeader) else header

    def _with_suffix(self, suffix: str) -> Path:
        return self.path.with_name(self.path.name + suffix)
