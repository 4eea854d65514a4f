"""PTB-XL (Wagner et al. 2020): 21,837 clinical 12-lead recordings of 10 s with SCP-ECG statements.

https://physionet.org/content/ptb-xl/1.0.3/ ; tasks and folds as in Strodthoff et al. 2020.
"""

from __future__ import annotations

import ast
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ecg_lightning.data.locate import locate
from ecg_lightning.data.record import RecordFile
from ecg_lightning.data.recordings import RecordDataModule
from ecg_lightning.data.regular import regular_size
from ecg_lightning.data.store import Store
from ecg_lightning.data.wfdb_files import WFDBFile
from ecg_lightning.errors import UserError

Task = Literal["all", "diagnostic", "subdiagnostic", "superdiagnostic", "form", "rhythm"]

DATABASE, STATEMENTS = "ptbxl_database.csv", "scp_statements.csv"
FILENAME = {100: "filename_lr", 500: "filename_hr"}
COLUMNS = ("ecg_id", "patient_id", "scp_codes", "strat_fold", *FILENAME.values())


class PTBXL(RecordDataModule):
    """PTB-XL, or any set in its layout.

    Args:
        task: which statements are the labels. Any statement counts, even at likelihood 0; recordings without a label
            of the task carry none and are left out of it, not of pretraining.
        source_fs: which of the published files to read, 100 or 500 Hz; None takes those at the spec's rate, else
            those at 500 Hz where they are there.
        population: whose recordings these are: patients of the same population and number are the same.
        base: see `RecordDataModule`. Folds 1-8 train, 9 validates, 10 tests.
    """

    download = "fetch it with: python -m ecg_lightning.data.download ptbxl"

    def __init__(
        self, task: Task = "superdiagnostic", source_fs: int | None = None, population: str = "ptbxl", **base: Any
    ) -> None:
        super().__init__(**base)
        if task not in get_args(Task):
            raise UserError(f"data.task={task!r} is not one of {', '.join(get_args(Task))}")
        if source_fs is not None and source_fs not in FILENAME:
            raise UserError(f"data.source_fs={source_fs} is not one of 100, 500")
        self.task, self.source_fs, self.population = task, source_fs, population

    @cached_property
    def folder(self) -> Path:
        """Where `ptbxl_database.csv` lies."""
        return locate(self.root, DATABASE, ("ptb-xl",), self.download)

    def records(self) -> Sequence[RecordFile]:
        """The recordings of the table; all of them must be there."""
        table = self._database
        filename = FILENAME[self._source_fs(table)]
        _check_cells(table, filename, self.folder / DATABASE)
        used = table[["ecg_id", "patient_id", "scp_codes", "strat_fold", filename]]
        return [
            WFDBFile(
                self.folder / path,
                str(number),
                f"{self.population}/{who:.0f}",
                int(fold),
                {"scp_codes": statements(codes)},
            )
            for number, who, codes, fold, path in used.itertuples(index=False)
        ]

    def split_of_records(self, store: Store) -> NDArray[np.int8]:
        """Folds 1-8, 9 and 10; the published folds keep each patient in one."""
        return np.digitize(store.fold, [9, 10]).astype(np.int8)

    def record_labels(self, store: Store) -> NDArray[np.uint8]:
        """The task's labels of each recording."""
        number = {code: c for c, label in enumerate(self.classes) for code, of in self._labels.items() if of == label}
        y = np.zeros((len(store), len(self.classes)), np.uint8)
        for r, annotation in enumerate(store.annotations):
            y[r, [number[code] for code in annotation["scp_codes"] if code in number]] = 1
        if not y.any():
            raise UserError(f"{self.folder / DATABASE}: no recording carries a statement of data.task={self.task}")
        return y

    @cached_property
    def classes(self) -> tuple[str, ...]:  # type: ignore[override]
        """The task's labels that occur in the table, in alphabetical order."""
        present = {code for text in self._database["scp_codes"] for code in statements(text) or ()}
        return tuple(sorted({label for code, label in self._labels.items() if code in present}))

    @property
    def vocabulary(self) -> frozenset[str]:
        """See `ECGDataModule`."""
        return frozenset(self._labels.values())

    @cached_property
    def _labels(self) -> dict[str, str]:
        """The label that each statement gives in this task."""
        table = _read_table(self.folder / STATEMENTS, ("diagnostic", "form", "rhythm", "diagnostic_class",
                                                       "diagnostic_subclass"), index_col=0)  # fmt: skip
        if self.task == "all":
            return {str(code): str(code) for code in table.index}
        kind = self.task if self.task in ("form", "rhythm") else "diagnostic"
        chosen = table[table[kind] == 1]
        column = {"subdiagnostic": "diagnostic_subclass", "superdiagnostic": "diagnostic_class"}.get(self.task)
        labels = chosen.index if column is None else chosen[column]
        return dict(zip(chosen.index.astype(str), labels.astype(str), strict=True))

    @cached_property
    def _database(self) -> pd.DataFrame:
        return _read_table(self.folder / DATABASE, COLUMNS)

    def _source_fs(self, table: pd.DataFrame) -> int:
        """The rate of the files to read."""
        if self.source_fs is not None:
            return self.source_fs
        if self.spec.fs in FILENAME:
            return int(self.spec.fs)
        first = self.folder / str(table["filename_hr"].iloc[0])
        return 500 if first.with_name(first.name + ".hea").exists() else 100


