"""BYOL against its formula, and its teacher against an average kept by hand, step by step of a real training."""

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
from torch import Tensor, nn
from torch.utils.data import DataLoader
from views import SPEC, adamw, hearts, mean, numbers, padded, silent, train, view, vit

from ecg_lightning.data.windows import Batch
from ecg_lightning.encoders.base import Encoder
from ecg_lightning.encoders.norm import BatchNorm
from ecg_lightning.errors import UserError
from ecg_lightning.objectives.byol import BYOL, regression_error
from ecg_lightning.objectives.ema import answer, follow, momentum_at
from ecg_lightning.objectives.views import relative_error


class Normed(Encoder):
    """Weights, biases and a batch norm's buffers."""

    def __init__(self) -> None:
        super().__init__(SPEC, 6)
        self.convolve = nn.Conv1d(2, 6, 20, stride=20)
        self.norm = BatchNorm(6)

    def tokens(self, x_BLT: Tensor, valid_BT: Tensor | None = None) -> Tensor:
        out: Tensor = self.norm(self.convolve(x_BLT)).transpose(1, 2)
        return out


def byol(encoder: Encoder | None = None, **changed: Any) -> BYOL:
    arguments = {"hidden": 16, "projection": 8, "momentum": 0.9} | changed
    return BYOL(encoder or vit(), view(), optimizer=adamw, warmup=0.0, **arguments)


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 6), st.integers(1, 5), st.integers(0, 99))
def test_error_is_the_squared_distance_of_directions(B: int, D: int, seed: int) -> None:
    p, t = np.random.default_rng(seed).normal(size=(2, B, D))
    rows = [np.sum((a / np.linalg.norm(a) - b / np.linalg.norm(b)) ** 2) for a, b in zip(p, t, strict=True)]
    found = regression_error(torch.from_numpy(p), torch.from_numpy(t))
    assert found.item() == pytest.approx(np.mean(rows), rel=1e-6, abs=1e-9)


def test_gradient_is_that_of_the_formula() -> None:
    p, t = numbers(4, 3), numbers(4, 3, seed=1)
    regression_error(p, t.detach()).backward()
    direction, goal = (part.detach() / part.detach().norm(dim=1, keepdim=True) for part in (p, t))
    along = (direction * goal).sum(dim=1, keepdim=True) * direction
    torch.testing.assert_close(p.grad, -2 * (goal - along) / p.detach().norm(dim=1, keepdim=True) / 4)


def test_each_view_predicts_the_teacher_of_the_other_and_no_gradient_reaches_it() -> None:
    model, batch = byol(Normed()).double(), Batch(torch.randn(6, 2, 200, dtype=torch.float64), torch.arange(6))
    for part in (model.teacher_encoder, model.teacher_projector):
        for parameter in part.parameters():
            nn.init.normal_(parameter)
    torch.manual_seed(2)
    logged = model.loss(batch)
    logged["loss"].backward()
    assert not silent(model)
    assert all(p.grad is None and not p.requires_grad for p in model.teacher_encoder.parameters())
    torch.manual_seed(2)
    views = model.views(batch).x
    online = model.predictor(model.projector(model.encoder(views)))
    target = model.teacher_projector(model.teacher_encoder(views))
    cosine = nn.functional.cosine_similarity(online, torch.cat([target[6:], target[:6]]), dim=1)
    expected = (2 - 2 * cosine[:6]).mean() + (2 - 2 * cosine[6:]).mean()
    assert logged["loss"].item() == pytest.approx(expected.item(), rel=1e-9)
    unit = [nn.functional.normalize(part, dim=1).detach() for part in (online, target)]
    errors = [relative_error(unit[0].chunk(2)[n], unit[1].chunk(2)[1 - n]).item() for n in range(2)]
    assert logged["relative_error"].item() == pytest.approx(np.mean(errors))
    assert logged["spread"].item() == pytest.approx(math.sqrt(8) * unit[1].std(dim=0, correction=0).mean().item())


def test_a_teacher_answers_by_the_statistics_of_the_batch_and_keeps_its_own() -> None:
    student = Normed().train()
    teacher, x = follow(student), 5 + 3 * torch.randn(8, 2, 200)
    before = {key: value.clone() for key, value in teacher.state_dict().items()}
    torch.testing.assert_close(answer(teacher, x, None), student(x))
    assert all(torch.equal(value, before[key]) for key, value in teacher.state_dict().items())
    assert not torch.equal(student.norm.running_mean, before["norm.running_mean"])
    assert not answer(teacher, x, None).requires_grad


