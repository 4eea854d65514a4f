"""A user's own WFDB records: those of a data set, compared with what the manifest states."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from ecg_lightning.data.formats.stated import Fault, Stated
from ecg_lightning.data.record import BadRecord, Layout, Record
from ecg_lightning.data.wfdb_files import WFDBFile


@dataclass(frozen=True)
class StatedWFDBFile(WFDBFile):
    """A recording in WFDB files, `.mat` of the CinC challenges among them (a `RecordFile`).

    Attributes:
        stated: what the manifest says of the signal; the unit is the header's alone, signal by signal.
    """

    stated: Stated = field(default_factory=Stated)

    def paths(self) -> list[Path]:
        """The header and every file that it names."""
        try:
            return self.named_files()
        except BadRecord:  # `layout` tells it.
            return super().paths()[:1]

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
