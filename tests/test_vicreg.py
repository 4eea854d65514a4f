"""VICReg against loops over dimensions and windows."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from views import adamw, hearts, mean, numbers, padded, silent, train, view, vit

from ecg_lightning.data.windows import Batch
from ecg_lightning.errors import UserError
from ecg_lightning.objectives.vicreg import VICReg, regularise


def vicreg(**changed: Any) -> VICReg:
    return VICReg(vit(), view(), optimizer=adamw, **({"hidden": 16, "projection": 8} | changed))


def naive(z: NDArray[np.float64]) -> tuple[float, float]:
    """Shortfall of the deviations and mean square of the covariances, number by number."""
    B, D = z.shape
    mean = [sum(z[b, d] for b in range(B)) / B for d in range(D)]
    covariance = [
        [sum((z[b, i] - mean[i]) * (z[b, j] - mean[j]) for b in range(B)) / (B - 1) for j in range(D)] for i in range(D)
    ]
    short = sum(max(0.0, 1 - (covariance[d][d] + 1e-4) ** 0.5) for d in range(D)) / D
    return short, sum(covariance[i][j] ** 2 for i in range(D) for j in range(D) if i != j) / D


@settings(deadline=None, max_examples=30)
@given(st.integers(2, 7), st.integers(1, 5), st.floats(0.1, 3), st.integers(0, 99))
def test_terms_are_those_of_a_loop(B: int, D: int, scale: float, seed: int) -> None:
    z = scale * np.random.default_rng(seed).normal(size=(B, D))
    np.testing.assert_allclose(regularise(torch.from_numpy(z))[:2], naive(z), rtol=1e-6, atol=1e-12)


def test_gradient_is_that_of_finite_differences_of_the_loop() -> None:
    z = numbers(5, 3)
    found = regularise(z)
    (25 * found.variance + found.covariance).backward()
    assert z.grad is not None
    for index in np.ndindex(5, 3):
        step = np.zeros((5, 3))
        step[index] = 1e-5
        up, down = (np.dot([25, 1], naive(z.detach().numpy() + sign * step)) for sign in (1, -1))
        assert z.grad[index].item() == pytest.approx((up - down) / 2e-5, abs=1e-6)


def test_the_loss_weighs_the_terms_as_published() -> None:
    model, batch = vicreg().double(), Batch(torch.randn(6, 2, 200, dtype=torch.float64), torch.arange(6))
    torch.manual_seed(3)
    logged = {key: value.item() for key, value in model.loss(batch).items()}
    torch.manual_seed(3)
    z = model.projector(model.encoder(model.views(batch).x)).detach().numpy()
    (short1, square1), (short2, square2) = naive(z[:6]), naive(z[6:])
    invariance = np.mean((z[:6] - z[6:]) ** 2)
    assert logged["invariance"] == pytest.approx(invariance)
    assert logged["loss"] == pytest.approx(25 * invariance + 25 * (short1 + short2) / 2 + square1 + square2)


def test_gradients_reach_everything_and_are_finite_with_padding() -> None:
    model = vicreg()
    model.loss(padded())["loss"].backward()
    assert not silent(model)


def test_a_window_alone_cannot_be_trained_on_but_may_end_a_validation() -> None:
    batch = Batch(torch.randn(1, 2, 200), torch.arange(1))
    with pytest.raises(UserError, match=r"objective=vicreg .* has one; raise data\.batch_size"):
        vicreg().loss(batch)
    assert all(value.isfinite() for value in vicreg().eval().loss(batch).values())


@pytest.mark.parametrize("key", ["hidden", "projection", "invariance", "variance", "covariance"])
def test_numbers_that_cannot_be_are_refused_by_name(key: str) -> None:
    with pytest.raises(UserError, match=rf"objective\.{key}=-1 must be above 0"):
        vicreg(**{key: -1})


def test_training_widens_the_dimensions_and_draws_the_views_together() -> None:
    model = vicreg()
    history = train(model, hearts(16), steps=100)
    assert mean(history[-5:], "loss") < 0.8 * mean(history[:5], "loss")
    last = {f"val/{key}": mean(history[-5:], key) for key in ("relative_error", "spread")}
    assert last["val/relative_error"] < 0.7 and 0.5 < last["val/spread"] < 2
    assert model.verdict(last).learned