class ByHand(Callback):
    """The average of the students, in float64, of every tensor that a teacher has."""

    def __init__(self) -> None:
        self.average: dict[str, Tensor] = {}
        self.moved = 0

    @staticmethod
    def networks(model: LightningModule) -> Any:
        assert isinstance(model, BYOL)
        return (model.encoder, model.teacher_encoder), (model.projector, model.teacher_projector)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.average = {f"{n}.{key}": value.double() for n, (_, teacher) in enumerate(self.networks(pl_module))
                        for key, value in teacher.state_dict().items()}  # fmt: skip

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        if trainer.global_step > self.moved:
            self.moved += 1
            tau = 1 - (1 - 0.9) * (math.cos(math.pi * self.moved / 6) + 1) / 2
            for n, (student, _) in enumerate(self.networks(pl_module)):
                for key, value in student.state_dict().items():
                    old = self.average[f"{n}.{key}"]
                    whole = not value.is_floating_point()
                    self.average[f"{n}.{key}"] = value.double() if whole else tau * old + (1 - tau) * value.double()
        for n, (_, teacher) in enumerate(self.networks(pl_module)):
            for key, value in teacher.state_dict().items():
                torch.testing.assert_close(value.double(), self.average[f"{n}.{key}"], rtol=1e-5, atol=1e-6)


def test_the_teacher_is_the_average_of_the_students_one_move_for_each_step_of_the_optimiser(tmp_path: Path) -> None:
    """Two batches a step: weights, biases and running statistics, and nothing else moves them."""
    model, watch = byol(Normed()), ByHand()
    data = DataLoader([hearts(8, seed) for seed in range(4)], batch_size=None)  # type: ignore[arg-type]
    quiet: Any = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False, "accelerator": "cpu"}
    trainer = Trainer(max_epochs=3, accumulate_grad_batches=2, callbacks=[watch], default_root_dir=tmp_path,
                      enable_checkpointing=False, **quiet)  # fmt: skip
    before = {key: value.clone() for key, value in model.state_dict().items()}
    trainer.fit(model, data)
    assert watch.moved == trainer.global_step == 6
    still = [key for key, value in model.state_dict().items() if "teacher" in key and torch.equal(value, before[key])]
    assert not still, "biases and buffers too"


def test_the_teacher_is_in_the_checkpoint_and_not_in_the_optimiser() -> None:
    model = byol(Normed())
    assert {"teacher_encoder.norm.running_var", "teacher_projector.3.bias"} <= model.state_dict().keys()
    trained = {id(p) for p in model.parameters() if p.requires_grad}
    teachers = [*model.teacher_encoder.parameters(), *model.teacher_projector.parameters()]
    assert teachers and not trained & {id(p) for p in teachers}
    assert momentum_at(0.0, 0.996) == pytest.approx(0.996) and momentum_at(1.0, 0.996) == 1


def test_gradients_are_finite_with_padding_and_a_window_alone_gives_something_sane() -> None:
    model = byol()
    model.loss(padded())["loss"].backward()
    assert not silent(model)
    for mode in (True, False):
        alone = byol().train(mode).loss(Batch(torch.randn(1, 2, 200), torch.arange(1)))
        assert alone["loss"].isfinite() and alone["relative_error"].item() == 1


def test_numbers_that_cannot_be_are_refused_by_name() -> None:
    for momentum in (-0.1, 1.0, float("nan")):
        with pytest.raises(UserError, match=rf"objective\.momentum={momentum} must be"):
            byol(momentum=momentum)
    for key in ("hidden", "projection"):
        with pytest.raises(UserError, match=rf"objective\.{key}=0 must be above 0"):
            byol(**{key: 0})


def test_training_comes_to_tell_windows_apart_without_collapse() -> None:
    model = byol()
    history = train(model, hearts(16), steps=100)
    assert mean(history[-5:], "loss") < 0.7 * mean(history[:5], "loss")
    last = {f"val/{key}": mean(history[-5:], key) for key in ("relative_error", "spread")}
    assert last["val/relative_error"] < 0.7 and last["val/spread"] > 0.3
    assert model.verdict(last).learned
