"""A folder of one's own recordings, in any mix of the formats that are read, with or without a table of them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ecg_lightning.data.folds import split_by_fold, split_by_patient
from ecg_lightning.data.formats.matrix import split_names
from ecg_lightning.data.formats.opening import open_recording
from ecg_lightning.data.manifest import RESERVED, Entry, Manifest, find_recordings, read_manifest, within
from ecg_lightning.data.module import SPLITS
from ecg_lightning.data.record import RecordFile
from ecg_lightning.data.recordings import UNLABELLED, RecordDataModule
from ecg_lightning.data.store import Store
from ecg_lightning.errors import UserError

MANIFEST = "records.csv"


class Folder(RecordDataModule):
    """Recordings of one's own.

    With a table, it is the list of recordings: `path`, and where they are wanted `record`, `patient`, `fold`, `fs`,
    `leads`, `unit` and labels. Without one, every file that can be read belongs to it.

    Patients are divided as the column `fold` says, else 70:10:20 by a hash of the patient. Without a column `patient`
    every recording is divided as if it were a patient of its own, and results say that nobody knows.

    Args:
        manifest: the table, from `root`.
        labels: the column of class names, several in a cell separated by `;` where recordings carry several; or a list
            of columns of zeros and ones. An empty cell, and a row of zeros, is a recording without a label, which
            pretraining uses. Without the column there are no labels.
        population: whose recordings these are, for the guard against seen patients: `ptbxl` where they are PTB-XL's;
            None takes the folder's name.
        split: None refuses a column `fold` that puts a patient into several splits; `intra_patient` takes it, and
            results say so.
        base: see `RecordDataModule`.
    """

    def __init__(
        self,
        manifest: str = MANIFEST,
        labels: str | list[str] = "label",
        population: str | None = None,
        split: Literal["intra_patient"] | None = None,
        **base: Any,
    ) -> None:
        super().__init__(**base)
        if split not in (None, "intra_patient"):
            raise UserError(f"data.split={split!r} is neither null nor intra_patient")
        self.table, self.split = manifest, split
        self.labels = [labels] if isinstance(labels, str) else list(labels)
        self.one_column = isinstance(labels, str)
        self.population = population or self.root.resolve().name.replace(":", "_")
        if not self.labels or len(set(self.labels)) < len(self.labels) or set(self.labels) & {*RESERVED, ""}:
            raise UserError(f"data.labels={labels} must be columns of {manifest} other than {', '.join(RESERVED)}")
        if not self.population or set(self.population) & set("/:"):
            raise UserError(f"data.population={self.population!r} must be a name without slash and colon")

    @cached_property
    def manifest(self) -> Manifest:
        """The folder's recordings."""
        table = self.root / self.table
        if not self.root.is_dir():
            raise UserError(f"data.root={self.root} is missing; set data.root to the folder of your recordings")
        if table.exists() or self.table != MANIFEST:
            return read_manifest(table, self.root)
        return find_recordings(self.root, self.cache_dir)

    @property
    def split_kind(self) -> Any:  # type: ignore[override]
        """Whether patients are known and kept apart."""
        if "patient" not in self.manifest.columns:
            return "unknown"
        return "inter-patient" if self.split is None else "intra-patient"

    def records(self) -> Sequence[RecordFile]:
        """See `ECGDataModule`; every file lies in the folder."""
        _ = self._split  # A patient in two splits is told before recordings are prepared.
        files = [self._open(entry) for entry in self.manifest.entries]
        for entry, file in zip(self.manifest.entries, files, strict=True):
            for path in file.paths():
                within(self.root, path, entry.path)
        return files

    def _open(self, entry: Entry) -> RecordFile:
        leads, fold = entry.cell("leads"), entry.cell("fold")
        return open_recording(
            entry.path,
            entry.record,
            self._patient(entry),
            int(fold) if fold and fold.isdigit() else None,
            fs=self._rate(entry),
            leads=None if leads is None else split_names(leads),
            unit=entry.cell("unit"),
        )

    def _rate(self, entry: Entry) -> float | None:
        cell = entry.cell("fs")
        try:
            return None if cell is None else float(cell)
        except ValueError:
            raise self._fault(entry, f"fs {cell!r} is not a rate in Hz") from None

    def _patient(self, entry: Entry) -> str:
        if "patient" not in self.manifest.columns:
            return f"{self.population}/folder:{entry.record.replace(':', '_')}"
        patient = entry.cell("patient")
        if patient is None or ":" in patient:
            raise self._fault(entry, "patient is empty or holds a colon; name whoever it is, or take the column away")
        return f"{self.population}/{patient}"

    def _fault(self, entry: Entry, fault: str) -> UserError:
        return UserError(f"{self.manifest.source}: line {entry.line} (recording {entry.record}): {fault}")

    # --- splits ---------------------------------------------------------------------------------------------------

    def split_of_records(self, store: Store) -> NDArray[np.int8]:
        """See `ECGDataModule`."""
        return np.array([self._split[str(record)] for record in store.record_id], np.int8)

    @cached_property
    def _split(self) -> dict[str, int]:
        """The split of each recording, by its name."""
        entries = self.manifest.entries
        patients = [self._patient(entry) for entry in entries]
        if "fold" not in self.manifest.columns:
            if self.split is not None:
                raise UserError(f"data.split={self.split} takes the folds of {self.table}, which has no column fold")
            of = split_by_patient(patients)
            return {entry.record: of[patient] for entry, patient in zip(entries, patients, strict=True)}
        try:
            split = split_by_fold([entry.cells["fold"] for entry in entries])
        except ValueError as error:
            raise UserError(f"{self.manifest.source}: column fold: {error}; mend it or take it away") from None
        if self.split is None:
            self._refuse_divided(patients, split)
        return {entry.record: number for entry, number in zip(entries, split, strict=True)}

    def _refuse_divided(self, patients: Sequence[str], split: Sequence[int]) -> None:
        first: dict[str, int] = {}
        for patient, number in zip(patients, split, strict=True):
            if first.setdefault(patient, number) != number:
                who, both = patient.partition("/")[2], f"{SPLITS[first[patient]]} and {SPLITS[number]}"
                raise UserError(
                    f"{self.manifest.source}: column fold puts patient {who} into {both}; mend it, or take it as it is "
                    "with data.split=intra_patient"
                )

    # --- labels ---------------------------------------------------------------------------------------------------

    @cached_property
    def classes(self) -> tuple[str, ...]:  # type: ignore[override]
        """The names in the label column in alphabetical order, or the label columns."""
        found = {name for names in self._names.values() for name in names}
        return tuple(sorted(found)) if self.one_column else tuple(self.labels)

    def record_labels(self, store: Store) -> NDArray[np.integer[Any]]:
        """See `RecordDataModule`; single labels where no cell of the label column holds several."""
        number = {name: c for c, name in enumerate(self.classes)}
        names = [self._names[str(record)] for record in store.record_id]
        if self.one_column and all(len(each) < 2 for each in self._names.values()):
            return np.array([number[each[0]] if each else UNLABELLED for each in names], np.int64)
        y = np.zeros((len(store), len(number)), np.uint8)
        for row, each in enumerate(names):
            y[row, [number[name] for name in each]] = 1
        return y

    @cached_property
    def _names(self) -> dict[str, list[str]]:
        """The classes of each recording, by its name.

        Raises:
            UserError: there is no label column, or no label in it, or a cell that is none.
        """
        missing = [column for column in self.labels if column not in self.manifest.columns]
        if missing:
            raise UserError(
                f"{self.root} has no labels to evaluate on: add a column {missing[0]} to {self.table}, or say with "
                "data.labels which column holds them"
            )
        names = {entry.record: self._names_of(entry) for entry in self.manifest.entries}
        if len({name for each in names.values() for name in each}) < 2:
            raise UserError(
                f"{self.manifest.source}: the labels in {', '.join(self.labels)} are fewer than two classes; add some"
            )
        return names

    def _names_of(self, entry: Entry) -> list[str]:
        if self.one_column:
            return list(dict.fromkeys(name.strip() for name in entry.cells[self.labels[0]].split(";") if name.strip()))
        cells = {column: entry.cells[column] for column in self.labels}
        if not any(cells.values()):
            return []
        odd = next((column for column, cell in cells.items() if cell not in ("0", "1", "0.0", "1.0")), None)
        if odd is not None:
            raise self._fault(entry, f"{odd} is {cells[odd]!r}, not 0 or 1")
        return [column for column, cell in cells.items() if float(cell)]