def statements(text: str) -> dict[str, float] | None:
    """The `scp_codes` of one recording, statement and likelihood; None where the text is no such dictionary."""
    try:
        codes = ast.literal_eval(text)
        return {str(code): float(likelihood) for code, likelihood in codes.items()}
    except (ValueError, SyntaxError, AttributeError, TypeError, RecursionError, MemoryError):
        return None


def _stays_inside(path: object) -> bool:
    return not (set(str(path).split("/")) & {"", ".", ".."} or set(str(path)) & set("\\:\0"))


def _check_cells(table: pd.DataFrame, filename: str, path: Path) -> None:
    """Every recording once, with a patient who is in one fold, from 1 to 10, a file and statements.

    Raises:
        UserError: it is not so; the message names the table, the recording and the column.
    """
    patient, fold = (pd.to_numeric(table[column], errors="coerce") for column in ("patient_id", "strat_fold"))
    faults = (
        ("ecg_id", table["ecg_id"].duplicated(), "is there twice"),
        ("scp_codes", pd.Series(statements(text) is None for text in table["scp_codes"]), "is not a dictionary"),
        ("patient_id", patient.isna(), "is no number"),
        ("strat_fold", ~fold.isin(range(1, 11)), "is not one of 1 to 10"),
        (filename, table[filename].isna(), "is no file"),
        (filename, ~table[filename].map(_stays_inside), "is no path inside the data set's folder"),
        ("patient_id", fold.groupby(patient).transform("nunique") > 1, "is in several folds"),
    )
    for column, where, fault in faults:
        if where.any():
            value, number = (table.loc[where, name].iloc[0] for name in (column, "ecg_id"))
            wrong = "is empty" if pd.isna(value) else f"{value} {fault}"
            raise UserError(f"{path}: {column} {wrong} (ecg_id {number}); fetch the table again")


def _read_table(path: Path, columns: Sequence[str], **options: Any) -> pd.DataFrame:
    try:
        regular_size(path)
        table: pd.DataFrame = pd.read_csv(path, **options)
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be read ({error}); fetch it again") from error
    missing = [column for column in columns if column not in table.columns]
    if not missing and table.empty:
        raise UserError(f"{path}: has no row; fetch it again")
    if missing:
        raise UserError(f"{path}: has no column {', '.join(missing)}; it is not the published table, fetch it again")
    return table
