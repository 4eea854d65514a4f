"""What each of two processes does in `test_two_processes.py`, and one process alone with the windows of both."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

from ecg_lightning import processes
from ecg_lightning.augment.base import View, Windows
from ecg_lightning.data.windows import Batch
from ecg_lightning.encoders.base import Encoder
from ecg_lightning.encoders.norm import BatchNorm
from ecg_lightning.objectives.base import Objective
from ecg_lightning.objectives.byol import BYOL
from ecg_lightning.objectives.cmsc import CMSC
from ecg_lightning.objectives.simclr import SimCLR
from ecg_lightning.objectives.swav import SwAV
from ecg_lightning.objectives.vicreg import VICReg
from ecg_lightning.signal import SignalSpec

SPEC = SignalSpec(100, ("II", "V1"), 40)
NAMES = ("simclr", "byol", "swav", "cmsc", "vicreg")


class Normed(Encoder):
    """A convolution and batch norms, over time and over windows."""

    def __init__(self) -> None:
        super().__init__(SPEC, 6)
        self.convolve = nn.Conv1d(2, 5, 4, stride=4)
        self.norm = BatchNorm(5)
        self.widen = nn.Linear(5, 6)
        self.last = BatchNorm(6)

    def tokens(self, x_BLT: Tensor, valid_BT: Tensor | None = None) -> Tensor:
        h = self.widen(torch.tanh(self.norm(self.convolve(x_BLT))).transpose(1, 2))
        normed: Tensor = self.last(h.transpose(1, 2)).transpose(1, 2)
        return normed


class Turned(View):
    """Views that differ by what they are of, and in nothing that is drawn: later copies of a window are turned on."""

    def __init__(self, count: int) -> None:
        super().__init__([])
        self.count = count

    def forward(self, x_BLT: Tensor, valid_BT: Tensor | None = None) -> Windows:
        copies = x_BLT.chunk(self.count)
        return torch.cat([x.roll(3 * n, 2) * (1 + n / 5) for n, x in enumerate(copies)]), valid_BT


def objective(name: str) -> Objective:
    torch.manual_seed(3)
    base: dict[str, Any] = {"optimizer": partial(torch.optim.SGD, lr=0.1)}
    views: dict[str, Any] = {"augment": Turned(2), "hidden": 7, "projection": 4, **base}
    small: dict[str, Any] = {"small_augment": Turned(3), "small_views": 3, "small_length": 0.5}
    made = {
        "simclr": lambda: SimCLR(Normed(), temperature=0.5, **views),
        "byol": lambda: BYOL(Normed(), momentum=0.9, **views),
        "swav": lambda: SwAV(Normed(), prototypes=5, temperature=0.1, epsilon=0.05, **small, **views),
        "cmsc": lambda: CMSC(Normed(), positives="segments", projection=4, temperature=0.1, **base),
        "vicreg": lambda: VICReg(Normed(), **views),
    }
    return made[name]().double().train()


def windows() -> Batch:
    """Eight windows; patients lie on both sides of the middle, and one window has nothing in its second half."""
    x = torch.randn(8, 2, 40, dtype=torch.float64, generator=torch.Generator().manual_seed(5))
    valid = torch.ones(8, 40, dtype=torch.bool)
    valid[6, 18:] = False
    patient = torch.tensor([7, 1, 2, 3, 2, 7, 7, 4])
    return Batch(x * valid[:, None], torch.arange(8), valid=valid, patient=patient)


def part(batch: Batch, rank: int) -> Batch:
    """The windows of one of two processes."""
    return Batch(*(None if each is None else each.chunk(2)[rank] for each in batch))


class Step(nn.Module):
    """An objective as DDP wants it, which makes gradients known by its `forward`."""

    def __init__(self, objective: Objective) -> None:
        super().__init__()
        self.objective = objective
        self.losses: dict[str, Tensor] = {}

    def forward(self, batch: Batch) -> Tensor:
        self.losses = self.objective.loss(batch)
        return self.losses["loss"]


def measure(name: str, batch: Batch) -> dict[str, dict[str, Tensor]]:
    """Losses, gradients and state of an objective after one batch; under DDP where there are processes."""
    step = Step(objective(name))
    wrapped = DistributedDataParallel(step) if processes.count() > 1 else step
    wrapped(batch).backward()
    gradients = {key: value.grad for key, value in step.objective.named_parameters() if value.requires_grad}
    losses = {key: value.detach() for key, value in step.losses.items()}
    return {"loss": losses, "gradient": gradients, "state": step.objective.state_dict()}  # type: ignore[dict-item]


def gathered(rank: int) -> dict[str, Tensor]:
    """What `gather` gives each process, also of whole numbers and flags, and the gradient of a loss of its own."""
    x = (torch.arange(6, dtype=torch.float64).view(2, 3) + 10 * rank).requires_grad_()
    rows = processes.gather(x)
    (rows * (rank + 1) * torch.arange(12).view(4, 3)).sum().backward()
    assert x.grad is not None
    patient = processes.gather(torch.tensor([2**62 + rank, 5]))
    return {"rows": rows.detach(), "gradient": x.grad, "patient": patient,
            "flag": processes.gather(torch.tensor([rank == 0, True]))}  # fmt: skip


def work(rank: int, folder: Path) -> None:
    """All that a process measures, into a file."""
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", init_method=f"file://{folder / 'meeting'}", rank=rank, world_size=2)
    found: dict[str, Any] = {name: measure(name, part(windows(), rank)) for name in NAMES}
    torch.save(found | {"gathered": gathered(rank)}, folder / f"{rank}.pt")
    distributed.destroy_process_group()
