"""The data module that every data set shares: prepare once, split by patient, serve whole batches."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from lightning import LightningDataModule
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader

from ecg_lightning.data.ingest import OnBadRecord, prepare
from ecg_lightning.data.record import RecordFile
from ecg_lightning.data.store import Store, digest_numbers
from ecg_lightning.data.windows import Batch, Batches, LabelledWindows, RawBatch, UnlabelledWindows, Windows, to_signal
from ecg_lightning.errors import UserError
from ecg_lightning.signal import SignalSpec

Split = Literal["train", "val", "test"]
SPLITS: tuple[Split, ...] = ("train", "val", "test")
SplitKind = Literal["inter-patient", "intra-patient", "unknown"]
"""Whether a patient may be on both sides of a split; `unknown` where the source does not say who was recorded."""

Aggregate = Literal["mean", "max"]
"""How the predictions for the windows of one recording become its own."""

SHORTEST_EPOCH = 100
"""Batches: a small data set is gone through several times an epoch, so that validations are worth their time."""

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


class ECGDataModule(LightningDataModule):
    """Base of all data sets.

    A data set's author writes `records`, `classes`, `split_of_records` and `examples`. Pretraining sees windows of
    the training recordings without their labels; evaluation sees the labelled examples. It augments nothing.

    Args:
        name: as results call it.
        root: folder of the data set.
        spec: the signal to render to: an encoder's own, or the data set's default when an encoder is born.
        cache_dir: folder of the stores.
        batch_size: windows a batch.
        seed: of the order in which windows are drawn.
        on_bad_record: `raise` or `skip`, see `ingest.prepare`.
        residency: `auto` keeps the whole store on the GPU where it fits into half of the free memory; `cpu` never.
    """

    classes: tuple[str, ...]
    split_kind: SplitKind = "inter-patient"
    aggregate: Aggregate = "mean"
    download: ClassVar[str] = ""
    """How to come by the data, for the message when they are missing."""

    def __init__(
        self,
        name: str,
        root: str | Path,
        spec: SignalSpec,
        cache_dir: str | Path = "cache",
        batch_size: int = 64,
        seed: int = 0,
        on_bad_record: OnBadRecord = "raise",
        residency: Literal["auto", "cpu"] = "auto",
    ) -> None:
        super().__init__()
        for key, value, allowed in (("on_bad_record", on_bad_record, ("raise", "skip")),
                                    ("residency", residency, ("auto", "cpu"))):  # fmt: skip
            if value not in allowed:
                raise UserError(f"data.{key}={value!r} is not one of {', '.join(allowed)}")
        if batch_size < 1:
            raise UserError(f"data.batch_size={batch_size} must be at least 1")
        if seed < 0:
            raise UserError(f"data.seed={seed} must be a whole number, 0 or more")
        self.name: str = name
        self.root, self.spec, self.cache_dir = Path(root), spec, Path(cache_dir)
        self.batch_size, self.seed, self.on_bad_record, self.residency = batch_size, seed, on_bad_record, residency
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

    @cached_property
    def store(self) -> Store:
        """The prepared recordings, built at first use."""
        return prepare(self.name, self.records(), self.spec, self.cache_dir, self.on_bad_record)

    @cached_property
    def labelled(self) -> Examples:
        """All labelled examples."""
        return self.examples(self.store)

    def patients(self, split: Split) -> NDArray[np.str_]:
        """Sorted names of the patients whose recordings belong to a split."""
        rows = self._rows(split)
        return np.unique(self.store.patient[rows])

    def seen(self) -> dict[str, Any]:
        """What pretraining sees, for `encoder.pt`: evaluation tells from it whether its own test split is unseen."""
        rows = self._rows("train")
        return {
            "name": self.name,
            "fingerprint": self.store.fingerprint,
            "patients": self.patients("train").tolist(),
            "folds": sorted(set(self.store.fold[rows].tolist()) - {-1}),
            "digests": digest_numbers(self.store.digest[rows]).tolist(),
            "skipped": dict(self.store.skipped),
            "substituted_leads": dict(self.store.substituted),
        }

    @property
    def example_samples(self) -> int:
        """Length of a labelled example's window; the spec's unless the data set says otherwise."""
        return self.spec.samples

    def windows(self, examples: Examples) -> LabelledWindows:
        """The windows of some labelled examples."""
        where = Windows(self.store, examples.row, examples.offset, self.example_samples)
        return LabelledWindows(where, examples.y, examples.span)

    def prepare_data(self) -> None:
        """Build the store; on one process a node."""
        _ = self.store

    def setup(self, stage: str | None = None) -> None:
        """Place the signals where the batches are made."""
        del stage
        trainer = self.trainer
        device = trainer.strategy.root_device if trainer is not None else torch.device("cpu")
        if self.residency == "auto" and device.type == "cuda":
            free, _ = torch.cuda.mem_get_info(device)
            if self.store.signals.nbytes < free / 2:
                self._resident = torch.from_numpy(self.store.signals).to(device)

    def train_dataloader(self) -> DataLoader[RawBatch]:
        """Windows of the training recordings, shuffled and shifted anew each epoch."""
        return self._unlabelled("train", shuffle=True)

    def val_dataloader(self) -> DataLoader[RawBatch]:
        """Fixed windows of the validation recordings."""
        return self._unlabelled("val", shuffle=False)

    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        """Steps to standardised float32, on the device."""
        del dataloader_idx
        return to_signal(batch, self.spec) if isinstance(batch, RawBatch) else batch

    def _rows(self, split: Split) -> NDArray[np.int64]:
        return np.flatnonzero(self.split_of_records(self.store) == SPLITS.index(split))

    def _unlabelled(self, split: Split, shuffle: bool) -> DataLoader[RawBatch]:
        rows = self._rows(split)
        if not len(rows):
            raise UserError(
                f"data={self.name}: no recording belongs to the {split} split; add recordings to {self.root}"
            )
        return self.loader(UnlabelledWindows(self.store, rows, self.spec.samples, self._resident), shuffle)

    def loader(self, dataset: UnlabelledWindows | LabelledWindows, shuffle: bool) -> DataLoader[RawBatch]:
        """Whole batches in this process: one fancy index is faster than any worker."""
        batches = Batches(len(dataset), self.batch_size, shuffle, self.seed, SHORTEST_EPOCH)
        return DataLoader(dataset, batch_size=None, sampler=batches)


__all__ = ["LEFT_OUT", "SPLITS", "Batch", "ECGDataModule", "Examples", "Split"]
