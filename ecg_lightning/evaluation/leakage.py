"""Whether a test split is unseen: by the labels' training split, and by pretraining, also on other data sets."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ecg_lightning.data.identity import Shared, shared
from ecg_lightning.data.module import ECGDataModule, SplitKind
from ecg_lightning.data.store import digest_numbers


@dataclass(frozen=True)
class Leakage:
    """What the test split has in common with what was learned from.

    Attributes:
        kind: whether the split keeps patients apart.
        pretraining: people of the test split that pretraining saw.
        training: people of the test split that the training split holds.
        pretraining_copies: names of test recordings of which pretraining saw an exact copy, under whatever name.
        training_copies: names of test recordings of which the training split holds an exact copy.
    """

    kind: SplitKind
    pretraining: Shared
    training: Shared
    pretraining_copies: tuple[str, ...]
    training_copies: tuple[str, ...]

    def reasons(self) -> list[str]:
        """Why a result would not be about unseen people, in words; empty where it is.

        Where the protocol puts patients on both sides, which the result says, only people from other data sets count.
        """
        if self.kind == "intra-patient":
            unclear = Shared((), self.pretraining.unclear)
            return [f"pretraining may have seen {unclear}"] if unclear else []
        told = (
            ("pretraining saw {} of the test split", str(self.pretraining)),
            ("the training split holds {} of the test split", str(self.training)),
            ("pretraining saw exact copies of {} of the test split", _named(self.pretraining_copies)),
            ("the training split holds exact copies of {} of the test split", _named(self.training_copies)),
        )
        return [sentence.format(what) for sentence, what in told if what]

    def to_dict(self) -> dict[str, Any]:
        """For `result.json`."""
        return {
            "pretraining_patients": len(self.pretraining.patients),
            "pretraining_populations_unclear": list(self.pretraining.unclear),
            "training_patients": len(self.training.patients),
            "pretraining_copies": len(self.pretraining_copies),
            "training_copies": len(self.training_copies),
        }


def find_leakage(training: Mapping[str, Any], data: ECGDataModule) -> Leakage:
    """Compare a test split with what it must not have been learned from.

    Args:
        training: what the encoder was made of, from `encoder.pt`.
        data: the data set of the test split.
    """
    store, seen = data.store, training["data"]
    test_rows, train_rows = (np.unique(data.labelled.of(split).row) for split in ("test", "train"))
    test_people, train_people = (store.patient[rows].tolist() for rows in (test_rows, train_rows))
    apart = np.setdiff1d(test_rows, train_rows)  # under an intra-patient protocol a recording may serve both sides
    numbers = digest_numbers(store.digest)
    in_pretraining = np.isin(numbers[test_rows], np.asarray(seen.get("digests", ()), np.int64))
    in_training = np.isin(numbers[apart], numbers[train_rows])
    return Leakage(
        data.split_kind,
        shared(seen["patients"], test_people),
        shared(train_people, test_people),
        tuple(store.record_id[test_rows[in_pretraining]].tolist()),
        tuple(store.record_id[apart[in_training]].tolist()),
    )


def united(each: Sequence[Leakage]) -> Leakage:
    """What a test split has in common with what several encoders, at least one, were made of together.

    Args:
        each: of one encoder each, on the same data.
    """
    return replace(
        each[0],
        pretraining=Shared(
            _union(one.pretraining.patients for one in each), _union(one.pretraining.unclear for one in each)
        ),
        pretraining_copies=_union(one.pretraining_copies for one in each),
    )


def _union(each: Iterable[tuple[str, ...]]) -> tuple[str, ...]:
    return tuple(sorted(set().union(*each)))


def _named(recordings: tuple[str, ...]) -> str:
    if not recordings:
        return ""
    more = ", ..." if len(recordings) > 3 else ""
    return f"{len(recordings)} recording{'s' if len(recordings) > 1 else ''} ({', '.join(recordings[:3])}{more})"
