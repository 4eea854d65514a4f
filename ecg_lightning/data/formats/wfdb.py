"""A user's own WFDB records: those of a data set, compared with what the manifest states."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from ecg_lightning.data.formats.stated import Fault, Stated
from ecg_lightning.data.record import BadRecord, Layout, Record
from ecg_lightning.data.wfdb_files import Header, WFDBFile


@dataclass(frozen=True)
class StatedWFDBFile(WFDBFile):
    """A recording in WFDB files, `.mat` of the CinC challenges among them (a `RecordFile`).

    Attributes:
        stated: what the manifest says of the signal; the unit is the header's alone, signal by signal.
    """

    stated: Stated = field(default_factory=Stated)

    def paths(self) -> list[Path]:
        """The header and every file that it names."""
        header = self.path.with_name(self.path.name + ".hea")
        try:
            return [header, *_named_files(header, self._header)]
        except BadRecord:  # `layout` tells it.
            return [header]

    def layout(self) -> Layout:
        """See `RecordFile`; the header agrees with what is stated."""
        layout = super().layout()
        try:
            self.stated.rate(layout.fs)
            if self.stated.leads:
                self.stated.signals(layout.leads)
        except Fault as fault:
            raise BadRecord(f"{self.path}.hea: {fault}") from None
        return layout

    def read(self) -> Record:
        """See `RecordFile`."""
        self.layout()
        return super().read()


def _named_files(path: Path, header: Header | None) -> list[Path]:
    """The signal files of a header; of one in several segments, their headers and signal files."""
    if header is not None:
        return [path.with_name(name) for name in dict.fromkeys(signal.file for signal in header.signals)]
    lines = [line for line in path.read_text(errors="replace").splitlines() if line.strip() and line[0] != "#"]
    segments = [line.split()[0] for line in lines[1:] if not line.startswith("~")]
    return [path.parent / f"{name}{suffix}" for name in segments for suffix in (".hea", ".dat")]
