"""Nearest class mean on frozen features (Snell et al. 2017)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ecg_lightning.evaluation.features import FeatureSpace, Matrix
from ecg_lightning.evaluation.frozen import Classifier, FrozenMethod, Problem
from ecg_lightning.evaluation.linear import Linear
from ecg_lightning.evaluation.logistic import ABSENT

SHARPNESS = 5.0
"""What squared distances are multiplied by, in units of the features' total variance: that of a normal distribution
around each mean whose variance lies in ten equal directions. On held-out patients of the training splits (MIT-BIH DS1,
PTB-XL) 3 to 10 give the best log-loss with 10 to 100 labels; 1, distances as they are, hardly leaves even odds."""


class Prototype(FrozenMethod):
    """Softmax over the negative squared distances to the means of the classes, whatever the classes' shares.

    Where an example may carry several labels, each label by itself: its examples' mean against the others' mean.
    """

    def solve(self, space: FeatureSpace, problems: Sequence[Problem]) -> Sequence[Classifier]:
        """See `FrozenMethod.solve`."""
        train = space.train
        scale = SHARPNESS / max(float(train.var(axis=0).sum()), 1e-6)
        return [nearest_mean(train[problem.index], problem, scale) for problem in problems]


def nearest_mean(labelled: Matrix, problem: Problem, scale: float) -> Linear:
    """The differences of squared distances, which are linear in the features.

    Args:
        labelled: (n, F) features of the labelled examples.
        problem: their labels.
        scale: of the squared distances.
    """
    x, y = labelled.astype(np.float64), problem.y
    multi_label = y.ndim == 2
    member = (y if multi_label else np.eye(problem.classes)[y]).astype(np.float64)
    count = member.sum(axis=0)
    others = len(y) - count
    known = (count > 0) & (others > 0) if multi_label else count > 0
    mean = member.T @ x / count.clip(1)[:, None]
    rest = (1 - member).T @ x / others.clip(1)[:, None]
    weight, bias = 2 * scale * mean.T, -scale * (mean**2).sum(axis=1)
    if multi_label:
        weight, bias = weight - 2 * scale * rest.T, bias + scale * (rest**2).sum(axis=1)
        unknown = np.log((count + 0.5) / (others + 0.5))
    else:  # about their mean, so that a class without examples stays below one of the others wherever one looks
        weight, bias = weight - weight[:, known].mean(axis=1, keepdims=True), bias - bias[known].mean()
        unknown = np.full(problem.classes, ABSENT)
    return Linear(weight * known, np.where(known, bias, unknown), multi_label, {"scale": round(scale, 4)})
