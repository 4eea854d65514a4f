"""The data module that every data set shares: prepare once, split by patient, serve whole batches."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader

from ecg_lightning.data.ingest import prepare
from ecg_lightning.data.record import RecordFile
from ecg_lightning.data.share import share_of_patients
from ecg_lightning.data.snomed import ChallengeWeights
from ecg_lightning.data.store import Store, digest_numbers
from ecg_lightning.data.unlabelled import SHORTEST_EPOCH, SPLITS, Split, UnlabelledData
from ecg_lightning.data.windows import Batch, Batches, LabelledWindows, RawBatch, UnlabelledWindows, Windows
from ecg_lightning.data.writing import OnBadRecord
from ecg_lightning.errors import UserError

SplitKind = Literal["inter-patient", "intra-patient", "unknown"]
"""Whether a patient may be on both sides of a split; `unknown` where the source does not say who was recorded."""

Aggregate = Literal["mean", "max"]
"""How the predictions for the windows of one recording become its own."""

LEFT_OUT = -1
"""Split number of a recording or example that belongs to none of `SPLITS`."""


@dataclass(frozen=True)
class Examples:
    """What carries a label: whole recordings, beats, stretches of a recording.

    Attributes:
        row: (N,) recording of each.
        offset: (N,) first sample of its window, counted from the recording's; may lie outside the recording.
        y: (N,) int64 class numbers, or (N, C) uint8 zeros and ones.
        split: (N,) number in `SPLITS`, or `LEFT_OUT`.
        span: (N, 2) the samples of the window that the label is about; None for the whole window.
        rr: (N, 2) seconds from the beat before and to the beat after; None where that is not known.
        unit: (N,) what is labelled and judged as one: examples of the same number are windows of one recording and
            carry its label; None where each example stands for itself.
    """

    row: NDArray[np.int64]
    offset: NDArray[np.int64]
    y: NDArray[np.integer[Any]]
    split: NDArray[np.int8]
    span: NDArray[np.int64] | None = None
    rr: NDArray[np.float64] | None = None
    unit: NDArray[np.int64] | None = None

    def of(self, split: Split) -> Examples:
        """Those of one split."""
        return self.take(self.split == SPLITS.index(split))

    def take(self, keep: NDArray[np.bool_]) -> Examples:
        """Those that `keep`, (N,), marks."""
        parts = ((each.name, getattr(self, each.name)) for each in fields(self))
        kept: dict[str, Any] = {name: None if part is None else part[keep] for name, part in parts}
        return Examples(**kept)


class ECGDataModule(UnlabelledData):
    """Base of all data sets.

    A data set's author writes `records`, `classes`, `split_of_records` and `examples`. Pretraining sees windows of
    the training recordings without their labels; evaluation sees the labelled examples. It augments nothing.

    Args:
        root: folder of the data set.
        cache_dir: folder of the stores.
        on_bad_record: `raise` or `skip`, see `ingest.prepare`.
        base: see `UnlabelledData`.
    """

    classes: tuple[str, ...]
    split_kind: SplitKind = "inter-patient"
    aggregate: Aggregate = "mean"
    challenge_weights: ChallengeWeights | None = None
    """How a challenge scored the classes, where they are one's."""
    download: ClassVar[str] = ""
    """How to come by the data, for the message when they are missing."""

    def __init__(
        self, root: str | Path, cache_dir: str | Path = "cache", on_bad_record: OnBadRecord = "raise", **base: Any
    ) -> None:
        super().__init__(**base)
        if on_bad_record not in get_args(OnBadRecord):
            raise UserError(f"data.on_bad_record={on_bad_record!r} is not one of {', '.join(get_args(OnBadRecord))}")
        self.root, self.cache_dir, self.on_bad_record = Path(root), Path(cache_dir), on_bad_record
        self._resident: Tensor | None = None

    @abstractmethod
    def records(self) -> Sequence[RecordFile]:
        """The recordings of the data set, in a fixed order, without reading a signal."""

    @abstractmethod
    def split_of_records(self, store: Store) -> NDArray[np.int8]:
        """(R,) the number in `SPLITS` of each recording of the store, or `LEFT_OUT`."""

    @abstractmethod
    def examples(self, store: Store) -> Examples:
        """What carries a label."""

    @property
    def multi_label(self) -> bool:
        """Whether an example may carry several labels."""
        return self.labelled.y.ndim == 2

    @property
    def vocabulary(self) -> frozenset[str]:
        """Every name that a class of the task may have; `classes` are those that occur."""
        return frozenset(self.classes)

    @cached_property
    def store(self) -> Store:
        """The prepared recordings, built at first use."""
        return prepare(self.name, self.records(), self.spec, self.cache_dir, self.on_bad_record)

    @property
    def stores(self) -> Sequence[Store]:
        """See `UnlabelledData`."""
        return [self.store]

    @cached_property
    def labelled(self) -> Examples:
        """All labelled examples."""
        return self.examples(self.store)

    def patients(self, split: Split) -> NDArray[np.str_]:
        """See `UnlabelledData`."""
        rows = self._rows(split)
        return np.unique(self.store.patient[rows])

    def seen(self) -> dict[str, Any]:
        """See `UnlabelledData`."""
        return self.seen_of(self._rows("train"))

    def seen_of(self, rows: NDArray[np.int64]) -> dict[str, Any]:
        """What is seen by those who see some of the recordings, as `seen` tells it.

        Args:
            rows: their numbers in the store.
        """
        return {
            "name": self.name,
            "share": self.share,
            "fingerprint": self.store.fingerprint,
            "patients": np.unique(self.store.patient[rows]).tolist(),
            "folds": sorted(set(self.store.fold[rows].tolist()) - {-1}),
            "digests": digest_numbers(self.store.digest[rows]).tolist(),
            "skipped": dict(self.store.skipped),
            "substituted_leads": dict(self.store.substituted),
        }

    def remarks(self) -> list[str]:
        """See `UnlabelledData`; which leads are not what they are called."""
        stand_ins = ", ".join(f"{pair} ({count})" for pair, count in self.store.substituted.items())
        return [f"leads that stand in for missing ones (recordings): {stand_ins}"] if stand_ins else []

    @property
    def example_samples(self) -> int:
        """Length of a labelled example's window; the spec's unless the data set says otherwise."""
        return self.spec.samples

    def windows(self, examples: Examples) -> LabelledWindows:
        """The windows of some labelled examples."""
        where = Windows(self.store, examples.row, examples.offset, self.example_samples)
        return LabelledWindows(where, examples.y, examples.span, self._resident)

    def place(self, device: torch.device) -> None:
        """See `UnlabelledData`."""
        self._resident = torch.from_numpy(self.store.signals).to(device)

    def train_dataloader(self) -> DataLoader[RawBatch]:
        """See `UnlabelledData`."""
        return self.loader(self.unlabelled("train"), shuffle=True)

    def val_dataloader(self) -> DataLoader[RawBatch]:
        """See `UnlabelledData`."""
        return self.loader(self.unlabelled("val"), shuffle=False)

    def unlabelled(self, split: Split) -> UnlabelledWindows:
        """See `UnlabelledData`."""
        rows = self._rows(split)
        if not len(rows):
            raise UserError(
                f"data={self.name}: no recording belongs to the {split} split; add recordings to {self.root}"
            )
        return UnlabelledWindows(self.store, rows, self.spec.samples, self._resident)

    def _rows(self, split: Split) -> NDArray[np.int64]:
        rows = np.flatnonzero(self.split_of_records(self.store) == SPLITS.index(split))
        return rows[self.in_share(rows)] if split == "train" and self.share < 1 else rows

    def in_share(self, rows: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Which recordings are of the share of the training patients that pretraining sees, (N,).

        Args:
            rows: (N,) their numbers in the store.
        """
        training = self.store.patient[self.split_of_records(self.store) == SPLITS.index("train")]
        return np.isin(self.store.patient[rows], share_of_patients(np.unique(training), self.share, self.seed))

    def loader(self, dataset: UnlabelledWindows | LabelledWindows, shuffle: bool) -> DataLoader[RawBatch]:
        """Whole batches in this process: one fancy index is faster than any worker."""
        batches = Batches(len(dataset), self.batch_size, shuffle, self.seed, SHORTEST_EPOCH)
        return DataLoader(dataset, batch_size=None, sampler=batches)


__all__ = ["LEFT_OUT", "SHORTEST_EPOCH", "SPLITS", "Batch", "ECGDataModule", "Examples", "Split"]
