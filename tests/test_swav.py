"""SwAV: its codes against a solver in float64, its loss against a loop, its prototypes and small views."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from lightning import Callback, LightningModule, Trainer
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader
from views import SPEC, adamw, hearts, mean, numbers, padded, silent, train, view, vit

from ecg_lightning.augment.base import View
from ecg_lightning.augment.crop import RandomResizedCrop
from ecg_lightning.data.windows import Batch
from ecg_lightning.encoders.base import Encoder
from ecg_lightning.errors import UserError
from ecg_lightning.objectives.swav import SwAV, sinkhorn, swapped_prediction


class OneLength(Encoder):
    """Takes windows of the spec's length alone."""

    def __init__(self) -> None:
        super().__init__(SPEC, 16)
        self.inner = vit()

    def fit_length(self, samples: int) -> int:
        return self.spec.samples

    def tokens(self, x_BLT: Tensor, valid_BT: Tensor | None = None) -> Tensor:
        assert x_BLT.shape[-1] == self.spec.samples
        return self.inner.tokens(x_BLT, valid_BT)


def swav(encoder: Encoder | None = None, **changed: Any) -> SwAV:
    small = {"small_augment": View([RandomResizedCrop((0.2, 0.5))]), "small_views": 3, "small_length": 0.5}
    sizes = {"hidden": 16, "projection": 8, "prototypes": 6, "temperature": 0.1, "epsilon": 0.05}
    torch.manual_seed(0)
    return SwAV(encoder or vit(), view(), optimizer=adamw, **(small | sizes | changed))


def solve(scores: NDArray[np.float64], epsilon: float, iterations: int) -> NDArray[np.float64]:
    """Scale columns, then rows, of a plan that holds 1 in all, and return it row by row."""
    plan = np.exp((scores - scores.max()) / epsilon)
    plan /= plan.sum()
    B, K = plan.shape
    for _ in range(iterations):
        plan *= (1 / K) / plan.sum(axis=0, keepdims=True)
        plan *= (1 / B) / plan.sum(axis=1, keepdims=True)
    return plan * B


cosines = st.tuples(st.integers(2, 9), st.integers(2, 6), st.integers(0, 99)).map(
    lambda drawn: np.random.default_rng(drawn[2]).uniform(-1, 1, drawn[:2])
)


@settings(deadline=None, max_examples=30)
@given(cosines, st.floats(0.05, 1))
def test_codes_are_those_of_the_solver(scores: NDArray[np.float64], epsilon: float) -> None:
    found = sinkhorn(torch.from_numpy(scores), epsilon, 3)
    np.testing.assert_allclose(found, solve(scores, epsilon, 3), rtol=1e-9, atol=1e-12)
    single = sinkhorn(torch.from_numpy(scores).float(), epsilon, 3)
    np.testing.assert_allclose(single, solve(scores, epsilon, 3), rtol=1e-3, atol=1e-5)


def test_codes_converge_to_equal_shares() -> None:
    scores = np.random.default_rng(0).uniform(-1, 1, (12, 5))
    codes = sinkhorn(torch.from_numpy(scores).float(), 0.2, 300)
    np.testing.assert_allclose(codes.sum(dim=1), 1, rtol=1e-5)
    np.testing.assert_allclose(codes.sum(dim=0), 12 / 5, rtol=1e-4)
    np.testing.assert_allclose(codes, solve(scores, 0.2, 3000), rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16, torch.float32])
def test_nothing_overflows_however_sharp_the_codes(kind: torch.dtype) -> None:
    codes = sinkhorn(torch.rand(64, 7, dtype=kind) * 2 - 1, 1e-4, 3)
    assert codes.dtype == torch.float32 and codes.isfinite().all()
    np.testing.assert_allclose(codes.sum(dim=1), 1, rtol=1e-5)
    torch.testing.assert_close(sinkhorn(torch.full((5, 4), 30.0, dtype=kind), 0.05, 3), torch.full((5, 4), 0.25))


