"""What every self-supervised objective shares: steps, logging, optimiser, schedule, reproducible randomness."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable, Iterable, Mapping
from typing import Any, ClassVar, NamedTuple

import torch
from lightning import LightningModule
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from ecg_lightning import processes
from ecg_lightning.data.windows import Batch
from ecg_lightning.encoders.base import Encoder
from ecg_lightning.errors import UserError

PROCESSES = "processes"
"""Key of their number in a checkpoint."""

OptimizerFactory = Callable[[Iterable[dict[str, Any]]], Optimizer]


class Verdict(NamedTuple):
    """Whether a run learned something, and the sentence that says so."""

    learned: bool
    sentence: str


class Objective(LightningModule):
    """Base of all objectives.

    An objective's author writes `loss` and `verdict`. Each training step draws its random numbers from a seed of its
    own, so that a run resumed at any checkpoint repeats exactly what an uninterrupted one does. An objective with a
    teacher moves it in `after_step`.

    Args:
        encoder: the encoder to train; all that is kept at the end.
        optimizer: makes the optimiser from parameter groups.
        warmup: share of all steps over which the learning rate rises linearly; then it falls as a cosine to 0.
        seed: of masks, views, negatives.

    Raises:
        UserError: the warm-up is no share.
    """

    needs_labels: ClassVar[bool] = False
    """Whether it learns from labelled examples; it is then given `data`, the training examples it learns from."""

    monitor: ClassVar[str] = "val/loss"
    """What is lowest in the epoch whose encoder is kept; another figure where the loss has no fixed meaning."""

    def __init__(self, encoder: Encoder, optimizer: OptimizerFactory, warmup: float = 0.1, seed: int = 0) -> None:
        super().__init__()
        if not 0 <= warmup <= 1:
            raise UserError(f"objective.warmup={warmup} must lie between 0 and 1: it is a share of all steps")
        self.encoder = encoder
        self.optimizer = optimizer
        self.warmup = warmup
        self.seed = seed

    @abstractmethod
    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """The objective on one batch.

        Args:
            batch: standardised windows, `x` (B, L, T), of which the objective makes its own views; `valid` (B, T)
                says which samples lie inside their recording, None where all do.

        Returns:
            Scalars to log; `"loss"` is the one to minimise.
        """

    @abstractmethod
    def verdict(self, metrics: Mapping[str, float]) -> Verdict:
        """Judge a run by its last validation.

        Args:
            metrics: what `loss` returned, averaged over the validation windows, as `val/NAME`.
        """

    def after_step(self, progress: float) -> None:
        """Called once after each step of the optimiser, however many batches it took; for those with a teacher.

        Args:
            progress: share of all steps that are done.
        """

    @property
    def exported(self) -> Encoder:
        """The encoder to keep; the teacher's where that is the better one."""
        return self.encoder

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """One batch."""
        del batch_idx
        number = self.trainer.fit_loop.epoch_loop.total_batch_idx * processes.count() + processes.rank()
        torch.manual_seed(self.seed * 1_000_003 + number)
        losses = self.loss(batch)
        self.log_dict({f"train/{key}": value.detach() for key, value in losses.items()}, batch_size=len(batch.x))
        self.log("loss", losses["loss"].detach(), prog_bar=True, logger=False, batch_size=len(batch.x))
        return losses["loss"]

    def on_validation_epoch_start(self) -> None:
        """Nothing is measured yet."""
        self._measured: list[tuple[int, dict[str, Tensor]]] = []

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """One batch of fixed windows, with the same random numbers every time, on however many processes they lie."""
        if not len(batch.x):
            return
        number = batch_idx * processes.count() + processes.rank()
        devices = [self.device] if self.device.type == "cuda" else []
        with torch.random.fork_rng(devices), processes.apart():
            torch.manual_seed(number)
            self._measured.append((len(batch.x), self.loss(batch)))

    def on_validation_epoch_end(self) -> None:
        """Log the means over all windows of all processes."""
        own = [(windows, {key: float(value) for key, value in losses.items()}) for windows, losses in self._measured]
        every = [batch for part in processes.collect(own) for batch in part]
        total = sum(windows for windows, _ in every)
        for key in every[0][1]:
            mean = math.fsum(windows * losses[key] for windows, losses in every) / total
            self.log(f"val/{key}", torch.tensor(mean, dtype=torch.float64))
            if key == "loss":
                self.log("val", mean, prog_bar=True, logger=False)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Note how many processes train together: batches and random numbers depend on it."""
        checkpoint[PROCESSES] = processes.count()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Go on with as many processes.

        Raises:
            UserError: there are more or fewer.
        """
        before, now = checkpoint.get(PROCESSES, 1), processes.count()
        if before != now:
            raise UserError(f"this run was begun by {before} processes and cannot be continued by {now}; start as many "
                            "(trainer.devices, trainer.num_nodes), or choose another run_dir")  # fmt: skip

    def optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        """A step, and what follows it."""
        super().optimizer_step(*args, **kwargs)
        self.after_step((self.global_step + 1) / max(1, int(self.trainer.estimated_stepping_batches)))

    def configure_optimizers(self) -> Any:
        """Warm-up and cosine over all the steps there will be."""
        optimizer = self.optimizer(parameter_groups(self))
        total = int(self.trainer.estimated_stepping_batches)
        schedule = LambdaLR(optimizer, warmup_cosine(total, round(self.warmup * total)))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def parameter_groups(module: nn.Module) -> list[dict[str, Any]]:
    """Matrices with weight decay; without it biases, norms, single tokens (at most one dimension) and `undecayed`.

    A module names in `undecayed` its parameters that are no matrices although they have several dimensions.
    """
    named = {id(getattr(part, name)) for part in module.modules() for name in getattr(part, "undecayed", ())}
    trained = [parameter for parameter in module.parameters() if parameter.requires_grad]
    decays = [p.squeeze().ndim > 1 and id(p) not in named for p in trained]
    return [
        {"params": [p for p, decay in zip(trained, decays, strict=True) if decay]},
        {"params": [p for p, decay in zip(trained, decays, strict=True) if not decay], "weight_decay": 0.0},
    ]


def warmup_cosine(total: int, warmup: int) -> Callable[[int], float]:
    """The learning rate's factor at each step: linear to 1 over `warmup` steps, then half a cosine to 0 at `total`."""

    def factor(step: int) -> float:
        if step < warmup:
            return (step + 1) / (warmup + 1)
        progress = (step - warmup) / max(1, total - warmup)
        return 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))

    return factor
