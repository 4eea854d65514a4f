"""What the tests of the objectives that compare views have in common."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor

from ecg_lightning.augment.base import View
from ecg_lightning.augment.crop import RandomResizedCrop
from ecg_lightning.augment.timeout import TimeOut
from ecg_lightning.data.windows import Batch
from ecg_lightning.encoders.vit import ViT
from ecg_lightning.objectives.base import Objective
from ecg_lightning.signal import SignalSpec

SPEC = SignalSpec.of_seconds(100, ("II", "V1"), 2)
adamw = partial(torch.optim.AdamW, lr=1e-3)


def vit(spec: SignalSpec = SPEC) -> ViT:
    torch.manual_seed(0)
    return ViT(spec, dim=16, depth=1, heads=2, patch_seconds=0.2)


def view() -> View:
    return View([RandomResizedCrop((0.5, 1.0)), TimeOut((0.2, 0.4))])


def hearts(count: int, seed: int = 0) -> Batch:
    """Windows that differ in how a wave divides between the leads, which no crop changes."""
    draw = torch.rand(3, count, 1, 1, generator=torch.Generator().manual_seed(seed))
    angle = 2 * torch.pi * torch.arange(count)[:, None, None] / count
    gain = torch.cat([angle.cos(), angle.sin()], dim=1)
    wave = (2 * torch.pi * ((3 + draw[0]) * torch.arange(200) / 100 + draw[1])).sin()
    return Batch(2 * gain * wave.abs(), torch.arange(count))


def padded() -> Batch:
    """Four windows, of which one holds all 200 samples of its recording, and one a single one."""
    valid = torch.arange(200) < torch.tensor([200, 60, 20, 1])[:, None]
    return Batch(torch.randn(4, 2, 200) * valid[:, None], torch.arange(4), valid=valid)


def train(model: Objective, batch: Batch, steps: int, lr: float = 3e-3) -> list[dict[str, float]]:
    """What is logged at each step of a training on one batch."""
    optimizer, history = torch.optim.AdamW(model.parameters(), lr=lr), []
    for step in range(steps):
        torch.manual_seed(step)
        logged = model.loss(batch)
        optimizer.zero_grad()
        logged["loss"].backward()
        optimizer.step()
        model.after_step((step + 1) / steps)
        history.append({key: value.item() for key, value in logged.items()})
    return history


def mean(history: list[dict[str, float]], key: str) -> float:
    return sum(logged[key] for logged in history) / len(history)


def silent(model: Objective) -> list[str]:
    """Trained parameters that a backward pass left without a gradient."""
    trained = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
    assert all(p.grad is None or p.grad.isfinite().all() for _, p in trained)
    return [name for name, p in trained if p.grad is None or not p.grad.any()]


def numbers(*shape: int, seed: int = 0) -> Tensor:
    """Float64 normal random numbers that remember their gradient."""
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)).requires_grad_()
