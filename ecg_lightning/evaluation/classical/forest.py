"""Extra trees with fixed settings: the classifier of the classical baselines."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

TREES = 100
"""On held-out patients of MIT-BIH DS1 200 and 400 are no better."""

SMALLEST_LEAF = 2
SHARE_OF_FEATURES = 0.15
"""Tried at each split. Leaf and share follow held-out patients of the training splits (MIT-BIH DS1, PTB-XL folds 1-9):
full trees are a little less accurate with 25 labels; shares of 0.1 and 0.3 are alike, and the usual square root of the
features is a little worse on all of PTB-XL's labels."""


def fit_predict(
    features_train: NDArray[np.floating],
    y_train: NDArray[np.integer],
    features_test: NDArray[np.floating],
    n_classes: int,
    seed: int,
) -> NDArray[np.float32]:
    """Fit extremely randomised trees (Geurts et al. 2006) to few labels and predict probabilities.

    The trees regress the 0/1 indicators of the classes. The squared error then is the Gini impurity and the mean
    of a leaf its class frequencies: the classification forest, in one form for single- and multi-label tasks.

    Args:
        features_train: (n, D).
        y_train: (n,) classes 0 ... C-1, weighted to equal shares of the labels; or (n, C) with 0/1 for each class.
        features_test: (N, D).
        n_classes: C; may exceed the classes among the labels.
        seed: of the trees; the same seed gives the same probabilities.

    Returns:
        (N, C) probabilities, summing to 1 where `y_train` is (n,). A class without a positive label gets 0.
    """
    from sklearn.ensemble import ExtraTreesRegressor

    single = y_train.ndim == 1
    target = np.eye(n_classes)[y_train] if single else y_train.astype(float)
    forest = ExtraTreesRegressor(
        TREES, max_features=SHARE_OF_FEATURES, min_samples_leaf=SMALLEST_LEAF, random_state=seed
    )
    forest.fit(features_train, target, sample_weight=_balanced(y_train) if single else None)
    forest.n_jobs = -1  # growing on few labels is done before threads have started, predicting is not
    probability: NDArray[np.floating] = forest.predict(features_test)
    return probability.reshape(-1, n_classes).astype(np.float32)


def _balanced(y_n: NDArray[np.integer]) -> NDArray[np.floating]:
    """One weight for each label, so that all classes present weigh the same."""
    count = np.bincount(y_n)
    weight: NDArray[np.floating] = len(y_n) / (np.count_nonzero(count) * count[y_n])
    return weight
