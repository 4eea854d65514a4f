"""The linear probe against scikit-learn in the features' own space, and its choice of the regularisation."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss

from ecg_lightning.evaluation import linear
from ecg_lightning.evaluation.choice import FOLDS, deal_folds, log_losses
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


def probabilities(x: Array, y: Array, classes: int, strength: float, at: Array) -> Array:
    weight, bias = fit_logistic(x, y, classes, strength)
    return to_probability(at @ weight + bias, y.ndim == 2)


def by_scikit_learn(x: Array, y: Array, strength: float, at: Array) -> Array:
    """(N, C) for classes that all occur, each of several labels by itself."""
    if y.ndim == 2:
        return np.stack([by_scikit_learn(x, column, strength, at)[:, 1] for column in y.T], axis=1)
    return LogisticRegression(C=strength, max_iter=5000, tol=1e-8).fit(x.astype(float), y).predict_proba(at)


def probes(train: Array, problems: list[Problem]) -> Any:
    """What the probe makes of given features."""
    return LinearProbe().solve(cast(FeatureSpace, SimpleNamespace(train=train)), problems)


# ---------------------------------------------------------------- the probe


@pytest.mark.parametrize("multi_label", [False, True])
def test_a_probe_is_scikit_learns_in_the_features_own_space(multi_label):
    x, number = problem(n=300, classes=3)
    y = np.eye(3, dtype=np.uint8)[number] if multi_label else number
    index = np.arange(0, 80, 2)
    [found] = probes(x[:100], [Problem(index, y[index], patients(40), 3, 0)])
    theirs = by_scikit_learn(x[index], y[index], found.details["C"], at=x[100:])
    assert found.details["C"] in STRENGTHS
    np.testing.assert_allclose(found(x[100:]), theirs, atol=1e-5)


def threads_of_a_new_thread() -> int:
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(torch.get_num_threads).result()


def test_problems_solved_together_are_those_solved_alone():
    x, y = problem(n=200, classes=4, spread=0.8)
    rng = np.random.default_rng(0)
    index = [np.sort(rng.choice(200, n, replace=False)) for n in (12, 12, 25, 60)]
    several = [Problem(each, y[each], patients(len(each)), 4, seed) for seed, each in enumerate(index)]
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    together = probes(x, several)
    threads = torch.get_num_threads(), threads_of_a_new_thread()
    torch.set_num_threads(before)
    assert threads == (2, 2)
    for one, found in zip(several, together, strict=True):
        [alone] = probes(x, [one])
        assert alone.details == found.details
        np.testing.assert_allclose(found(x), alone(x), atol=1e-6)


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 999), st.booleans(), st.floats(1e-3, 1e3))
def test_probabilities_are_valid_whatever_the_scores(seed, multi_label, scale):
    p = to_probability(scale * np.random.default_rng(seed).normal(size=(20, 5)), multi_label)
    assert (p >= 0).all() and (p <= 1).all()
    if not multi_label:
        np.testing.assert_allclose(p.sum(axis=1), 1)


def test_an_encoder_that_says_the_same_of_all_gives_the_classes_shares():
    y = np.repeat([0, 1], [15, 5])
    [found] = probes(np.zeros((20, 8), np.float32), [Problem(np.arange(20), y, patients(20), 2, 0)])
    np.testing.assert_allclose(found(np.zeros((5, 8), np.float32)), np.tile([0.75, 0.25], (5, 1)), atol=1e-3)


# ---------------------------------------------------------------- the folds


@settings(deadline=None, max_examples=50)
@given(st.integers(2, 60), st.integers(1, 20), st.integers(1, 6), st.booleans(), st.integers(0, 99))
def test_folds_hold_whole_patients_and_as_many_of_each_class_as_can_be(n, people, classes, multi_label, seed):
    rng = np.random.default_rng(seed)
    y = (rng.random((n, classes)) < 0.3).astype(np.uint8) if multi_label else rng.integers(0, classes, n)
    who = rng.integers(0, people, n)
    fold = deal_folds(y, who.astype(str), seed)
    most = n if multi_label else np.bincount(y).max()
    count = min(FOLDS, most, len(np.unique(who)))
    if count < 2:
        assert fold is None
        return
    assert set(fold) == set(range(count))
    whose = [set(fold[who == person]) for person in np.unique(who)]
    assert all(len(each) == 1 for each in whose)
    sizes = np.bincount([each.pop() for each in whose], minlength=count)
    assert sizes.max() - sizes.min() <= 1
    truth = y if multi_label else np.eye(y.max() + 1, dtype=int)[y]
    rarest = truth[:, truth.sum(axis=0).argmin()] > 0
    carriers = [len(np.unique(who[rarest & (fold == f)])) for f in range(count)]
    assert max(carriers) - min(carriers) <= 1


def test_folds_are_drawn_anew_for_each_seed():
    y, who = np.arange(40) % 2, np.arange(40).astype(str)
    folds = [deal_folds(y, who, seed) for seed in (0, 0, 1)]
    np.testing.assert_array_equal(folds[0], folds[1])
    assert (folds[0] != folds[2]).any()


def test_log_losses_are_scikit_learns():
    rng = np.random.default_rng(0)
    p = rng.dirichlet(np.ones(3), size=(2, 30))
    number, several = rng.integers(0, 3, 30), rng.integers(0, 2, (30, 3))
    for each, found, apart in zip(p, log_losses(p, number), log_losses(p, several), strict=True):
        assert found.mean() == pytest.approx(log_loss(number, each, labels=range(3)), abs=1e-3)
        assert apart.mean() == pytest.approx(sum(log_loss(several[:, c], each[:, c]) for c in range(3)), abs=1e-2)


# ---------------------------------------------------------------- the regularisation


def held_out_loss(x: Array, y: Array, strength: float, at: Array, truth: Array) -> float:
    return float(-np.log(probabilities(x, y, y.max() + 1, strength, at)[np.arange(len(truth)), truth]).mean())


@pytest.mark.parametrize("multi_label", [False, True])
@pytest.mark.parametrize("seed", range(3))
def test_the_chosen_strength_has_the_least_log_loss_by_scikit_learn_in_the_same_folds(multi_label, seed):
    x, number = problem(n=60, width=40, spread=0.6, seed=seed)
    y, who = np.eye(3, dtype=np.uint8)[number] if multi_label else number, patients(60, 30)
    fold, losses = deal_folds(y, who, seed), dict.fromkeys(STRENGTHS, 0.0)
    for f in range(FOLDS):
        held = fold == f
        for strength in STRENGTHS:
            p = by_scikit_learn(x[~held], y[~held], strength, x[held])
            losses[strength] += log_losses(p, y[held]).sum()
    assert choose_strength(x, y, who, 3, seed) == min(losses, key=lambda strength: losses[strength])


@pytest.mark.parametrize("seed", range(3))
def test_the_chosen_strength_is_nearly_as_good_on_fresh_data_as_the_best(seed):
    x, y = problem(n=1100, width=40, spread=0.7, seed=seed)
    fit, fresh = slice(0, 100), slice(100, None)
    chosen = choose_strength(x[fit], y[fit], patients(100, 50), 3, seed)
    losses = {c: held_out_loss(x[fit], y[fit], c, x[fresh], y[fresh]) for c in STRENGTHS}
    assert losses[chosen] < min(losses.values()) + 0.1 * (max(losses.values()) - min(losses.values()))


def test_of_many_labels_one_fold_is_held_out(monkeypatch):
    x, y = problem(n=300, width=20, spread=0.7)
    shares = []

    def spy(x_nR: Any, y: Any, classes: Any, share: Any, *rest: Any) -> Any:
        shares.append(share)
        return linear_fit(x_nR, y, classes, share, *rest)

    linear_fit = linear.fit_together
    monkeypatch.setattr(linear, "fit_together", spy)
    for many, fits in ((299, len(STRENGTHS)), (300, FOLDS * len(STRENGTHS))):
        monkeypatch.setattr(linear, "MANY", many)
        assert choose_strength(x, y, patients(300, 300), 3, 0) in STRENGTHS
        assert len(shares[-1]) == fits


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
