"""Class means against scikit-learn's and against a loop."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.neighbors import NearestCentroid

from ecg_lightning.evaluation.features import FeatureSpace
from ecg_lightning.evaluation.frozen import Problem
from ecg_lightning.evaluation.prototype import SHARPNESS, Prototype

Array = NDArray[Any]


def drawn(n: int, classes: int, seed: int = 0) -> tuple[Array, Array]:
    rng = np.random.default_rng(seed)
    y = np.r_[np.arange(classes), rng.integers(0, classes, n - classes)]
    return (rng.normal(size=(n, 8)) + 2 * rng.normal(size=(classes, 8))[y]).astype(np.float32), y


def fitted(train: Array, y: Array, classes: int) -> Any:
    one = Problem(np.arange(len(y)), y, np.arange(len(y)).astype(str), classes, 0)
    return Prototype().solve(cast(FeatureSpace, SimpleNamespace(train=train)), [one])[0]


def test_the_nearest_mean_is_scikit_learns():
    x, y = drawn(200, 4)
    p = fitted(x, y[:40], 4)(x)
    np.testing.assert_array_equal(p.argmax(axis=1), NearestCentroid().fit(x[:40], y[:40]).predict(x))
    np.testing.assert_allclose(p.sum(axis=1), 1)


@pytest.mark.parametrize("multi_label", [False, True])
def test_probabilities_are_those_of_normal_distributions_around_the_means(multi_label):
    x, y = drawn(60, 3)
    several = np.stack([y == 0, y >= 1, y == 2], axis=1).astype(np.uint8)
    p = fitted(x, (several if multi_label else y)[:30], 3)(x)
    variance = x.astype(float).var(axis=0).sum() / (2 * SHARPNESS)

    def density(at: Array, members: Array) -> float:
        return float(np.exp(-((at - x[:30][members].astype(float).mean(axis=0)) ** 2).sum() / (2 * variance)))

    for at, found in zip(x, p, strict=True):
        own = np.array([density(at, several[:30, c] == 1 if multi_label else y[:30] == c) for c in range(3)])
        if multi_label:
            expected = own / (own + [density(at, several[:30, c] == 0) for c in range(3)])
        else:
            expected = own / own.sum()
        np.testing.assert_allclose(found, expected, atol=1e-4)


@pytest.mark.parametrize("factor", [1e-3, 1e3])
def test_the_unit_of_the_features_changes_nothing(factor):
    x, y = drawn(60, 3)
    np.testing.assert_allclose(fitted(np.float32(factor) * x, y, 3)(np.float32(factor) * x), fitted(x, y, 3)(x),
                               atol=1e-4)  # fmt: skip


def test_how_often_a_class_was_drawn_changes_nothing():
    x, y = drawn(40, 2)
    index = np.r_[np.arange(40), np.repeat(np.flatnonzero(y == 1), 3)]
    one = Problem(index, y[index], index.astype(str), 2, 0)
    [found] = Prototype().solve(cast(FeatureSpace, SimpleNamespace(train=x)), [one])
    np.testing.assert_allclose(found(x), fitted(x, y, 2)(x), atol=1e-6)


def test_a_class_without_examples_is_never_predicted_wherever_one_looks():
    x, y = drawn(40, 2)
    middle = np.stack([x[y == c].mean(axis=0) for c in (0, 1)]).mean(axis=0, keepdims=True)
    p = fitted(x, 2 * y, 4)(np.concatenate([x, 10 * x, -30 * x, middle]))
    np.testing.assert_allclose(p.sum(axis=1), 1)
    assert set(p.argmax(axis=1)) == {0, 2} and p[:, [1, 3]].max() < 1e-3


def test_a_label_that_none_or_all_carry_has_its_smoothed_share():
    x, y = drawn(20, 2)
    p = fitted(x, np.stack([y, 0 * y, 0 * y + 1], axis=1), 3)(x)
    np.testing.assert_allclose(p[:, 1:], np.tile([0.5 / 21, 20.5 / 21], (20, 1)), atol=1e-6)


def test_features_without_variance_give_no_nan():
    p = fitted(np.ones((10, 4), np.float32), np.arange(10) % 2, 2)(np.ones((3, 4), np.float32))
    np.testing.assert_allclose(p, 0.5)
