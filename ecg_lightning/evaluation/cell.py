"""One cell of an evaluation: an encoder, a data set and a few labels, and what a protocol makes of them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ecg_lightning.data.budget import SealedLabels
from ecg_lightning.data.module import ECGDataModule, Examples
from ecg_lightning.data.unlabelled import Split
from ecg_lightning.encoders.checkpoint import EncoderCheckpoint
from ecg_lightning.evaluation.condition import CLEAN, Condition

Probability = NDArray[np.floating[Any]]
Labels = NDArray[np.integer[Any]]


@dataclass(frozen=True)
class Part:
    """Examples without their labels, and the condition that their signals are in.

    Attributes:
        data: whose examples they are.
        examples: N of them, `y` taken out.
        label: what progress bars call them.
        condition: of their signals.
    """

    data: ECGDataModule
    examples: Examples
    label: str
    condition: Condition = CLEAN

    def __post_init__(self) -> None:
        without: dict[str, Any] = {"y": None}
        object.__setattr__(self, "examples", replace(self.examples, **without))

    def __len__(self) -> int:
        return len(self.examples.row)

    @cached_property
    def digest(self) -> str:
        """Hash of the recordings, windows, spans and intervals, the signal they are rendered to and its condition."""
        data, examples = self.data, self.examples
        what = (data.store.fingerprint, data.spec, data.example_samples, self.condition.name)
        state = hashlib.blake2b(repr(what).encode(), digest_size=8)
        for array in (examples.row, examples.offset, examples.span, examples.rr):
            state.update(b"-" if array is None else np.ascontiguousarray(array).tobytes())
        return state.hexdigest()


@dataclass(frozen=True)
class Cell:
    """All that a protocol is given. Of the labels only the budget's are part of it, under seal.

    Attributes:
        checkpoint: the pretrained encoder.
        data: the data set, rendered to the encoder's signal.
        labels: the training split's labels, sealed but for the budget's.
        budget: (n,) the labelled examples of the training split.
        model_seed: of everything random in the protocol.
        cache_dir: folder of cached features.
        condition: of the training split's signals.
    """

    checkpoint: EncoderCheckpoint
    data: ECGDataModule
    labels: SealedLabels
    budget: NDArray[np.int64]
    model_seed: int
    cache_dir: Path
    condition: Condition = CLEAN

    @cached_property
    def train(self) -> Part:
        """The training split."""
        return self.part("train", self.condition)

    def part(self, split: Split, condition: Condition = CLEAN) -> Part:
        """A split of the data."""
        return Part(self.data, self.data.labelled.of(split), f"{SPLIT_NAMES[split]} split", condition)

    def labelled_examples(self) -> tuple[NDArray[np.int64], Labels, NDArray[np.str_]]:
        """The budget: indices into the training split, labels, patients."""
        patient = self.data.store.patient[self.train.examples.row[self.budget]]
        return self.budget, self.labels[self.budget], patient


SPLIT_NAMES: dict[Split, str] = {"train": "training", "val": "validation", "test": "test"}


class Fitted(Protocol):
    """What was learned from a cell's labels."""

    @property
    def details(self) -> Mapping[str, Any]:
        """What was chosen, plain values for `result.json`."""
        ...

    def predict(self, part: Part) -> Probability:
        """(N, C) probabilities: rows add up to 1 but where an example may carry several labels."""
        ...


class EvaluationProtocol(Protocol):
    """How labels are turned into predictions."""

    def fit(self, cell: Cell) -> Fitted:
        """Learn from the cell's labels."""
        ...
