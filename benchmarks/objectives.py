"""What the framework costs a training step, and what CPC's one matrix product saves.

Every objective is trained by its defaults on synthetic 12-lead recordings: by `train.py`'s Trainer with its logging,
and by a loop of plain torch around the same model. They take turns, and the fastest steps of both are compared: what
else a machine does only adds to a step. An objective that computes nothing shows what the framework costs by itself,
which a noisy machine does not hide. CPC's loss is compared with a loop over time at its published settings.

    python benchmarks/objectives.py [objective ...]
"""

from __future__ import annotations

import logging
import sys
import warnings
from collections.abc import Callable, Mapping
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any

import torch
from hydra import compose, initialize_config_dir
from lightning import Callback
from omegaconf import DictConfig
from torch import Tensor
from torch.nn import functional as F

from ecg_lightning.build import (
    build_encoder,
    build_loggers,
    build_objective,
    build_optimizer,
    build_trainer,
    build_training_data,
)
from ecg_lightning.data.synthetic.write import write_dataset
from ecg_lightning.data.unlabelled import UnlabelledData
from ecg_lightning.data.windows import Batch, to_signal
from ecg_lightning.encoders.base import CausalEncoder
from ecg_lightning.objectives.base import Objective, Verdict, parameter_groups
from ecg_lightning.objectives.cpc import CPC
from ecg_lightning.provenance import commit, device
from ecg_lightning.signal import SignalSpec

CONF = Path(__file__).resolve().parent.parent / "conf"
TURNS, STEPS, WARM = 3, 16, 6
"""Turns of each, steps of a turn, and those of them that are not timed."""


class Clock(Callback):
    """When each step of a training begins."""

    def __init__(self) -> None:
        self.begins: list[float] = []

    def on_train_batch_start(self, *args: Any) -> None:
        """A step begins."""
        self.begins.append(perf_counter())


def steps(begins: list[float]) -> list[float]:
    """Seconds of each step but the first ones."""
    return [after - before for before, after in pairwise(begins[WARM:])]


def by_trainer(config: DictConfig, data: UnlabelledData, objective: Objective, scratch: Path) -> list[float]:
    """Seconds of each step in the Trainer."""
    clock = Clock()
    trainer = build_trainer(config.trainer, scratch, [clock], build_loggers(config.logger, scratch, {}))
    with redirect_stdout(StringIO()), redirect_stderr(StringIO()):
        trainer.fit(objective, datamodule=data)
    return steps(clock.begins)


