"""Nearest class mean on frozen features (Snell et al. 2017)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ecg_lightning.evaluation.features import FeatureSpace
from ecg_lightning.evaluation.frozen import Classifier, FrozenMethod, Problem
from ecg_lightning.evaluation.linear import Linear


class Prototype(FrozenMethod):
    """Softmax over the negative squared distances to the means of the classes.

    Where an example may carry several labels, each label by itself: its examples' mean against the others' mean.
    """

    def solve(self, space: FeatureSpace, problems: Sequence[Problem]) -> Sequence[Classifier]:
        """See `FrozenMethod.solve`."""
        return [_nearest_mean(space, problem) for problem in problems]


def _nearest_mean(space: FeatureSpace, problem: Problem) -> Linear:
    x, y = space.train[problem.index].astype(np.float64), problem.y
    multi_label = y.ndim == 2
    member = (y if multi_label else np.eye(problem.classes)[y]).astype(np.float64)
    count = member.sum(axis=0)
    mean = member.T @ x / count.clip(1)[:, None]
    rest = (1 - member).T @ x / (len(y) - count).clip(1)[:, None] if multi_label else np.zeros_like(mean)
    bias = (rest**2).sum(axis=1) - (mean**2).sum(axis=1)
    known = (count > 0) & (count < len(y)) if multi_label else count > 0
    return Linear(2 * ((mean - rest) * known[:, None]).T, np.where(known, bias, -8.0), multi_label, {})
