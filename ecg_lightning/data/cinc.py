"""The public 12-lead recordings of the PhysioNet/CinC Challenges 2020 and 2021, Georgia's (G12EC) among them.

https://physionet.org/content/challenge-2020/1.0.2/ and https://physionet.org/content/challenge-2021/1.0.3/
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from hashlib import blake2b
from pathlib import Path
from typing import Any, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray

from ecg_lightning.data.cinc_file import CinCFile
from ecg_lightning.data.record import RecordFile
from ecg_lightning.data.recordings import RecordDataModule
from ecg_lightning.data.snomed import ChallengeWeights, Task, challenge_weights, labels_of_codes
from ecg_lightning.data.store import Store
from ecg_lightning.errors import UserError


class Source(NamedTuple):
    """Where recordings of one population are.

    Attributes:
        records: glob of their names, which no other source has.
        folders: names of the folders that they are kept in: ours, PhysioNet's, the challenge's archives'.
    """

    records: str
    folders: tuple[str, ...]


_D4, _D5 = 4 * "[0-9]", 5 * "[0-9]"

SOURCES = {
    "cpsc2018": Source("A" + _D4, ("cpsc2018", "cpsc_2018", "WFDB_CPSC2018")),
    "cpsc2018_extra": Source("Q" + _D4, ("cpsc2018_extra", "cpsc_2018_extra", "WFDB_CPSC2018_2")),
    "st_petersburg": Source("I" + _D4, ("st_petersburg", "st_petersburg_incart", "WFDB_StPetersburg")),
    "ptb": Source("S" + _D4, ("ptb", "WFDB_PTB")),
    "ptbxl": Source("HR" + _D5, ("ptbxl_cinc", "ptb-xl", "WFDB_PTBXL")),
    "g12ec": Source("E" + _D5, ("g12ec", "georgia", "WFDB_Ga")),
    "chapman_ningbo": Source(
        "JS" + _D5, ("chapman_ningbo", "chapman_shaoxing", "ningbo", "WFDB_ChapmanShaoxing", "WFDB_Ningbo")
    ),
}
"""By population; the last came in 2021."""

NESTED = tuple(f"{host}challenge-20*/*/training" for host in ("", "files/", "physionet.org/files/"))
"""Where PhysioNet's downloads put the sources' folders."""

SHARES = (0.7, 0.8)
"""Of all recordings, up to where the training and the validation split reach."""


def find_records(root: Path, source: Source) -> list[Path]:
    """The records of a source.

    They lie in `root` itself, in a folder of the source's name below it or, as PhysioNet's downloads nest them, in
    `challenge-2020/1.0.2/training/` below `root`, or beside it where `root` is the source's own folder; everywhere
    directly or in groups (`g1/`).

    Args:
        root: where the configuration says they are.
        source: whose.

    Returns:
        Sorted paths without suffix; none where there are none.

    Raises:
        UserError: a record is there twice.
    """
    found = next(filter(None, (_records_below(base, source) for base in _bases(root, source))), set[Path]())
    by_name = {path.name: path for path in sorted(found)}
    for path in found:
        kept = by_name[path.name]
        if path != kept:
            raise UserError(f"record {path.name} is in {path.parent} and in {kept.parent}; take one of them away or "
                            "set data.root to the other")  # fmt: skip
    return [by_name[name] for name in sorted(by_name)]


def _bases(root: Path, source: Source) -> Iterator[Path]:
    yield root
    for near in (root, root.parent) if root.name in source.folders else (root,):
        for pattern in NESTED:
            yield from sorted(near.glob(pattern), reverse=True)  # the latest version first


def _records_below(base: Path, source: Source) -> set[Path]:
    """A file of either kind counts, so that a recording whose header is lost is missed."""
    return {
        path.with_suffix("")
        for folder in (".", *source.folders)
        for group in ("", "g[0-9]*/")
        for suffix in (".hea", ".mat")
        for path in (base / folder).glob(f"{group}{source.records}{suffix}")
    }


class CinC(RecordDataModule):
    """One or several sources of the challenges.

    No source says who was recorded, and some recorded a person several times (St Petersburg's 75 recordings are of 32
    people), so a patient may be on both sides of a split. Splits are drawn by a hash of the record's name, 70 % to
    train, 10 % to validate and 20 % to test: they stay when recordings are added or a source is taken alone.

    Args:
        tables: folder of the challenges' tables of diagnoses.
        sources: keys of `SOURCES`; None takes those that are there.
        task: which diagnoses are the labels. Recordings without one of them carry none and are left out of the task,
            not of pretraining.
        base: see `RecordDataModule`.
    """

    def __init__(
        self, tables: str | Path, sources: Sequence[str] | None = None, task: Task = "scored2020", **base: Any
    ) -> None:
        super().__init__(**base)
        if task not in get_args(Task):
            raise UserError(f"data.task={task!r} is not one of {', '.join(get_args(Task))}")
        if sources is not None and (not sources or isinstance(sources, str) or not set(sources) <= SOURCES.keys()):
            raise UserError(f"data.sources={sources!r} must be null or a list out of {', '.join(SOURCES)}")
        self.tables, self.sources, self.task = Path(tables), sources, task
        self.split_kind = "unknown"

    def records(self) -> Sequence[RecordFile]:
        """Every record of the sources that is there."""
        found = {name: find_records(self.root, SOURCES[name]) for name in self.sources or SOURCES}
        missing = [name for name in found if not found[name]]
        if missing and (self.sources is not None or len(missing) == len(found)):
            fetch = " | ".join(SOURCES[name].folders[0] for name in missing)
            raise UserError(
                f"data.root={self.root} holds no recordings of {' or '.join(missing)}; fetch them with python -m "
                f"ecg_lightning.data.download {fetch}, or set data.sources, data.root or ECG_DATA_ROOT to where the "
                "data are"
            )
        return [
            CinCFile(path, path.name, f"{name}/cinc:{path.name}", population=name)
            for name, paths in found.items()
            for path in paths
        ]

    def split_of_records(self, store: Store) -> NDArray[np.int8]:
        """By a hash of the record's name."""
        hashes = (blake2b(name.encode(), digest_size=8).digest() for name in store.record_id.tolist())
        return np.digitize([int.from_bytes(each, "big") / 2**64 for each in hashes], SHARES).astype(np.int8)

    @cached_property
    def classes(self) -> tuple[str, ...]:  # type: ignore[override]
        """The task's labels that occur in the recordings, in alphabetical order."""
        labels = self._labels  # A broken table is told before the recordings are prepared.
        present = {code for annotation in self.store.annotations for code in annotation["dx"]}
        return tuple(sorted({labels[code] for code in present & labels.keys()}))

    def record_labels(self, store: Store) -> NDArray[np.uint8]:
        """The task's labels of each recording."""
        number = {code: self.classes.index(label) for code, label in self._labels.items() if label in self.classes}
        y = np.zeros((len(store), len(self.classes)), np.uint8)
        for r, annotation in enumerate(store.annotations):
            y[r, [number[code] for code in annotation["dx"] if code in number]] = 1
        if not y.any():
            raise UserError(
                f"data.root={self.root}: no recording carries a diagnosis of data.task={self.task}; choose another "
                "task or add recordings"
            )
        return y

    @property
    def vocabulary(self) -> frozenset[str]:
        """See `ECGDataModule`."""
        return frozenset(self._labels.values())

    @cached_property
    def challenge_weights(self) -> ChallengeWeights | None:  # type: ignore[override]
        """See `ECGDataModule`."""
        return challenge_weights(self.tables, self.task)

    @cached_property
    def _labels(self) -> dict[str, str]:
        """The label that each code gives in this task."""
        return labels_of_codes(self.tables, self.task)