def by_hand(config: DictConfig, data: UnlabelledData, objective: Objective) -> list[float]:
    """Seconds of each step in a loop of plain torch."""
    optimizer = build_optimizer(config.optimizer)(parameter_groups(objective))
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1.0)
    begins = []
    for step, raw in zip(range(STEPS), data.train_dataloader(), strict=False):
        begins.append(perf_counter())
        loss = objective.loss(to_signal(raw, data.spec))["loss"]
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(objective.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        objective.after_step(step / STEPS)
    return steps(begins)


class Idle(Objective):
    """Computes next to nothing and logs as much as others do."""

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """See `Objective.loss`."""
        still = sum(weight.sum() for weight in self.encoder.parameters()) * 0.0
        return {"loss": still, "accuracy": still.detach(), "chance": still.detach()}

    def verdict(self, metrics: Mapping[str, float]) -> Verdict:
        """See `Objective.verdict`."""
        return Verdict(False, "It was idle.")


def compare(name: str, config: DictConfig, data: UnlabelledData, objective: Objective, scratch: Path) -> None:
    """Print a row."""
    hand, trainer = [], []
    for turn in range(TURNS):
        hand += by_hand(config, data, objective)
        trainer += by_trainer(config, data, objective, scratch / name / str(turn))
    row = f"| {1e3 * min(hand):.1f} ms | {1e3 * min(trainer):.1f} ms | {min(trainer) / min(hand):.2f} |"
    print(f"| {name}, {type(objective.encoder).__name__} {row}", flush=True)


def framework(scratch: Path, names: list[str]) -> None:
    write_dataset(scratch / "data", records=200, holter=0, holter_minutes=1.0, workers=0)
    print(f"`python benchmarks/objectives.py`, commit {commit()}, {device()}\n")
    print("| objective, encoder | plain torch | Trainer | ratio |\n|---|---|---|---|")
    for name in names:
        where = [f"data.root={scratch}/data/ptbxl", f"cache_dir={scratch}/cache", "data=synthetic"]
        limits = ["trainer.max_epochs=1", f"+trainer.limit_train_batches={STEPS}", "+trainer.limit_val_batches=0"]
        with initialize_config_dir(str(CONF), version_base="1.3"):
            config = compose("train", [f"objective={name}", *where, *limits, f"run_dir={scratch}"])
        data = build_training_data(config)
        encoder = build_encoder(config.encoder, data.spec)
        objective = build_objective(config.objective, encoder, build_optimizer(config.optimizer), data)
        compare(name, config, data, objective, scratch)
    compare("none", config, data, Idle(encoder, build_optimizer(config.optimizer)), scratch)


BATCH, TOKENS, WIDTH, AHEAD, NEGATIVES = 32, 1000, 512, 12, 128
"""Of Mehari and Strodthoff (2022)."""


class Given(CausalEncoder):
    """Tokens that are there already: what is timed is the loss alone."""

    stride = 1

    def __init__(self, local_BNE: Tensor, context_BND: Tensor) -> None:
        super().__init__(SignalSpec(100, ("II",), TOKENS), WIDTH)
        self.local_dim, self.given = WIDTH, (local_BNE, context_BND)

    def local(self, x_BLT: Tensor, valid_BT: Tensor | None = None) -> Tensor:
        """See `CausalEncoder.local`."""
        return self.given[0]

    def context(self, z_BNE: Tensor, valid_BN: Tensor | None = None) -> Tensor:
        """See `CausalEncoder.context`."""
        return self.given[1]


def cpc_in_a_loop(objective: CPC, local_BNE: Tensor, context_BND: Tensor, negatives_BRK: Tensor) -> Tensor:
    """The loss as it is published, one position after the other; its negatives are drawn beforehand."""
    guess_BRE = objective.predict(context_BND[:, :-AHEAD])
    rows, first = torch.arange(BATCH)[:, None], torch.zeros(BATCH, dtype=torch.int64)
    loss = guess_BRE.new_zeros(())
    for t in range(TOKENS - AHEAD):
        candidates = torch.cat([local_BNE[:, t + AHEAD, None], local_BNE[rows, negatives_BRK[:, t]]], dim=1)
        scores = (candidates @ guess_BRE[:, t, :, None])[..., 0]
        loss = loss + F.cross_entropy(scores, first)
    return loss / (TOKENS - AHEAD)


def seconds_of(loss: Callable[[], Tensor]) -> float:
    """A loss and its gradient."""
    begin = perf_counter()
    loss().backward()
    return perf_counter() - begin


def cpc() -> None:
    torch.manual_seed(0)
    local, context = (torch.randn(BATCH, TOKENS, WIDTH, requires_grad=True) for _ in range(2))
    negatives = torch.randint(TOKENS, (BATCH, TOKENS - AHEAD, NEGATIVES))
    objective = CPC(Given(local, context), [AHEAD], NEGATIVES, optimizer=torch.optim.AdamW)
    batch = Batch(torch.zeros(BATCH, 1, TOKENS), torch.arange(BATCH))
    seconds_of(lambda: objective.loss(batch)["loss"])
    ours = min(seconds_of(lambda: objective.loss(batch)["loss"]) for _ in range(TURNS))
    loop = seconds_of(lambda: cpc_in_a_loop(objective, local, context, negatives))
    print(f"\n| CPC, {BATCH} x {TOKENS} tokens of {WIDTH}, {NEGATIVES} negatives, loss and gradient | |\n|---|---|")
    print(f"| loop over time | {loop:.1f} s |\n| one matrix product | {ours:.2f} s, {loop / ours:.0f} x as fast |")


def main() -> None:
    logging.disable(logging.WARNING)
    warnings.simplefilter("ignore")
    with TemporaryDirectory() as scratch:
        framework(Path(scratch), sys.argv[1:] or sorted(path.stem for path in (CONF / "objective").glob("*.yaml")))
    if not sys.argv[1:]:
        cpc()


if __name__ == "__main__":
    main()
