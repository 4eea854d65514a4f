"""What every classifier on frozen features shares: few-shot problems on one matrix, solved together."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ecg_lightning.evaluation.cell import Cell, Labels, Part, Probability
from ecg_lightning.evaluation.features import FeatureSpace, Matrix, Which, feature_space


@dataclass(frozen=True)
class Problem:
    """A few labels to learn from.

    Attributes:
        index: (n,) the labelled examples of the training split.
        y: (n,) class numbers, or (n, C) zeros and ones.
        patient: (n,) whose each is.
        classes: `C`.
        seed: of everything random.
    """

    index: NDArray[np.int64]
    y: Labels
    patient: NDArray[np.str_]
    classes: int
    seed: int


class Classifier(Protocol):
    """What was learned from a problem."""

    @property
    def details(self) -> Mapping[str, Any]:
        """What was chosen, plain values for `result.json`."""
        ...

    def __call__(self, features: Matrix) -> Probability:
        """(N, F) standardised features to (N, C) probabilities."""
        ...


class FrozenMethod(ABC):
    """A protocol that learns from frozen features alone; an author writes `solve`.

    Args:
        features: whose features.
    """

    def __init__(self, features: Which = "pretrained") -> None:
        self.features: Which = features

    @abstractmethod
    def solve(self, space: FeatureSpace, problems: Sequence[Problem]) -> Sequence[Classifier]:
        """Learn from each problem; what they share is computed once.

        Args:
            space: `space.train` are the (N, F) features of the training split, also of its unlabelled examples.
            problems: at least one.
        """

    def fit(self, cell: Cell) -> FrozenFit:
        """See `EvaluationProtocol`."""
        return self.fit_all([cell])[0]

    def fit_all(self, cells: Sequence[Cell]) -> list[FrozenFit]:
        """Fit the cells of one encoder and one data set, that differ in their labels and seeds."""
        space = feature_space(cells[0], self.features)
        problems = [Problem(*cell.labelled_examples(), len(cell.data.classes), cell.model_seed) for cell in cells]
        return [FrozenFit(space, classifier) for classifier in self.solve(space, problems)]


@dataclass(frozen=True)
class FrozenFit:
    """See `Fitted`.

    Attributes:
        space: the features that the classifier reads.
        classifier: what was learned.
    """

    space: FeatureSpace
    classifier: Classifier

    @property
    def details(self) -> Mapping[str, Any]:
        """See `Fitted`."""
        return self.classifier.details

    def predict(self, part: Part) -> Probability:
        """See `Fitted`."""
        return self.classifier(self.space.of(part))
