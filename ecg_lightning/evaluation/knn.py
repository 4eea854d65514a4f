"""Nearest neighbours on frozen features."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ecg_lightning.evaluation.cell import Probability
from ecg_lightning.evaluation.features import FeatureSpace, Matrix
from ecg_lightning.evaluation.frozen import Classifier, FrozenMethod, Problem


class NearestNeighbours(FrozenMethod):
    """The share of each class among the nearest labelled examples, by the angle between features."""

    def solve(self, space: FeatureSpace, problems: Sequence[Problem]) -> Sequence[Classifier]:
        """See `FrozenMethod.solve`."""
        return [Neighbours(_unit(space.train[problem.index]), _indicators(problem), {}) for problem in problems]


@dataclass(frozen=True)
class Neighbours:
    """See `Classifier`.

    Attributes:
        labelled: (n, F) features of length 1.
        truth: (n, C) zeros and ones.
        details: see `Classifier`.
    """

    labelled: Matrix
    truth: Matrix
    details: Mapping[str, Any]

    def __call__(self, features: Matrix) -> Probability:
        """See `Classifier`."""
        count = min(5, len(self.labelled))
        nearest = np.argsort(-_unit(features) @ self.labelled.T, axis=1)[:, :count]
        shares: Probability = self.truth[nearest].mean(axis=1)
        return shares


def _unit(features: Matrix) -> Matrix:
    unit: Matrix = features / np.linalg.norm(features, axis=1, keepdims=True).clip(1e-12)
    return unit


def _indicators(problem: Problem) -> Matrix:
    truth = problem.y if problem.y.ndim == 2 else np.eye(problem.classes)[problem.y]
    return truth.astype(np.float32)
