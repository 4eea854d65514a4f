"""Extra trees with fixed settings: the classifier of the classical baselines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecg_lightning.evaluation.features import FeatureSpace, Which
from ecg_lightning.evaluation.frozen import Classifier, FrozenMethod, Problem

TREES = 100
"""On held-out patients of MIT-BIH DS1 200 and 400 are no better."""

SMALLEST_LEAF = 2
SHARE_OF_FEATURES = 0.15
"""Tried at each split. Leaf and share follow held-out patients of the training splits (MIT-BIH DS1, PTB-XL folds 1-9):
full trees are a little less accurate with 25 labels; shares of 0.1 and 0.3 are alike, and the usual square root of the
features is a little worse on all of PTB-XL's labels."""


class ExtraTrees(FrozenMethod):
    """Extremely randomised trees (Geurts et al. 2006), fitted to few labels.

    The trees regress the 0/1 indicators of the classes. The squared error then is the Gini impurity and the mean
    of a leaf its class frequencies: the classification forest, in one form for single- and multi-label tasks.
    A class without a positive label gets probability 0.

    Args:
        features: whose features.
    """

    def __init__(self, features: Which = "classical") -> None:
        super().__init__(features)

    def solve(self, space: FeatureSpace, problems: Sequence[Problem]) -> Sequence[Classifier]:
        """See `FrozenMethod.solve`."""
        return [Forest.grow(space.train[problem.index], problem) for problem in problems]


@dataclass(frozen=True)
class Forest:
    """See `Classifier`.

    Attributes:
        trees: scikit-learn's.
        classes: `C`, which may exceed the classes among the labels.
        details: see `Classifier`.
    """

    trees: Any
    classes: int
    details: Mapping[str, Any]

    @classmethod
    def grow(cls, labelled: NDArray[np.floating], problem: Problem) -> Forest:
        """Fit a forest.

        Args:
            labelled: (n, F) features of the labelled examples.
            problem: their labels; exclusive classes are weighted to equal shares of them.
        """
        from sklearn.ensemble import ExtraTreesRegressor

        y, single = problem.y, problem.y.ndim == 1
        target = np.eye(problem.classes)[y] if single else y.astype(float)
        trees = ExtraTreesRegressor(
            TREES, max_features=SHARE_OF_FEATURES, min_samples_leaf=SMALLEST_LEAF, random_state=problem.seed
        )
        trees.fit(labelled, target, sample_weight=_balanced(y) if single else None)
        trees.n_jobs = -1  # growing on few labels is done before threads have started, predicting is not
        return cls(trees, problem.classes, {"features": labelled.shape[1]})

    def __call__(self, features: NDArray[np.floating]) -> NDArray[np.float32]:
        """See `Classifier`."""
        probability: NDArray[np.floating] = self.trees.predict(features)
        return probability.reshape(-1, self.classes).astype(np.float32)


def _balanced(y_n: NDArray[np.integer]) -> NDArray[np.floating]:
    """One weight for each label, so that all classes present weigh the same."""
    count = np.bincount(y_n)
    weight: NDArray[np.floating] = len(y_n) / (np.count_nonzero(count) * count[y_n])
    return weight
