"""Kaggle's ECG Heartbeat Categorization (Kachuee et al. 2018): beats cut from MIT-BIH and from the PTB database.

https://www.kaggle.com/datasets/shayanfazeli/heartbeat ; rows of 187 samples at 125 Hz and a class, without a header,
each scaled to [0, 1] and filled up with zeros. They do not say whose beats they are.
"""

from __future__ import annotations

import gzip
import io
import zipfile
import zlib
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import IO, Any, Literal, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ecg_lightning.data.beats import BeatTable, CutBeats
from ecg_lightning.data.module import LEFT_OUT, SPLITS
from ecg_lightning.data.regular import regular_size
from ecg_lightning.data.store import Store
from ecg_lightning.errors import UserError

SAMPLES = 187
MOST_ROWS = 200_000
"""Of one file; the largest published one has 87,554. A compressed file may unpack to anything."""

LONGEST_ROW = 100 * (SAMPLES + 1)
"""Bytes, on average; the published ones take a quarter."""

CHUNK_ROWS = 20_000

HOW = (
    "get it from https://www.kaggle.com/datasets/shayanfazeli/heartbeat and put the zip, or what is in it, there; it "
    "needs an account, so no command fetches it"
)


class Part(NamedTuple):
    """One of the published files: its name, whose beats it holds, its split, and the class it stands for, if any."""

    file: str
    population: str
    short: str
    split: int
    label: int | None = None


TASKS: dict[str, tuple[tuple[str, ...], tuple[Part, ...]]] = {
    "mitbih": (
        ("N", "S", "V", "F", "Q"),
        (Part("mitbih_train.csv", "mitbih", "train", 0), Part("mitbih_test.csv", "mitbih", "test", 2)),
    ),
    "ptbdb": (
        ("normal", "abnormal"),
        (Part("ptbdb_normal.csv", "ptb", "normal", -1, 0), Part("ptbdb_abnormal.csv", "ptb", "abnormal", -1, 1)),
    ),
}


class Heartbeat(CutBeats):
    """The published files, as CSV, gzipped, or in the zip as it is downloaded.

    Their split puts beats of one patient on both sides, and nothing in them tells whose is whose: results say
    intra-patient. `heartbeat_mitdb` cuts the same beats where they can be told.

    Args:
        task: `mitbih` (N S V F Q; the published test file tests, a tenth of the other validates) or `ptbdb` (normal,
            abnormal; divided 8:1:1).
        base: see `ECGDataModule`.
    """

    split_kind = "intra-patient"
    download = HOW

    def __init__(self, task: Literal["mitbih", "ptbdb"] = "mitbih", **base: Any) -> None:
        super().__init__(**base)
        if task not in TASKS:
            raise UserError(f"data.task={task!r} is not one of {', '.join(TASKS)}")
        self.task = task
        self.classes, self._parts = TASKS[task]

    @property
    def variant(self) -> str:
        """See `CutBeats`."""
        return self.task

    def sources(self) -> Sequence[Path]:
        """The task's files, or the zips that hold them."""
        return [path for path, _ in self._found]

    def table(self) -> BeatTable:
        """The rows of the task's files."""
        found = zip(self._parts, self._found, strict=True)
        return BeatTable.joined([_read_part(part, path, member) for part, (path, member) in found])

    def split_of_records(self, store: Store) -> NDArray[np.int8]:
        """As published; where nothing is, by a draw that never changes."""
        draw = np.random.default_rng(0).random(len(store))
        drawn = np.digitize(draw, [0.8, 0.9])
        train, val = SPLITS.index("train"), SPLITS.index("val")
        published = np.where((store.fold == train) & (draw > 0.9), val, store.fold)
        return np.where(store.fold == LEFT_OUT, drawn, published).astype(np.int8)

    @cached_property
    def _found(self) -> list[tuple[Path, str]]:
        """Where each file lies: a path, and the name inside it where it is a zip."""
        return [self._find(part.file) for part in self._parts]

    def _find(self, name: str) -> tuple[Path, str]:
        for path in (self.root / name, self.root / f"{name}.gz"):
            if path.is_file():
                return path, ""
        for path in sorted(self.root.glob("*.zip")):
            try:
                regular_size(path)
                inside = [member for member in zipfile.ZipFile(path).namelist() if Path(member).name == name]
            except (OSError, zipfile.BadZipFile) as error:
                raise UserError(f"{path}: not a readable zip ({error}); download it again") from error
            if inside:
                return path, inside[0]
        state = f"holds no {name}, {name}.gz or zip with it" if self.root.is_dir() else "is missing"
        raise UserError(f"data.root={self.root} {state}; {HOW}")


