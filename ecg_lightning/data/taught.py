"""The labelled examples of a data set, served to pretraining in the place of its windows."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader

from ecg_lightning.data.module import ECGDataModule, Examples
from ecg_lightning.data.store import Store
from ecg_lightning.data.unlabelled import Split, UnlabelledData
from ecg_lightning.data.windows import LabelledWindows, RawBatch
from ecg_lightning.errors import UserError


class Task(NamedTuple):
    """What is to be learned from labels.

    Attributes:
        classes: their names.
        multi_label: whether an example may carry several labels.
        beats: whether examples are beats within their windows.
        counts: (C,) training examples of each class.
        examples: number of training examples.
    """

    classes: tuple[str, ...]
    multi_label: bool
    beats: bool
    counts: NDArray[np.int64]
    examples: int


class Taught(UnlabelledData):
    """Trains on the labelled training examples of a data set and validates on the labelled validation examples.

    The test examples are never served.

    Args:
        data: the data set.
    """

    def __init__(self, data: ECGDataModule) -> None:
        super().__init__(data.name, data.spec, data.batch_size, data.seed, data.residency, data.share)
        self.data = data

    @cached_property
    def task(self) -> Task:
        """What is to be learned.

        Raises:
            UserError: no training example, or no validation example, is labelled.
        """
        train, classes = self.examples("train"), self.data.classes
        self.examples("val")  # told now, not after the first epoch, that there are none
        multi_label = train.y.ndim == 2
        counts = train.y.sum(axis=0, dtype=np.int64) if multi_label else np.bincount(train.y, minlength=len(classes))
        return Task(classes, multi_label, train.span is not None, counts, len(train.y))

    def examples(self, split: Split) -> Examples:
        """The labelled examples of a split; of training, those of the share of patients that is asked for.

        Raises:
            UserError: there are none.
        """
        examples = self.data.labelled.of(split)
        if split == "train" and self.share < 1:
            examples = examples.take(self.data.in_share(examples.row))
        if not len(examples.row):
            raise UserError(
                f"data={self.name}: no labelled example belongs to the {split} split; label recordings of it in "
                f"{self.data.root}, or choose an objective that needs no labels"
            )
        return examples

    @property
    def stores(self) -> Sequence[Store]:
        """See `UnlabelledData`."""
        return self.data.stores

    def unlabelled(self, split: Split) -> LabelledWindows:
        """See `UnlabelledData`; here they have labels."""
        return self.data.windows(self.examples(split))

    def place(self, device: torch.device) -> None:
        """See `UnlabelledData`."""
        self.data.place(device)

    def patients(self, split: Split) -> NDArray[np.str_]:
        """See `UnlabelledData`."""
        return np.unique(self.data.store.patient[self.examples(split).row])

    def seen(self) -> dict[str, Any]:
        """See `UnlabelledData`; and `labels`, how many were learned from: windows of one recording share theirs."""
        train = self.examples("train")
        labels = len(train.y) if train.unit is None else len(np.unique(train.unit))
        return {**self.data.seen_of(np.unique(train.row)), "labels": labels}

    def remarks(self) -> list[str]:
        """See `UnlabelledData`; and which classes cannot be learned."""
        absent = [name for name, count in zip(self.task.classes, self.task.counts, strict=True) if not count]
        told = [f"no training example of {', '.join(absent)}: it cannot be learned"] if absent else []
        return [*self.data.remarks(), *told]

    def train_dataloader(self) -> DataLoader[RawBatch]:
        """The training examples, shuffled anew each epoch."""
        return self.data.loader(self.unlabelled("train"), shuffle=True)

    def val_dataloader(self) -> DataLoader[RawBatch]:
        """The validation examples."""
        return self.data.loader(self.unlabelled("val"), shuffle=False)