def naive_loss(scores: NDArray[np.float64], codes: NDArray[np.float64], temperature: float) -> float:
    V, B, K = scores.shape
    total, pairs = 0.0, 0
    for q in range(len(codes)):
        for v in range(V):
            if v == q:
                continue
            pairs += 1
            for b in range(B):
                weight = [math.exp(scores[v, b, k] / temperature) for k in range(K)]
                total -= sum(codes[q, b, k] * math.log(weight[k] / sum(weight)) for k in range(K)) / B
    return total / pairs


@settings(deadline=None, max_examples=30)
@given(st.integers(2, 5), st.integers(1, 4), st.integers(2, 5), st.integers(0, 99))
def test_loss_is_that_of_a_loop_over_pairs_of_views(V: int, B: int, K: int, seed: int) -> None:
    generator = np.random.default_rng(seed)
    scores, codes = generator.uniform(-1, 1, (V, B, K)), generator.dirichlet(np.ones(K), (2, B))
    found = swapped_prediction(torch.from_numpy(scores), torch.from_numpy(codes), 0.1)
    assert found.item() == pytest.approx(naive_loss(scores, codes, 0.1), rel=1e-9)


def test_gradient_is_that_of_finite_differences_of_the_loop() -> None:
    scores, codes = numbers(3, 2, 4), np.random.default_rng(1).dirichlet(np.ones(4), (2, 2))
    swapped_prediction(scores, torch.from_numpy(codes), 0.5).backward()
    assert scores.grad is not None
    for index in np.ndindex(3, 2, 4):
        step = np.zeros((3, 2, 4))
        step[index] = 1e-5
        up, down = (naive_loss(scores.detach().numpy() + sign * step, codes, 0.5) for sign in (1, -1))
        assert scores.grad[index].item() == pytest.approx((up - down) / 2e-5, abs=1e-7)


def test_the_objective_scores_every_view_against_prototypes_of_length_1() -> None:
    model, batch = swav().double(), Batch(torch.randn(5, 2, 200, dtype=torch.float64), torch.arange(5))
    torch.manual_seed(8)
    logged = model.loss(batch)
    torch.manual_seed(8)
    full = model.views(batch).x
    cut, _ = model.small_augment(batch.x.repeat(3, 1, 1))
    small = torch.nn.functional.interpolate(cut, 100, mode="linear")
    z = model.projector(torch.cat([model.encoder(full), model.encoder(small)])).detach().numpy()
    prototypes = model.prototypes.detach().numpy()
    scores = (z / np.linalg.norm(z, axis=1, keepdims=True)) @ (
        prototypes / np.linalg.norm(prototypes, axis=1)[:, None]
    ).T
    views = scores.reshape(5, 5, 6)
    codes = np.stack([solve(views[q], 0.05, 3) for q in range(2)])
    assert logged["loss"].item() == pytest.approx(naive_loss(views, codes, 0.1), rel=1e-5)
    assert logged["information"].item() == pytest.approx(1 - logged["loss"].item() / math.log(6))


def test_prototypes_that_say_nothing_tell_nothing() -> None:
    """All windows alike, or all prototypes: information is 0, and a code that is known tells nearly all."""
    for scores in (torch.zeros(4, 16, 8), torch.linspace(0, 0.9, 16).view(1, 16, 1).expand(4, 16, 8)):
        codes = sinkhorn(scores[0], 0.05, 3).expand(2, 16, 8)
        assert swapped_prediction(scores, codes, 0.1).item() == pytest.approx(math.log(8), rel=1e-5)
    one_point = torch.linspace(-1, 1, 8).expand(4, 16, 8)
    codes = sinkhorn(one_point[0], 0.05, 3).expand(2, 16, 8)
    assert swapped_prediction(one_point, codes, 0.1).item() >= math.log(8)
    known = torch.eye(8).repeat(2, 1).expand(4, 16, 8)
    codes = sinkhorn(known[0], 0.05, 3).expand(2, 16, 8)
    assert swapped_prediction(known, codes, 0.1).item() < 0.01 * math.log(8)


class Watch(Callback):
    """The prototypes at the end of each epoch."""

    def __init__(self) -> None:
        self.seen: list[Tensor] = []

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.seen.append(pl_module.prototypes.detach().clone())

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.seen.append(pl_module.prototypes.detach().clone())


