"""The linear probe against scikit-learn in the features' own space, and its choice of the regularisation."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from ecg_lightning.evaluation.features import FeatureSpace
from ecg_lightning.evaluation.frozen import Problem
from ecg_lightning.evaluation.linear import (
    DEFAULT_STRENGTH,
    STRENGTHS,
    LinearProbe,
    choose_strength,
    to_probability,
)
from ecg_lightning.evaluation.logistic import fit_logistic

Array = NDArray[Any]


def problem(n: int = 60, width: int = 200, classes: int = 3, spread: float = 1.5, seed: int = 0) -> tuple[Array, Array]:
    """More features than examples, of total variance near 1; the classes lie apart along a few of them."""
    rng = np.random.default_rng(seed)
    y = np.r_[np.arange(classes), rng.integers(0, classes, n - classes)]
    centre = np.zeros((classes, width))
    centre[:, :10] = rng.normal(size=(classes, 10))
    return ((rng.normal(size=(n, width)) + spread * centre[y]) / np.sqrt(width)).astype(np.float32), y


def patients(n: int, count: int = 12) -> Array:
    return np.array([f"set/{i % count}" for i in range(n)])


def probabilities(x: Array, y: Array, classes: int, strength: float, at: Array | None = None) -> Array:
    weight, bias = fit_logistic(x, y, classes, strength)
    return to_probability((x if at is None else at) @ weight + bias, y.ndim == 2)


def by_scikit_learn(x: Array, y: Array, strength: float, at: Array) -> Array:
    """(N, C) for classes that all occur, each of several labels by itself."""
    if y.ndim == 2:
        return np.stack([by_scikit_learn(x, column, strength, at)[:, 1] for column in y.T], axis=1)
    return LogisticRegression(C=strength, max_iter=5000, tol=1e-8).fit(x.astype(float), y).predict_proba(at)


def probe(train: Array, y: Array, index: Array, classes: int) -> Any:
    """What the probe makes of given features."""
    space = SimpleNamespace(train=train)
    [found] = LinearProbe().solve(cast(FeatureSpace, space), [Problem(index, y, patients(len(index)), classes, 0)])
    return found


# ---------------------------------------------------------------- the fit


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("strength", [0.1, 10.0, 300.0])
def test_the_fit_is_scikit_learns(classes, strength):
    x, y = problem(classes=classes)
    np.testing.assert_allclose(probabilities(x, y, classes, strength), by_scikit_learn(x, y, strength, x), atol=1e-3)


def test_several_labels_are_as_many_problems_of_scikit_learn():
    x, y = problem(classes=4)
    both = np.stack([y == 0, y >= 2, y == 3], axis=1).astype(np.uint8)
    np.testing.assert_allclose(probabilities(x, both, 3, 10.0), by_scikit_learn(x, both, 10.0, x), atol=1e-3)


@pytest.mark.parametrize("multi_label", [False, True])
def test_fitting_in_the_space_of_the_labelled_rows_changes_no_probability(multi_label):
    x, number = problem(n=300, classes=3)
    y = np.eye(3, dtype=np.uint8)[number] if multi_label else number
    index = np.arange(0, 80, 2)
    found = probe(x[:100], y[index], index, 3)
    theirs = by_scikit_learn(x[index], y[index], found.details["C"], at=x[100:])
    assert found.details["C"] in STRENGTHS
    np.testing.assert_allclose(found(x[100:]), theirs, atol=1e-3)


@pytest.mark.parametrize("present", [(0,), (2,), (1, 3), (0, 2, 3)])
def test_a_class_without_examples_is_never_predicted(present):
    x, y = problem(classes=len(present))
    p = probabilities(x, np.array(present)[y], 4, 1.0, at=3 * np.random.default_rng(1).normal(size=(500, x.shape[1])))
    np.testing.assert_allclose(p.sum(axis=1), 1)
    assert p[:, [c for c in range(4) if c not in present]].max() < 1e-3
    assert set(p.argmax(axis=1)) == set(present)


def test_a_label_that_none_or_all_carry_has_its_smoothed_share():
    x, y = problem(n=20, classes=2)
    p = probabilities(x, np.stack([y, 0 * y, 0 * y + 1], axis=1), 3, 1.0)
    np.testing.assert_allclose(p[:, 1:], np.tile([0.5 / 21, 20.5 / 21], (20, 1)))


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 999), st.booleans(), st.floats(1e-3, 1e3))
def test_probabilities_are_valid_whatever_the_scores(seed, multi_label, scale):
    p = to_probability(scale * np.random.default_rng(seed).normal(size=(20, 5)), multi_label)
    assert (p >= 0).all() and (p <= 1).all()
    if not multi_label:
        np.testing.assert_allclose(p.sum(axis=1), 1)


def test_an_encoder_that_says_the_same_of_all_gives_the_classes_shares():
    y = np.repeat([0, 1], [15, 5])
    found = probe(np.zeros((20, 8), np.float32), y, np.arange(20), 2)
    np.testing.assert_allclose(found(np.zeros((5, 8), np.float32)), np.tile([0.75, 0.25], (5, 1)), atol=1e-3)


# ---------------------------------------------------------------- the regularisation


def held_out_loss(x: Array, y: Array, strength: float, at: Array, truth: Array) -> float:
    return float(-np.log(probabilities(x, y, y.max() + 1, strength, at)[np.arange(len(truth)), truth]).mean())


@pytest.mark.parametrize("seed", range(3))
def test_the_chosen_strength_is_nearly_as_good_on_fresh_data_as_the_best(seed):
    x, y = problem(n=1100, width=40, spread=0.7, seed=seed)
    fit, fresh = slice(0, 100), slice(100, None)
    chosen = choose_strength(x[fit], y[fit], patients(100, 50), 3, seed)
    losses = {c: held_out_loss(x[fit], y[fit], c, x[fresh], y[fresh]) for c in STRENGTHS}
    assert losses[chosen] < min(losses.values()) + 0.1 * (max(losses.values()) - min(losses.values()))


def test_labels_of_pure_chance_are_answered_by_the_strongest_penalty():
    x, _ = problem(n=200, width=50, classes=2)
    y = np.random.default_rng(3).integers(0, 2, 200)
    assert choose_strength(x, y, patients(200, 200), 2, 0) == min(STRENGTHS)


def test_folds_hold_whole_patients():
    """Each patient has its own mark and one label: whoever may recognise patients would choose a weak penalty."""
    who = np.repeat(np.arange(40), 5)
    y = np.random.default_rng(0).integers(0, 2, 40)[who]
    x = np.eye(40)[who]
    assert choose_strength(x, y, who.astype(str), 2, 0) == min(STRENGTHS)
    assert choose_strength(x, y, np.arange(200).astype(str), 2, 0) > min(STRENGTHS)


@pytest.mark.parametrize(
    ("y", "who"),
    [
        (np.arange(5), np.arange(5)),  # a single example of each class
        (np.repeat([0, 1], 5), np.zeros(10)),  # a single patient
        (np.array([2]), np.zeros(1)),
    ],
)
def test_where_nothing_can_be_compared_the_default_is_taken(y, who):
    x = np.random.default_rng(0).normal(size=(len(y), 4))
    assert choose_strength(x, y, who.astype(str), 5, 0) == DEFAULT_STRENGTH


@pytest.mark.parametrize("each", [2, 3, 4])
def test_few_labels_of_many_classes_are_enough_to_choose(each):
    y = np.repeat(np.arange(5), each)
    x = np.eye(5)[y] + 0.1 * np.random.default_rng(0).normal(size=(len(y), 5))
    assert choose_strength(x, y, np.arange(len(y)).astype(str), 5, 0) > min(STRENGTHS)


def test_the_choice_depends_on_its_labels_and_seed_alone():
    x, y = problem(n=24, width=10, classes=2, spread=0.5)
    np.random.seed(0)
    first = [choose_strength(x, y, patients(24), 2, seed) for seed in range(2)]
    np.random.seed(1)
    assert [choose_strength(x, y, patients(24), 2, seed) for seed in range(2)] == first
