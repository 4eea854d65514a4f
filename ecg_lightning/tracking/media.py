"""Pictures for every logger that takes them, and W&B's charts of a training."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import Logger, TensorBoardLogger, WandbLogger
from torch import Tensor, nn

from ecg_lightning.objectives.base import Objective
from ecg_lightning.tracking.wandb_run import runs

STEP = "trainer/global_step"
"""What Lightning lays beside every figure."""

BEST = {"val/probe_auroc": "max", "val/knn_auroc": "max", "val/effective_rank": "max", "val/loss": "min"}
"""Of which end of a curve a run's summary tells."""

BARS, VALUES = 64, 2**20
"""Of a histogram; of more values than these every so-manieth is counted."""


def show(loggers: Sequence[Logger], name: str, path: Path, step: int) -> None:
    """Hand a picture to the loggers.

    Args:
        loggers: of the trainer, in its first process.
        name: of the picture, the same at every step.
        path: a PNG file.
        step: of the training.
    """
    for logger in loggers:
        if isinstance(logger, WandbLogger):
            logger.log_image(name, [str(path)], step)
        elif isinstance(logger, TensorBoardLogger):
            from matplotlib.image import imread

            logger.experiment.add_image(name, imread(path), step, dataformats="HWC")


class Charts(Callback):
    """Says how W&B draws a training's figures, and adds histograms of features and weights at each validation.

    Args:
        features: gives (N, D) of the validation windows, as the encoder embedded them last; None where it has not.
    """

    def __init__(self, features: Callable[[], Tensor | None]) -> None:
        self.features = features

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Everything over the steps; of what has a best value, that one in the summary."""
        assert isinstance(pl_module, Objective)
        for run in runs(trainer.loggers):
            run.define_metric(STEP)
            for name in ("train/*", "val/*"):
                run.define_metric(name, step_metric=STEP)
            for name, end in {**BEST, pl_module.monitor: "min"}.items():
                run.define_metric(name, step_metric=STEP, summary=end)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """A histogram of the features, and one for each part of the encoder."""
        assert isinstance(pl_module, Objective)
        if trainer.sanity_checking:
            return
        for run in runs(trainer.loggers):
            import wandb

            values = {**_weights(pl_module.exported), "features": self.features()}
            counted = {name: _counted(each) for name, each in values.items() if each is not None}
            bars = {f"histograms/{name}": wandb.Histogram(np_histogram=each) for name, each in counted.items() if each}
            run.log({**bars, STEP: trainer.global_step})


def _weights(encoder: nn.Module) -> dict[str, Tensor]:
    """All weights of each part of an encoder."""
    parts: dict[str, list[Tensor]] = {}
    for name, parameter in encoder.named_parameters():
        parts.setdefault(name.partition(".")[0], []).append(parameter.detach().flatten())
    return {f"weights/{name}": torch.cat(of) for name, of in parts.items()}


def _counted(values: Tensor) -> tuple[Any, Any] | None:
    """Counts and edges of a histogram; None of nothing that is finite."""
    flat = values.detach().flatten()
    few = flat[:: max(1, len(flat) // VALUES)].float().cpu().numpy()
    few = few[np.isfinite(few)]
    return np.histogram(few, BARS) if len(few) else None


def pictures(folder: Path) -> Iterator[tuple[str, Path]]:
    """Name and file of every picture in a folder, of each the one for white paper."""
    yield from ((path.stem, path) for path in sorted(folder.glob("*.png")) if not path.stem.endswith("-dark"))