@pytest.mark.parametrize("frozen", [0, 1, 2])
def test_prototypes_are_frozen_for_the_first_epochs(frozen: int, tmp_path: Path) -> None:
    watch, data = Watch(), DataLoader([hearts(8)] * 2, batch_size=None)  # type: ignore[arg-type, var-annotated]
    quiet: Any = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False, "accelerator": "cpu"}
    trainer = Trainer(max_epochs=3, callbacks=[watch], default_root_dir=tmp_path, enable_checkpointing=False, **quiet)
    model = swav(frozen_epochs=frozen, warmup=0.0)
    model.optimizer = lambda groups: torch.optim.AdamW(groups, lr=1e-3, weight_decay=0.0)
    trainer.fit(model, data)
    moved = [not torch.equal(before, after) for before, after in zip(watch.seen, watch.seen[1:], strict=False)]
    assert moved == [epoch >= frozen for epoch in range(3)]


def test_small_views_have_a_length_that_the_encoder_takes() -> None:
    lengths: dict[float, int] = {0.5: 100, 0.47: 80, 0.02: 20, 1.0: 200}
    for share, samples in lengths.items():
        model = swav(small_length=share)
        assert model.small_samples == samples
        assert model._small(hearts(4)).x.shape == (4, 2, samples)
    stretched = swav(OneLength())
    assert stretched.small_samples == 200
    stretched.loss(hearts(4))["loss"].backward()
    assert not silent(stretched)


def test_a_small_view_is_a_stretch_of_its_window_on_another_raster() -> None:
    ramp = torch.arange(200.0).expand(64, 2, 200)
    small = swav()._small(Batch(ramp, torch.arange(64))).x
    slope = small.diff(dim=2)[:, :, 1:-1].mean(dim=2)  # samples of the window in one of the view
    assert (slope > 2 * 0.2 - 1e-3).all() and (slope < 2 * 0.5 + 1e-3).all() and slope.std() > 0.1
    assert (small >= 0).all() and (small <= 199).all()


def test_padding_stays_padding_in_small_views_and_gradients_are_finite() -> None:
    model, batch = swav(), padded()
    small = model._small(batch)
    assert small.valid is not None and small.valid.sum(dim=1).tolist() == [100, 30, 10, 1]
    assert not small.x.masked_select(~small.valid[:, None]).any()
    model.loss(batch)["loss"].backward()
    assert not silent(model)


def test_two_full_views_alone_are_enough() -> None:
    model = swav(small_views=0)
    model.loss(hearts(6))["loss"].backward()
    assert not silent(model)


def test_a_window_alone_cannot_be_trained_on_but_may_end_a_validation() -> None:
    batch = Batch(torch.randn(1, 2, 200), torch.arange(1))
    with pytest.raises(UserError, match=r"objective=swav .* has one; raise data\.batch_size"):
        swav().loss(batch)
    alone = swav().eval().loss(batch)
    assert alone["loss"].isfinite() and alone["information"].item() <= 0


@pytest.mark.parametrize(
    ("key", "value", "bound"),
    [("hidden", 0, "above 0"), ("projection", 0, "above 0"), ("temperature", 0.0, "above 0"),
     ("epsilon", -0.1, "above 0"), ("prototypes", 1, "at least 2"), ("iterations", 0, "at least 1"),
     ("small_views", -1, "at least 0"), ("frozen_epochs", -1, "at least 0"), ("small_length", 1.5, "share of"),
     ("small_length", 0.0, "share of")],
)  # fmt: skip
def test_numbers_that_cannot_be_are_refused_by_name(key: str, value: float, bound: str) -> None:
    with pytest.raises(UserError, match=rf"objective\.{key}={value} must .*{bound}"):
        swav(**{key: value})


def test_training_finds_clusters_and_the_verdict_says_so() -> None:
    model = swav()
    history = train(model, hearts(24), steps=80)
    assert mean(history[-5:], "loss") < mean(history[:5], "loss") - 0.3
    last = {"val/information": mean(history[-5:], "information")}
    assert last["val/information"] > 0.2 and model.verdict(last).learned
    for nothing in (0.0, -0.5, math.nan):
        wrong = model.verdict({"val/information": nothing})
        assert not wrong.learned and "has learned nothing" in wrong.sentence
