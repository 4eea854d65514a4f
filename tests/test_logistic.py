"""Many logistic regressions at once are scikit-learn's, one by one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from ecg_lightning.evaluation.linear import to_probability
from ecg_lightning.evaluation.logistic import COARSE, Basis, fit_logistic, fit_together

Array = NDArray[Any]
CLOSE = 1e-5


def problem(n: int, width: int, classes: int, spread: float, seed: int = 0) -> tuple[Array, Array]:
    """Features of total variance near 1, every class there, further apart along all of them the larger the spread."""
    rng = np.random.default_rng(seed)
    y = np.r_[np.arange(classes), rng.integers(0, classes, n - classes)]
    centre = rng.normal(size=(classes, width))
    return (rng.normal(size=(n, width)) + spread * centre[y]) / np.sqrt(width), y


def by_scikit_learn(x: Array, y: Array, strength: float, at: Array, weight: Array | None = None) -> Array:
    """(N, C) for classes that all occur, each of several labels by itself."""
    if y.ndim == 2:
        return np.stack([by_scikit_learn(x, column, strength, at, weight)[:, 1] for column in y.T], axis=1)
    model = LogisticRegression(C=strength, max_iter=100_000, tol=1e-8)
    return model.fit(x, y, sample_weight=weight).predict_proba(at)


def probabilities(x: Array, y: Array, classes: int, strength: float, at: Array | None = None) -> Array:
    weight, bias = fit_logistic(x, y, classes, strength)
    return to_probability((x if at is None else at) @ weight + bias, y.ndim == 2)


# ---------------------------------------------------------------- one fit


@settings(deadline=None, max_examples=25)
@given(
    st.integers(8, 40),
    st.sampled_from([3, 20, 60]),
    st.integers(2, 4),
    st.sampled_from([0.0, 0.7, 5.0]),  # the last is separable with room to spare
    st.floats(-1, 2),
    st.integers(0, 999),
)
def test_probabilities_are_scikit_learns(n, width, classes, spread, log_strength, seed):
    x, y = problem(n, width, classes, spread, seed)
    several = np.stack([y == c for c in range(classes)], axis=1).astype(np.uint8)
    at, strength = problem(10, width, classes, spread, seed + 1)[0], 10**log_strength
    for labels in (y, several):
        theirs = by_scikit_learn(x, labels, strength, at)
        np.testing.assert_allclose(probabilities(x, labels, classes, strength, at), theirs, atol=CLOSE)


@pytest.mark.parametrize("classes", [2, 3])
def test_separable_labels_and_a_penalty_next_to_none(classes):
    x, y = problem(30, 10, classes, 20.0)
    np.testing.assert_allclose(probabilities(x, y, classes, 1e4), by_scikit_learn(x, y, 1e4, x), atol=CLOSE)


def test_more_rows_than_features_and_features_far_from_the_origin():
    x, y = problem(500, 6, 3, 0.5)
    x[:, 0] = 40 + 1e-3 * x[:, 0]
    np.testing.assert_allclose(probabilities(x, y, 3, 10.0), by_scikit_learn(x, y, 10.0, x), atol=CLOSE)


def test_rows_that_are_alike_and_features_that_say_nothing():
    x, y = problem(12, 30, 3, 0.5)
    x = np.concatenate([x, x, 0 * x[:1]])
    x[:, 3] = 0
    y = np.r_[y, y[::-1], 0]
    np.testing.assert_allclose(probabilities(x, y, 3, 30.0), by_scikit_learn(x, y, 30.0, x), atol=CLOSE)


@pytest.mark.parametrize("multi_label", [False, True])
def test_features_without_variance_give_the_classes_shares(multi_label):
    y = np.repeat([0, 1], [15, 5])
    truth = np.stack([1 - y, y], axis=1) if multi_label else y
    p = probabilities(np.ones((20, 8)), truth, 2, 10.0)
    np.testing.assert_allclose(p, np.tile([0.75, 0.25], (20, 1)), atol=CLOSE)


@pytest.mark.parametrize("present", [(0,), (2,), (1, 3), (0, 2, 3)])
def test_a_class_without_examples_is_never_predicted(present):
    x, y = problem(60, 200, len(present), 1.5)
    p = probabilities(x, np.array(present)[y], 4, 1.0, at=3 * np.random.default_rng(1).normal(size=(500, x.shape[1])))
    np.testing.assert_allclose(p.sum(axis=1), 1)
    assert p[:, [c for c in range(4) if c not in present]].max() < 1e-3
    assert set(p.argmax(axis=1)) == set(present)


def test_a_label_that_none_or_all_carry_has_its_smoothed_share():
    x, y = problem(20, 200, 2, 1.5)
    p = probabilities(x, np.stack([y, 0 * y, 0 * y + 1], axis=1), 3, 1.0)
    np.testing.assert_allclose(p[:, 1:], np.tile([0.5 / 21, 20.5 / 21], (20, 1)))


# ---------------------------------------------------------------- many at once


@pytest.mark.parametrize("multi_label", [False, True])
def test_fits_to_parts_of_the_rows_are_those_to_the_parts_alone(multi_label):
    """Among them one of two classes, which scikit-learn takes for a binary problem, and one that lacks a label."""
    x, number = problem(40, 100, 3, 0.7)
    y = np.eye(3, dtype=np.uint8)[number] if multi_label else number
    parts = np.stack([np.ones(40, bool), np.arange(40) % 5 != 0, number != 1])
    strength = np.array([1.0, 100.0, 10.0])
    basis = Basis.of(x)
    found = fit_together(basis.rows, y, 3, torch.from_numpy(parts[..., None]), torch.from_numpy(strength))
    weights, biases = basis.outwards(*found)
    for part, c, weight, bias in zip(parts, strength, weights, biases, strict=True):
        of_whom = np.unique(number[part])
        theirs = by_scikit_learn(x[part], y[part][:, of_whom] if multi_label else y[part], c, x)
        p = to_probability(x @ weight + bias, multi_label)[:, of_whom]
        p = p if multi_label else p / p.sum(axis=1, keepdims=True)
        np.testing.assert_allclose(p, theirs, atol=CLOSE)


@pytest.mark.parametrize("multi_label", [False, True])
def test_rows_count_as_much_as_their_share(multi_label):
    x, number = problem(30, 50, 3, 0.7)
    y = np.eye(3, dtype=np.uint8)[number] if multi_label else number
    share = np.random.default_rng(0).random(30)
    basis = Basis.of(x)
    found = fit_together(basis.rows, y, 3, torch.from_numpy(share[None, :, None]), torch.tensor([10.0]))
    weight, bias = basis.outwards(found[0][0], found[1][0])
    theirs = by_scikit_learn(x, y, 10.0, x, share)
    np.testing.assert_allclose(to_probability(x @ weight + bias, multi_label), theirs, atol=CLOSE)


def test_each_label_may_have_rows_of_its_own():
    x, number = problem(30, 50, 3, 0.7)
    y, basis = np.eye(3, dtype=np.uint8)[number], Basis.of(x)
    share = np.random.default_rng(0).random((30, 3)) < 0.8
    weight, bias = fit_together(basis.rows, y, 3, torch.from_numpy(share[None]), torch.tensor([10.0]))
    for label in range(3):
        own = share[:, label]
        alone = fit_together(basis.rows[own], y[own][:, [label]], 1, torch.ones(1, own.sum(), 1), torch.tensor([10.0]))
        torch.testing.assert_close(weight[0, :, label], alone[0][0, :, 0], atol=1e-6, rtol=1e-5)
        torch.testing.assert_close(bias[0, label], alone[1][0, 0], atol=1e-6, rtol=1e-5)


def test_a_coarse_fit_is_near_enough_to_compare_candidates():
    x, y = problem(80, 200, 4, 0.7)
    basis, every = Basis.of(x), torch.ones(3, 80, 1)
    strength = torch.tensor([1.0, 10.0, 100.0])
    coarse, fine = (fit_together(basis.rows, y, 4, every, strength, *how) for how in ((COARSE,), ()))
    p, q = ((basis.rows @ weight + bias[:, None]).softmax(dim=2) for weight, bias in (coarse, fine))
    assert 1e-9 < (p - q).abs().max() < 0.02


# ---------------------------------------------------------------- the space


@pytest.mark.parametrize("shape", [(10, 40), (40, 10), (20, 20), (1, 5)])
def test_a_basis_turns_the_rows_and_no_more(shape):
    x = np.random.default_rng(0).normal(size=shape) + 3
    basis = Basis.of(x)
    size = min(shape)
    np.testing.assert_allclose(basis.directions.T @ basis.directions, np.eye(size), atol=1e-10)
    np.testing.assert_allclose(basis.rows @ basis.directions.T + basis.mean, x, atol=1e-10)
    products = basis.rows.T @ basis.rows
    np.testing.assert_allclose(products, np.diag(np.diag(products)), atol=1e-9)
