"""Votes of the nearest labelled examples against a loop and against scikit-learn."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.neighbors import KNeighborsClassifier

from ecg_lightning.evaluation import knn
from ecg_lightning.evaluation.features import FeatureSpace
from ecg_lightning.evaluation.frozen import Problem
from ecg_lightning.evaluation.knn import PRIOR, TEMPERATURE, NearestNeighbours
from ecg_lightning.evaluation.neighbours import BLOCK, Once, nearest

Array = NDArray[Any]


def voters(train: Array, *problems: Problem) -> Any:
    return NearestNeighbours().solve(cast(FeatureSpace, SimpleNamespace(train=train)), problems)


def drawn(n: int, classes: int, multi_label: bool, seed: int = 0) -> tuple[Array, Array]:
    rng = np.random.default_rng(seed)
    y = (rng.random((n, classes)) < 0.3).astype(np.uint8) if multi_label else rng.integers(0, classes, n)
    return rng.normal(size=(n, 12)).astype(np.float32), y


def problem(y: Array, classes: int) -> Problem:
    return Problem(np.arange(len(y)), y, np.arange(len(y)).astype(str), classes, 0)


def cosine(a: Array, b: Array) -> float:
    return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))


@pytest.mark.parametrize("multi_label", [False, True])
def test_every_labelled_example_votes_by_its_angle(multi_label):
    x, y = drawn(40, 3, multi_label)
    truth = y if multi_label else np.eye(3)[y]
    [found] = voters(x, problem(y[:20], 3))
    for at, p in zip(x[20:], found(x[20:]), strict=True):
        angle = np.array([cosine(at, each) for each in x[:20]])
        votes, total = PRIOR * truth[:20].mean(axis=0), PRIOR
        for each, has in zip(angle, truth[:20], strict=True):
            weight = np.exp((each - angle.max()) / TEMPERATURE)
            votes, total = votes + weight * has, total + weight
        np.testing.assert_allclose(p, votes / total, atol=1e-5)


def test_of_many_the_nearest_vote_as_with_scikit_learn(monkeypatch):
    monkeypatch.setattr(knn, "PRIOR", 0.0)
    monkeypatch.setattr(knn, "NEIGHBOURS", 7)
    x, y = drawn(90, 4, multi_label=False)
    [found] = voters(x, problem(y[:60], 4))
    model = KNeighborsClassifier(7, metric="cosine", weights=lambda distance: np.exp(-distance / TEMPERATURE))
    np.testing.assert_allclose(found(x[60:]), model.fit(x[:60], y[:60]).predict_proba(x[60:]), atol=1e-4)
    assert found.details == {"neighbours": 7, "temperature": TEMPERATURE}


def test_no_vote_is_unanimous_and_a_class_without_examples_has_none():
    x, _ = drawn(20, 3, multi_label=False)
    y = np.arange(20) % 2
    [found] = voters(x, problem(y, 3))
    p = found(x)
    np.testing.assert_allclose(p.sum(axis=1), 1, atol=1e-6)
    assert (p[:, 2] == 0).all() and p[:, :2].min() > 0.01 and p[:, :2].max() < 0.99


def test_problems_share_the_features_they_read_and_nothing_else():
    x, y = drawn(60, 3, multi_label=False)
    first, second = problem(y[:20], 3), Problem(np.arange(10, 40), y[10:40], np.arange(30).astype(str), 3, 0)
    together = voters(x, first, second)
    for test in (x[40:], x[50:], x[40:]):
        for one, found in zip((first, second), together, strict=True):
            np.testing.assert_array_equal(found(test), voters(x, one)[0](test))


@pytest.mark.parametrize("rows", [5, BLOCK + 3])
def test_the_nearest_are_found_block_by_block(rows):
    rng = np.random.default_rng(0)
    of, among = (rng.normal(size=(n, 4)).astype(np.float32) for n in (rows, 50))
    distance = np.linalg.norm(of[:, None].astype(float) - among, axis=2)
    np.testing.assert_array_equal(nearest(of, among, 6), distance.argsort(axis=1)[:, :6])


def test_what_was_made_of_a_matrix_is_made_once():
    made: list[Array] = []
    once = Once(lambda features: made.append(features) or len(made))
    first, second = np.zeros((2, 2), np.float32), np.zeros((2, 2), np.float32)
    assert [once(first), once(first), once(second), once(first)] == [1, 1, 2, 3]
