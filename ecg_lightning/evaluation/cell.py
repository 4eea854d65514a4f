"""One cell of an evaluation: an encoder, a data set and a few labels, and what a protocol makes of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ecg_lightning.data.budget import SealedLabels
from ecg_lightning.data.module import ECGDataModule, Examples
from ecg_lightning.encoders.checkpoint import EncoderCheckpoint


@dataclass(frozen=True)
class Cell:
    """All that a protocol is given. Of the labels only the budget's are part of it, under seal.

    Attributes:
        checkpoint: the pretrained encoder.
        data: the data set, rendered to the encoder's signal.
        train: the training split, its `y` taken out.
        test: the test split, its `y` taken out.
        labels: the training split's labels, sealed but for the budget's.
        budget: (n,) the labelled examples of `train`.
        model_seed: of everything random in the protocol.
        cache_dir: folder of cached features.
    """

    checkpoint: EncoderCheckpoint
    data: ECGDataModule
    train: Examples
    test: Examples
    labels: SealedLabels
    budget: NDArray[np.int64]
    model_seed: int
    cache_dir: Path

    def __post_init__(self) -> None:
        for split in ("train", "test"):
            object.__setattr__(self, split, replace(getattr(self, split), y=None))

    def labelled_examples(self) -> tuple[NDArray[np.int64], NDArray[np.integer[Any]], NDArray[np.str_]]:
        """The budget: indices into `train`, labels, patients."""
        patient = self.data.store.patient[self.train.row[self.budget]]
        return self.budget, self.labels[self.budget], patient


@dataclass(frozen=True)
class Prediction:
    """What a protocol makes of a cell.

    Attributes:
        probability: (N, C) for the test split.
        details: what it chose, plain values for `result.json`.
    """

    probability: NDArray[np.floating[Any]]
    details: Mapping[str, Any] = field(default_factory=dict)


class EvaluationProtocol(Protocol):
    """How labels are turned into predictions."""

    def predict(self, cell: Cell) -> Prediction:
        """Learn from the cell's labels, predict its test split."""
        ...
