"""Label budgets: which labels are drawn, and that none beyond them can be read."""

from __future__ import annotations

import time
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from ecg_lightning.data.budget import BudgetExceeded, LabelBudget, SealedLabels
from ecg_lightning.errors import UserError

CLASSES = ("N", "S", "V", "F")
Array = NDArray[Any]

property_test = settings(deadline=None, max_examples=40)
seeds = st.integers(0, 10_000)


def labels(seed: int, n: int, multi_label: bool = False) -> tuple[Array, Array]:
    """Unbalanced labels, four of every class at least, of patients who have several examples each."""
    rng = np.random.default_rng(seed)
    patient = np.array([f"set/{number}" for number in rng.integers(0, max(2, n // 6), n)])
    if multi_label:
        y = (rng.random((n, len(CLASSES))) < [0.6, 0.2, 0.1, 0.05]).astype(np.uint8)
        y[:16] |= np.tile(np.eye(len(CLASSES), dtype=np.uint8), (4, 1))
        return y, patient
    y = rng.choice(len(CLASSES), n, p=[0.7, 0.15, 0.1, 0.05])
    y[:16] = np.tile(np.arange(len(CLASSES)), 4)
    return y, patient


def draw(budget: LabelBudget, y: Array, patient: Array, seed: int = 0) -> Array:
    return budget.draw(y, patient, CLASSES, seed)


datasets = st.builds(labels, seeds, st.integers(101, 300), st.booleans())


# ---------------------------------------------------------------- what is drawn


@property_test
@given(data=datasets, seed=seeds, total=st.integers(4, 100))
def test_a_total_is_exact_without_repetition_and_sorted(data, seed, total):
    chosen = draw(LabelBudget(total=total), *data, seed)
    assert len(chosen) == total
    assert (np.diff(chosen) > 0).all()
    assert chosen[0] >= 0 and chosen[-1] < len(data[0])


def test_examples_that_show_no_class_are_drawn_last():
    y = np.zeros((10, 4), np.uint8)
    y[[2, 5, 7], [0, 1, 2]] = 1
    patient = np.arange(10).astype(str)
    assert draw(LabelBudget(total=3), y, patient).tolist() == [2, 5, 7]
    assert draw(LabelBudget(total=10), y, patient).tolist() == list(range(10))
    assert set(draw(LabelBudget(total=5), y, patient)) < set(draw(LabelBudget(total=6), y, patient))


@property_test
@given(data=datasets, seed=seeds)
def test_larger_budgets_contain_the_smaller_ones(data, seed):
    totals = [LabelBudget(total=total) for total in (10, 25, 50, 100)]
    fractions = [LabelBudget(fraction=fraction) for fraction in (0.4, 0.6, 0.8)]
    for ladder in (totals, fractions):
        steps = [set(draw(budget, *data, seed)) for budget in [*ladder, LabelBudget()]]
        assert all(small < large for small, large in pairwise(steps))


@property_test
@given(data=datasets, seed=seeds, k=st.integers(1, 5))
def test_k_per_class_lie_within_one_more_per_class(data, seed, k):
    y, _ = data
    rarest = (np.bincount(y) if y.ndim == 1 else y.sum(axis=0)).min()
    k = min(k, int(rarest))
    chosen = draw(LabelBudget(per_class=k), *data, seed)
    assert len(chosen) <= k * len(CLASSES)
    assert ((np.bincount(y[chosen]) == k) if y.ndim == 1 else (y[chosen].sum(axis=0) >= k)).all()
    if k < rarest:
        assert set(chosen) < set(draw(LabelBudget(per_class=k + 1), *data, seed))


@property_test
@given(data=st.builds(labels, seeds, st.integers(101, 300)), seed=seeds, total=st.integers(4, 100))
def test_classes_differ_by_at_most_one_unless_a_class_has_no_more(data, seed, total):
    y, patient = data
    count = np.bincount(y[draw(LabelBudget(total=total), y, patient, seed)], minlength=len(CLASSES))
    with_more = count < np.bincount(y)
    assert (count[with_more] >= count.max() - 1).all()


@property_test
@given(data=st.builds(labels, seeds, st.integers(101, 300)), seed=seeds, fraction=st.floats(0.4, 1))
def test_a_fraction_keeps_the_classes_shares(data, seed, fraction):
    y, patient = data
    chosen = draw(LabelBudget(fraction=fraction), y, patient, seed)
    assert len(chosen) == round(fraction * len(y))
    assert np.abs(np.bincount(y[chosen], minlength=4) - fraction * np.bincount(y)).max() < 2


@property_test
@given(
    data=st.builds(labels, seeds, st.integers(101, 300)),
    seed=seeds,
    budget=st.sampled_from([LabelBudget(total=20), LabelBudget(total=60), LabelBudget(fraction=0.4)]),
)
def test_patients_serve_each_class_in_proportion_to_what_they_have_of_it(data, seed, budget):
    """One rate of drawing explains what every patient gives, to within one example."""
    y, patient = data
    chosen = draw(budget, y, patient, seed)
    for c in range(len(CLASSES)):
        who, available = np.unique(patient[y == c], return_counts=True)
        given = np.array([(patient[chosen][y[chosen] == c] == name).sum() for name in who])
        assert ((given - 1) / available).max() <= ((given + 1) / available).min()


def test_drawing_from_many_patients_takes_no_time():
    rng = np.random.default_rng(0)
    y = (rng.random((20_000, 4)) < 0.3).astype(np.uint8)
    begin = time.process_time()
    draw(LabelBudget(total=100), y, rng.permutation(20_000).astype(str))
    assert time.process_time() - begin < 1


def test_no_budget_at_all_draws_everything():
    y, patient = labels(0, 50)
    assert draw(LabelBudget(), y, patient).tolist() == list(range(50))


@pytest.mark.realdata
@pytest.mark.parametrize("total", [10, 25, 50, 100])
def test_few_beats_of_mit_bih_hold_every_class_and_are_enough_to_choose(data_root, tmp_path_factory, total):
    from ecg_lightning.data.mitbih import MITBIH
    from ecg_lightning.evaluation.linear import STRENGTHS, choose_strength
    from ecg_lightning.signal import SignalSpec

    spec = SignalSpec.of_seconds(100, ("II",), 1)
    cache = tmp_path_factory.getbasetemp() / "mitbih"
    data = MITBIH(name="mitbih", root=data_root / "mitdb", spec=spec, cache_dir=cache)
    train = data.labelled.of("train")
    patient = data.store.patient[train.row]
    chosen = LabelBudget(total=total).draw(train.y, patient, data.classes, seed=0)
    count = np.bincount(train.y[chosen], minlength=5)
    assert count.max() - count[count < np.bincount(train.y)].min() <= 1
    assert choose_strength(np.nan_to_num(train.rr[chosen]), train.y[chosen], patient[chosen], 5, seed=0) in STRENGTHS


# ---------------------------------------------------------------- the seed


@pytest.mark.parametrize("multi_label", [False, True])
@pytest.mark.parametrize("budget", [LabelBudget(total=20), LabelBudget(per_class=3), LabelBudget(fraction=0.4)])
def test_the_seed_alone_decides_which_labels_are_drawn(budget, multi_label):
    y, patient = labels(3, 150, multi_label)
    before = np.random.get_state()[1].copy(), torch.get_rng_state()
    first = draw(budget, y, patient, seed=5)
    np.testing.assert_array_equal(np.random.get_state()[1], before[0])
    assert torch.equal(torch.get_rng_state(), before[1])
    np.random.seed(99)
    torch.manual_seed(99)
    np.testing.assert_array_equal(draw(budget, y, patient, seed=5), first)
    others = {draw(budget, y, patient, seed).tobytes() for seed in range(6)}
    assert len(others) == 6


# ---------------------------------------------------------------- what cannot be drawn


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"total": 10, "per_class": 2}, "give one of total, per_class, fraction, not total and per_class"),
        ({"total": 0}, "budget.total=0 must be a whole number above 0"),
        ({"total": 2.5}, "budget.total=2.5 must be a whole number"),
        ({"per_class": -1}, "budget.per_class=-1 must be a whole number above 0"),
        ({"fraction": 0.0}, r"budget.fraction=0.0 must be a share in \(0, 1\]"),
        ({"fraction": 1.5}, r"budget.fraction=1.5 must be a share in \(0, 1\]"),
    ],
)
def test_a_budget_out_of_range_is_refused(arguments, message):
    with pytest.raises(UserError, match=message):
        LabelBudget(**arguments)


