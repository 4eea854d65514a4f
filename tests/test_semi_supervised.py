"""Label spreading against scikit-learn's and against a loop; self-training against its rule."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.decomposition import PCA
from sklearn.semi_supervised import LabelSpreading

from ecg_lightning.evaluation import semi_supervised
from ecg_lightning.evaluation.features import FeatureSpace
from ecg_lightning.evaluation.frozen import Problem
from ecg_lightning.evaluation.linear import LinearProbe
from ecg_lightning.evaluation.self_training import PORTIONS, surest
from ecg_lightning.evaluation.semi_supervised import (
    NEIGHBOURS,
    PASSED_ON,
    PASSES,
    Graph,
    SemiSupervised,
    principal_directions,
)

Array = NDArray[Any]
HOW = ("propagation", "self_training")


def learned(how: Any, train: Array, *problems: Problem) -> Any:
    return SemiSupervised(how).solve(cast(FeatureSpace, SimpleNamespace(train=train)), problems)


def problem(index: Array, y: Array, classes: int = 2) -> Problem:
    return Problem(index, y[index], index.astype(str), classes, 0)


def moons(n: int = 300, seed: int = 0) -> tuple[Array, Array]:
    """Two arcs that no straight line parts, in eight dimensions."""
    rng = np.random.default_rng(seed)
    y = np.arange(n) % 2
    angle = rng.uniform(0, np.pi, n)
    x = np.stack([np.cos(angle) + y, np.where(y, 0.4 - np.sin(angle), np.sin(angle))], axis=1)
    return np.concatenate([x, np.zeros((n, 6))], axis=1).astype(np.float32) + np.float32(0.03) * rng.normal(
        size=(n, 8)
    ).astype(np.float32), y


def neighbours_by_hand(x: Array, at: Array, skip_itself: bool) -> Array:
    """(M, N) whether each of `x` is among the nearest of each of `at`."""
    distance = np.linalg.norm(at[:, None].astype(float) - x, axis=2)
    if skip_itself:
        np.fill_diagonal(distance, np.inf)
    near = np.zeros(distance.shape, bool)
    np.put_along_axis(near, distance.argsort(axis=1)[:, :NEIGHBOURS], True, axis=1)
    return near


# ---------------------------------------------------------------- label spreading


def test_labels_spread_as_with_scikit_learn_and_reach_others_through_their_neighbours():
    x, y = moons()
    train, index = x[:200], np.array([0, 1, 10, 31, 50])
    [found] = learned("propagation", train, problem(index, y))

    near = neighbours_by_hand(train, train, skip_itself=True)
    known = np.full(200, -1)
    known[index] = y[index]
    model = LabelSpreading(kernel=lambda a, b: (near | near.T).astype(float), alpha=PASSED_ON, max_iter=PASSES, tol=0)
    with pytest.warns(match="max_iter"):
        model.fit(train.astype(float), known)
    np.testing.assert_allclose(found.probability, model.label_distributions_, atol=1e-3)

    votes = neighbours_by_hand(train, x[200:], skip_itself=False)
    np.testing.assert_allclose(found(x[200:]), votes @ found.probability / NEIGHBOURS, atol=1e-5)


def test_two_moons_are_told_apart_by_two_labels_each_and_not_by_a_line():
    x, y = moons(600)
    index = np.array([2, 7, 40, 61])
    [spread] = learned("propagation", x[:400], problem(index, y))
    [line] = LinearProbe().solve(cast(FeatureSpace, SimpleNamespace(train=x)), [problem(index, y)])
    right = [(found(x[400:]).argmax(axis=1) == y[400:]).mean() for found in (spread, line)]
    assert right[0] > 0.95
    assert right[1] < 0.9


def test_each_of_several_labels_spreads_by_itself():
    x, y = moons()
    index = np.array([0, 1, 10, 31, 50])
    several = np.stack([y, 1 - y, y * 0, y * 0 + 1], axis=1).astype(np.uint8)
    [one] = learned("propagation", x, problem(index, y))
    [many] = learned("propagation", x, problem(index, several, 4))
    expected = np.stack([one.probability[:, 1], one.probability[:, 0], 0 * y, 0 * y + 1], axis=1)
    np.testing.assert_allclose(many.probability, expected, atol=1e-5)


def test_whom_no_label_reaches_has_the_shares_of_the_budget():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(120, 4)).astype(np.float32)
    x[60:] += 1000
    y, index = np.arange(120) % 3, np.array([0, 1, 2, 3])
    [found] = learned("propagation", x, problem(index, y, 3))
    np.testing.assert_allclose(found.probability[60:], np.tile([0.5, 0.25, 0.25], (60, 1)), atol=1e-5)
    assert np.abs(found.probability[:60] - [0.5, 0.25, 0.25]).max() > 0.05


def test_doubles_are_neighbours_of_each_other_and_nobody_of_itself():
    x = np.repeat(np.random.default_rng(0).normal(size=(4, 3)), 40, axis=0).astype(np.float32)
    links = Graph(x).spreading.toarray()
    assert (np.diag(links) == 0).all() and (links.sum(axis=1) > 0).all()
    assert all(links[i, j] == 0 or i // 40 == j // 40 for i in range(160) for j in range(160))
    np.testing.assert_allclose(links, links.T, atol=1e-6)


def test_a_handful_of_examples_is_a_graph_too():
    x, y = moons(6)
    [found] = learned("propagation", x, problem(np.arange(2), y))
    np.testing.assert_allclose(found(x).sum(axis=1), 1, atol=1e-5)


def test_the_principal_directions_are_scikit_learns():
    x = (np.random.default_rng(0).normal(size=(100, 9)) * np.arange(1, 10) + 5).astype(np.float32)
    theirs = PCA(3).fit(x).components_.T
    np.testing.assert_allclose(np.abs((theirs * principal_directions(x, 3)).sum(axis=0)), 1, atol=1e-3)


def test_the_graph_is_built_once_for_all_problems(monkeypatch):
    x, y = moons()
    several = [problem(np.array(index), y) for index in ([0, 1], [2, 3, 5], [0, 1, 8, 9])]
    made: list[Graph] = []
    monkeypatch.setattr(semi_supervised, "Graph", lambda train: made.append(Graph(train)) or made[-1])
    together = learned("propagation", x, *several)
    assert len(made) == 1
    for one, found in zip(several, together, strict=True):
        np.testing.assert_array_equal(found(x), learned("propagation", x, one)[0](x))


# ---------------------------------------------------------------- self-training


@pytest.mark.parametrize("multi_label", [False, True])
@pytest.mark.parametrize("portion", PORTIONS)
def test_the_surest_of_every_class_are_taken(multi_label, portion):
    rng = np.random.default_rng(0)
    p = rng.random((60, 4)) ** 2 if multi_label else rng.dirichlet(np.ones(4), size=60)
    guess = (p > 0.5).astype(int) if multi_label else p.argmax(axis=1)
    chosen = surest(p, guess, portion)
    for column in range(chosen.shape[1]):
        own = guess[:, column] if multi_label else guess
        sure = np.abs(p[:, column] - 0.5) if multi_label else p.max(axis=1)
        for kind in np.unique(own):
            members = np.flatnonzero(own == kind)
            best = members[np.argsort(-sure[members])][: int(np.ceil(portion * len(members)))]
            assert set(np.flatnonzero(chosen[:, column] & (own == kind))) == set(best)


@pytest.mark.parametrize("multi_label", [False, True])
def test_guesses_of_the_unlabelled_improve_a_probe_where_the_classes_lie_apart(multi_label):
    rng, better = np.random.default_rng(0), []
    for seed in range(4):
        number = np.arange(1200) % 2
        apart = np.outer(2 * number - 1, 0.2 * rng.normal(size=200))
        x = ((rng.normal(size=(1200, 200)) + apart) / np.sqrt(200)).astype(np.float32)
        y = np.stack([1 - number, number], axis=1) if multi_label else number
        index = rng.choice(1000, 20, replace=False)
        one = Problem(index, y[index], index.astype(str), 2, seed)
        [again] = learned("self_training", x[:1000], one)
        [once] = LinearProbe().solve(cast(FeatureSpace, SimpleNamespace(train=x)), [one])
        right = [((found(x[1000:])[:, 1] > 0.5) == number[1000:]).mean() for found in (again, once)]
        better.append(right[0] - right[1])
        assert again.details == {**once.details, "guessed": 980}
    assert np.mean(better) > 0.02 and min(better) >= -0.01


@pytest.mark.parametrize("how", HOW)
def test_where_everybody_is_labelled_nothing_is_guessed(how):
    x, y = moons(40)
    [found] = learned(how, x, problem(np.arange(40), y))
    assert (found(x).argmax(axis=1) == y).mean() > 0.8


@pytest.mark.parametrize("how", HOW)
def test_the_outcome_depends_on_labels_and_seed_alone(how):
    x, y = moons()
    one = problem(np.array([0, 1, 2, 3, 4, 5]), y)
    np.random.seed(0)
    first = learned(how, x, one)[0](x)
    np.random.seed(1)
    np.testing.assert_array_equal(learned(how, x, one)[0](x), first)
