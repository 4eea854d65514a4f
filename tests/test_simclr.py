"""SimCLR against a loop over views, and what is shared by the objectives that compare views."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F
from views import adamw, hearts, mean, padded, silent, train, view, vit

from ecg_lightning.data.windows import Batch
from ecg_lightning.errors import UserError
from ecg_lightning.objectives.simclr import SimCLR, nt_xent
from ecg_lightning.objectives.views import judge_agreement, relative_error, repeat, spread

some = settings(deadline=None, max_examples=30)


def simclr(**changed: Any) -> SimCLR:
    arguments = {"hidden": 16, "projection": 8, "temperature": 0.5} | changed
    return SimCLR(vit(), view(), optimizer=adamw, **arguments)


def naive_nt_xent(z1: NDArray[np.float64], z2: NDArray[np.float64], temperature: float) -> tuple[float, float]:
    z = [row / np.linalg.norm(row) for row in [*z1, *z2]]
    B, losses, hits = len(z1), [], []
    for i in range(2 * B):
        partner = (i + B) % (2 * B)
        others = {k: float(z[i] @ z[k]) for k in range(2 * B) if k != i}
        total = sum(math.exp(value / temperature) for value in others.values())
        losses.append(-math.log(math.exp(others[partner] / temperature) / total))
        hits.append(max(others, key=lambda k, others=others: others[k]) == partner)
    return float(np.mean(losses)), float(np.mean(hits))


@some
@given(st.integers(2, 6), st.integers(2, 5), st.floats(0.05, 2), st.integers(0, 99))
def test_loss_and_accuracy_are_those_of_a_loop_over_views(B: int, D: int, temperature: float, seed: int) -> None:
    z1, z2 = np.random.default_rng(seed).normal(size=(2, B, D))
    found = nt_xent(torch.from_numpy(z1), torch.from_numpy(z2), temperature)
    np.testing.assert_allclose(found, naive_nt_xent(z1, z2, temperature), rtol=1e-6)


def test_gradient_is_that_of_finite_differences_of_the_loop() -> None:
    z = torch.from_numpy(np.random.default_rng(1).normal(size=(2, 4, 3))).requires_grad_()
    nt_xent(z[0], z[1], 0.3)[0].backward()
    assert z.grad is not None
    for index in np.ndindex(2, 4, 3):
        step = np.zeros((2, 4, 3))
        step[index] = 1e-5
        up, down = (naive_nt_xent(*(z.detach().numpy() + sign * step), 0.3)[0] for sign in (1, -1))
        assert z.grad[index].item() == pytest.approx((up - down) / 2e-5, abs=1e-7)


def test_views_that_are_all_alike_cost_the_logarithm_of_the_others() -> None:
    loss, _ = nt_xent(torch.ones(8, 3), torch.ones(8, 3), 0.5)
    assert loss.item() == pytest.approx(math.log(15), rel=1e-6)


def test_half_precision_keeps_apart_what_lies_close() -> None:
    close = torch.ones(8) + 0.02 * torch.randn(2, 6, 8)
    with torch.autocast("cpu", torch.bfloat16):
        found = nt_xent(close[0], close[1], 0.1)
    np.testing.assert_allclose(found, naive_nt_xent(*close.double().numpy(), 0.1), rtol=1e-5)


def test_the_objective_projects_two_different_views_of_each_window() -> None:
    model, x = simclr().double(), torch.randn(6, 2, 200, dtype=torch.float64)
    torch.manual_seed(4)
    logged = model.loss(Batch(x, torch.arange(6)))
    torch.manual_seed(4)
    views = model.view(repeat(Batch(x, torch.arange(6)), 2)).x
    assert not torch.equal(views[:6], views[6:])
    z = model.projector(model.encoder(views)).detach().numpy()
    loss, accuracy = naive_nt_xent(z[:6], z[6:], 0.5)
    assert logged["loss"].item() == pytest.approx(loss, rel=1e-9)
    assert logged["accuracy"].item() == pytest.approx(accuracy) and logged["chance"].item() == pytest.approx(1 / 11)


def test_gradients_reach_everything_and_are_finite_with_padding() -> None:
    model = simclr()
    model.loss(padded())["loss"].backward()
    assert not silent(model)


def test_a_window_alone_cannot_be_trained_on_but_may_end_a_validation() -> None:
    batch = Batch(torch.randn(1, 2, 200), torch.arange(1))
    with pytest.raises(UserError, match=r"objective=simclr .* has one; raise data\.batch_size"):
        simclr().loss(batch)
    alone = simclr().eval().loss(batch)
    assert alone["loss"].item() == 0 and alone["accuracy"].item() == alone["chance"].item() == 1


@pytest.mark.parametrize("key", ["hidden", "projection", "temperature"])
@pytest.mark.parametrize("value", [0, -1, float("nan")])
def test_numbers_that_cannot_be_are_refused_by_name(key: str, value: float) -> None:
    with pytest.raises(UserError, match=rf"objective\.{key}={value} must be above 0"):
        simclr(**{key: value})


def test_the_verdict_compares_with_guessing() -> None:
    def verdict(accuracy: float, chance: float) -> Any:
        return simclr().verdict({"val/accuracy": accuracy, "val/chance": chance})

    assert verdict(0.4, 1 / 127).learned and "40.0%" in verdict(0.4, 1 / 127).sentence
    assert verdict(0.9, 0.6).learned
    for accuracy, chance in ((0.01, 1 / 127), (0.7, 0.6), (1.0, 1.0), (float("nan"), 0.1)):
        wrong = verdict(accuracy, chance)
        assert not wrong.learned and "has learned nothing" in wrong.sentence and "temperature" in wrong.sentence


def test_training_learns_to_tell_windows_apart() -> None:
    history = train(simclr(), hearts(16), steps=80)
    assert mean(history[-5:], "loss") < mean(history[:5], "loss") - 0.3
    assert mean(history[-5:], "accuracy") > 0.3 > 4 * history[0]["chance"]


# --- what the objectives share that compare views ---------------------------------------------------------------


@some
@given(st.integers(2, 6), st.integers(1, 5), st.integers(0, 99))
def test_relative_error_is_that_of_a_loop_over_pairs(B: int, D: int, seed: int) -> None:
    p, t = np.random.default_rng(seed).normal(size=(2, B, D))
    own = np.mean([np.sum((p[i] - t[i]) ** 2) for i in range(B)])
    others = np.mean([np.sum((p[i] - t[j]) ** 2) for i in range(B) for j in range(B) if i != j])
    found = relative_error(torch.from_numpy(p), torch.from_numpy(t))
    assert found.item() == pytest.approx(own / others, rel=1e-4)


def test_relative_error_is_1_where_there_is_nothing_to_compare_with() -> None:
    assert relative_error(torch.randn(1, 3), torch.randn(1, 3)).item() == 1
    assert relative_error(torch.ones(5, 3), torch.ones(5, 3)).item() == 1
    x = torch.randn(4000, 3)
    assert relative_error(x, x[torch.randperm(4000)]).item() == pytest.approx(1, abs=0.05)


def test_spread_is_1_for_directions_of_all_kinds_and_0_for_one() -> None:
    assert spread(torch.randn(20_000, 16)).item() == pytest.approx(1, abs=0.01)
    assert spread(torch.randn(20_000, 1) * torch.ones(16)).item() == pytest.approx(1, abs=0.01), "both ways of a line"
    assert spread(torch.rand(100, 1) * torch.ones(16)).item() == pytest.approx(0, abs=1e-6)
    narrow = torch.cat([torch.randn(1000, 1), torch.zeros(1000, 15)], dim=1)
    assert spread(narrow).item() == pytest.approx(1 / 4, abs=0.01), "one dimension of sixteen"
    one = F.normalize(torch.randn(8), dim=0).expand(50, 8) + 1e-4 * torch.randn(50, 8)
    assert spread(one).item() < 1e-3


def test_agreement_is_judged_by_error_and_spread() -> None:
    def verdict(error: float, width: float) -> Any:
        return judge_agreement({"val/relative_error": error, "val/spread": width})

    assert verdict(0.4, 0.8).learned and "0.400" in verdict(0.4, 0.8).sentence
    assert "learned nothing" in verdict(0.99, 0.8).sentence
    assert "collapsed" in verdict(0.01, 0.02).sentence
    assert not any(verdict(*bad).learned for bad in ((0.99, 0.8), (0.01, 0.02), (math.nan, 0.8), (0.1, math.nan)))


def test_a_repeated_batch_is_the_batch_behind_itself() -> None:
    x: Tensor = torch.randn(3, 2, 5)
    batch = repeat(Batch(x, torch.arange(3), patient=torch.tensor([4, 5, 4])), 2)
    assert torch.equal(batch.x, torch.cat([x, x])) and batch.which.tolist() == [0, 1, 2] * 2
    assert batch.valid is None and batch.patient is not None and batch.patient.tolist() == [4, 5, 4] * 2