def valid_length(signal_RT: NDArray[np.floating]) -> NDArray[np.int64]:
    """Samples of each row before its zeros at the end, (R,).

    Args:
        signal_RT: (R, T) rows filled up with zeros.
    """
    filled = signal_RT[:, ::-1] != 0
    return np.where(filled.any(axis=1), signal_RT.shape[1] - filled.argmax(axis=1), 0)


def _read_part(part: Part, path: Path, member: str) -> BeatTable:
    named = f"{path}/{member}" if member else str(path)
    rows = _read_rows(path, member, named)
    signal, label = rows[:, :SAMPLES], rows[:, SAMPLES]
    length = valid_length(np.nan_to_num(signal))
    names = [f"{part.short}-{row}" for row in range(len(rows))]
    faults = _faults(signal, label, length, part)
    good = np.setdiff1d(np.arange(len(rows)), list(faults))
    return BeatTable(
        signal[good],
        length[good],
        label[good].astype(np.int64),
        [names[row] for row in good],
        [f"{part.population}/kaggle:{names[row]}" for row in good],
        np.full(len(good), part.split),
        [{}] * len(good),
        {names[row]: f"{named}: row {row + 1} {fault}" for row, fault in faults.items()},
    )


def _faults(
    signal: NDArray[np.float32], label: NDArray[np.float32], length: NDArray[np.int64], part: Part
) -> dict[int, str]:
    """What is wrong with a row, by its number."""
    classes = TASKS["mitbih" if part.label is None else "ptbdb"][0]
    allowed = np.arange(len(classes)) if part.label is None else np.array([part.label])
    told = (
        (~np.isfinite(signal).all(axis=1), "holds samples that are no numbers"),
        ((signal < 0).any(axis=1) | (signal > 1).any(axis=1), "holds samples outside [0, 1]"),
        (length < 2, "is flat"),
        (~np.isin(label, allowed), f"has a class that is not one of {', '.join(map(str, allowed))}"),
    )
    faults: dict[int, str] = {}
    for where, fault in told:
        for row in np.flatnonzero(where).tolist():
            faults.setdefault(row, fault)
    return dict(sorted(faults.items()))


def _read_rows(path: Path, member: str, named: str) -> NDArray[np.float32]:
    try:
        with _open(path, member) as file:
            return _parse(io.BufferedReader(_Rows(file)), named)
    except UserError:
        raise
    except (OSError, EOFError, ValueError, zipfile.BadZipFile, zlib.error, RuntimeError, NotImplementedError) as error:
        raise UserError(f"{named}: cannot be read ({error}); download it again") from error


class _Rows(io.RawIOBase):
    """A file that ends with an error where its lines grow longer than rows: pandas would take one of any length."""

    def __init__(self, file: IO[bytes]) -> None:
        self.file, self.size, self.lines = file, 0, 1

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        content = self.file.read(len(buffer))
        self.size, self.lines = self.size + len(content), self.lines + content.count(b"\n")
        if self.size > LONGEST_ROW * self.lines:
            raise ValueError(f"its rows are longer than {SAMPLES + 1} numbers")
        buffer[: len(content)] = content
        return len(content)


def _open(path: Path, member: str) -> IO[bytes]:
    if member:
        return zipfile.ZipFile(path).open(member)
    return gzip.open(path) if path.suffix == ".gz" else path.open("rb")  # type: ignore[return-value]


def _parse(file: IO[bytes], named: str) -> NDArray[np.float32]:
    """All rows, (R, 188); what is no number is NaN."""
    parts: list[NDArray[np.float32]] = []
    for chunk in pd.read_csv(file, header=None, chunksize=CHUNK_ROWS):
        if chunk.shape[1] != SAMPLES + 1:
            raise UserError(
                f"{named}: has {chunk.shape[1]} columns, not the published {SAMPLES + 1}; download it again"
            )
        numbers = (
            chunk if all(kind.kind in "fiu" for kind in chunk.dtypes) else chunk.apply(pd.to_numeric, errors="coerce")
        )
        parts.append(numbers.to_numpy(np.float32))
        if len(parts) * CHUNK_ROWS > MOST_ROWS:
            raise UserError(f"{named}: has more than {MOST_ROWS} rows, the published file 87,554; download it again")
    return np.concatenate(parts)