Y = np.array([0] * 80 + [1] * 10 + [2] * 7 + [3] * 3)
PATIENT = np.arange(100).astype(str)


@pytest.mark.parametrize(
    ("budget", "y", "seed", "message"),
    [
        (LabelBudget(total=101), Y, 0, "budget=101 asks for more than the 100 labels of the training split"),
        (LabelBudget(total=101), np.eye(4, dtype=np.uint8)[Y], 0, "more than the 100 labels"),
        (LabelBudget(total=3), Y, 0, "budget=3 cannot hold one example of each of the 4 classes"),
        (LabelBudget(per_class=8), Y, 0, "budget.per_class=8 asks for more .* than there are: V has 7, F has 3"),
        (LabelBudget(fraction=0.01), Y, 0, "budget=0.01-of-all holds no example of .*F; use a larger one"),
        (LabelBudget(total=10), np.minimum(Y, 2), 0, "the training split holds no example of class F"),
        (LabelBudget(), np.minimum(Y, 2), 0, "no example of class F"),
        (LabelBudget(total=10), Y, -1, "seed=-1 must be a whole number from 0 on"),
        (LabelBudget(), np.zeros((0, 4), np.uint8), 0, "the training split holds no labelled example"),
    ],
)
def test_a_budget_that_the_data_cannot_fill_is_refused(budget, y, seed, message):
    with pytest.raises(UserError, match=message):
        budget.draw(y, PATIENT[: len(y)], CLASSES, seed)


def test_every_kind_of_budget_has_its_own_name():
    budgets = [LabelBudget(total=10), LabelBudget(per_class=10), LabelBudget(fraction=0.1), LabelBudget()]
    assert [budget.name for budget in budgets] == ["10", "10-per-class", "0.1-of-all", "full"]


# ---------------------------------------------------------------- the seal


def test_the_seal_gives_labels_of_the_budget_and_counts_them():
    sealed = SealedLabels(Y, np.array([0, 5, 90]))
    assert sealed[np.array([90, 0])].tolist() == [2, 0]
    assert sealed[np.array([90])].tolist() == [2]
    assert (len(sealed), sealed.read) == (100, {0, 90})


@pytest.mark.parametrize(
    "index", [[0, 1], [-1], slice(None), [True, True] + [False] * 97 + [True], np.arange(100) > 98, Ellipsis]
)
def test_the_seal_refuses_every_other_label_however_it_is_asked_for(index):
    sealed = SealedLabels(Y, np.array([0, 1] if np.asarray(index).dtype == bool else [0]))
    with pytest.raises(BudgetExceeded):
        sealed[np.asarray(index) if isinstance(index, list) else index]
    assert not sealed.read


def test_the_seal_cannot_be_iterated_or_turned_into_an_array():
    sealed = SealedLabels(Y, np.array([0, 1]))
    for look in (list, np.asarray):
        with pytest.raises(BudgetExceeded):
            look(sealed)
