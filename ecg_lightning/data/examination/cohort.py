"""Whose the recordings are, how they are divided, and what they are labelled with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ecg_lightning.data.examination.finding import Finding, counted
from ecg_lightning.data.identity import is_known
from ecg_lightning.data.module import LEFT_OUT, SPLITS, ECGDataModule, Examples
from ecg_lightning.data.store import Store
from ecg_lightning.errors import UserError

FEW = 10
"""Examples of a class in a split, below which its figures say little."""

NO_SPLIT = "left out"
NAMES = dict(enumerate(SPLITS)) | {LEFT_OUT: NO_SPLIT}


class Count(NamedTuple):
    """How many, and of how many patients."""

    number: int
    patients: int


@dataclass(frozen=True)
class Cohort:
    """A data set's people and labels.

    Attributes:
        split_kind: see `ECGDataModule`.
        total: recordings that can be used, and their patients.
        unknown: how many of these stand for themselves, because nobody says who was recorded.
        recordings: the same by split.
        classes: examples of each class by split.
        unlabelled: recordings that carry no label.
        split: of each recording.
    """

    split_kind: str
    total: Count
    unknown: int
    recordings: Mapping[str, Count]
    classes: Mapping[str, Mapping[str, Count]] = field(default_factory=dict)
    unlabelled: int = 0
    split: Mapping[str, str] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)


def survey(data: ECGDataModule) -> tuple[Cohort, list[Finding]]:
    """Count patients, recordings and labels, and tell what is odd about them.

    Raises:
        UserError: no recording can be used.
    """
    store, number = data.store, data.split_of_records(data.store)
    split = {str(record): NAMES[int(s)] for record, s in zip(store.record_id, number, strict=True)}
    recordings = _by_split(number, np.arange(len(store)), store.patient)
    people = np.unique(store.patient)
    total, unknown = Count(len(store), len(people)), sum(not is_known(who) for who in people.tolist())
    try:
        examples, names = data.labelled, tuple(data.classes)
    except UserError as error:
        cohort = Cohort(data.split_kind, total, unknown, recordings, {}, len(store), split)
        unlabelled = Finding("note", f"no labels: {error}", "Nothing for pretraining; an evaluation needs labels.")
        return cohort, [*_empty_splits(recordings), *_patients(store, number, data.split_kind), unlabelled]
    classes = {name: _by_split(*_of_class(examples, c), store.patient) for c, name in enumerate(names)}
    unlabelled_recordings = len(store) - len(np.unique(examples.row))
    both = np.concatenate([number, examples.split]), np.concatenate([np.arange(len(store)), examples.row])
    cohort = Cohort(data.split_kind, total, unknown, recordings, classes, unlabelled_recordings, split)
    return cohort, [
        *_empty_splits(recordings),
        *_patients(store, both[0], data.split_kind, both[1]),
        *_classes(classes, unlabelled_recordings, len(store)),
    ]


def _of_class(examples: Examples, c: int) -> tuple[NDArray[np.int8], NDArray[np.int64]]:
    """Split and recording of a class's examples, the windows of one recording counted once."""
    which = np.flatnonzero(examples.y == c if examples.y.ndim == 1 else examples.y[:, c])
    if examples.unit is not None:
        which = which[np.unique(examples.unit[which], return_index=True)[1]]
    return examples.split[which], examples.row[which]


def _by_split(split: NDArray[np.int8], row: NDArray[np.int64], patient: NDArray[np.str_]) -> dict[str, Count]:
    """Counts of what lies in each split; what lies in none only where there is some."""
    _, person = np.unique(patient, return_inverse=True)
    counts = {}
    for number, name in NAMES.items():
        rows = row[split == number]
        if len(rows) or number != LEFT_OUT:
            counts[name] = Count(len(rows), len(np.unique(person[rows])))
    return counts


def _empty_splits(recordings: Mapping[str, Count]) -> list[Finding]:
    empty: dict[str, str] = {name: "" for name in SPLITS if not recordings[name].number}
    if not empty:
        return []
    remedy = "Add recordings: pretraining needs train and val, an evaluation train and test."
    return [Finding("error", f"no recording in {' and in '.join(empty)}", remedy, empty)]


def _patients(store: Store, split: NDArray[np.int8], kind: str, row: NDArray[np.int64] | None = None) -> list[Finding]:
    """Who is in several splits, and of whom nobody knows.

    Args:
        store: the recordings.
        split: (K,) of recordings and examples.
        kind: what the data set claims of its split.
        row: (K,) their recordings; None where they are the recordings themselves.
    """
    patient = store.patient if row is None else store.patient[row]
    sides: dict[str, set[int]] = {}
    for who, number in np.unique(np.stack([patient, split.astype(np.str_)]), axis=1).T:
        if int(number) != LEFT_OUT:
            sides.setdefault(str(who), set()).add(int(number))
    several = {who: " and ".join(SPLITS[n] for n in sorted(of)) for who, of in sides.items() if len(of) > 1}
    unknown = {who: "" for who in np.unique(store.patient).tolist() if not is_known(who)}
    findings = []
    if several:
        meant = kind == "intra-patient"
        remedy = ("Nothing; results say intra-patient, and are not comparable with inter-patient ones." if meant
                  else "Give each patient one fold: a patient who is tested must not be trained on.")  # fmt: skip
        what = f"{counted(len(several), 'patient')} in several splits"
        findings.append(Finding("note" if meant else "error", what, remedy, several))
    if unknown:
        what = f"nobody knows whose {counted(len(unknown), 'recording')} are, so a patient may be in two splits"
        findings.append(Finding("note", what, "Name patients where you can; results say that the split is unknown."))
    return findings


def _classes(classes: Mapping[str, Mapping[str, Count]], unlabelled: int, recordings: int) -> list[Finding]:
    """Classes that cannot be learned or judged."""
    none, few = {}, {}
    for name, by_split in classes.items():
        absent = [split for split in ("train", "test") if not by_split[split].number]
        scarce = [f"{by_split[split].number} in {split}" for split in SPLITS if 0 < by_split[split].number < FEW]
        scarce += ["none in val"] if not by_split["val"].number else []
        if absent:
            none[name] = f"none in {' and '.join(absent)}"
        elif scarce:
            few[name] = ", ".join(scarce)
    findings = []
    if none:
        what = f"{counted(len(none), 'class')} without an example to learn or to judge by"
        findings.append(Finding("warning", what, "Choose a task without them, or add recordings.", none))
    if few:
        what = f"{counted(len(few), 'class')} with fewer than {FEW} examples in a split"
        remedy = "Trust figures of these classes only as far as their intervals reach."
        findings.append(Finding("note", what, remedy, few))
    if unlabelled:
        what = f"{unlabelled:,} of {recordings:,} recordings carry no label of this task"
        findings.append(Finding("note", what, "Nothing; pretraining uses them, and an evaluation leaves them out."))
    return findings
