"""Networks that learn from labelled windows, and how they are trained."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
import torch
from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import TQDMProgressBar
from torch import Tensor, nn
from torch.optim import AdamW, Optimizer
from torch.optim.lr_scheduler import OneCycleLR
from torch.utils.data import DataLoader, Dataset

from ecg_lightning.data.module import SHORTEST_EPOCH, ECGDataModule
from ecg_lightning.data.windows import Batch, Batches, Draw, RawBatch, to_signal
from ecg_lightning.encoders.base import Encoder
from ecg_lightning.evaluation.cell import Cell
from ecg_lightning.evaluation.condition import CLEAN
from ecg_lightning.quiet import quieten
from ecg_lightning.readout import Head, classification_loss, classification_probability, read_out


class Rate(NamedTuple):
    """Parameters and their peak learning rate."""

    parameters: Sequence[nn.Parameter]
    peak: float


class Course(NamedTuple):
    """One cycle of AdamW.

    Attributes:
        rates: of all that is trained.
        steps: optimiser steps.
        batch_size: labelled windows a step, at most.
        weight_decay: of AdamW.
    """

    rates: Sequence[Rate]
    steps: int
    batch_size: int
    weight_decay: float


class Network(LightningModule):
    """Says of windows which classes they are; an author writes `forward`.

    Args:
        data: says how windows become signals.
        multi_label: whether an example may carry several labels.
    """

    def __init__(self, data: ECGDataModule, multi_label: bool) -> None:
        super().__init__()
        self.data, self.multi_label = data, multi_label
        self.condition = CLEAN
        self.course: Course | None = None
        self.last_loss = float("nan")

    @abstractmethod
    def forward(self, batch: Batch) -> Tensor:
        """(B, C) logits."""

    def probability(self, batch: Batch) -> Tensor:
        """(B, C); see `classification_probability`."""
        return classification_probability(self(batch).float(), self.multi_label)

    def learn(self, cell: Cell, course: Course) -> None:
        """Train on the labels of a cell, its signals in the cell's condition.

        Args:
            cell: its model seed says in which order; what else is random comes from torch's global generator.
            course: what is trained, and how.
        """
        self.course, self.condition = course, cell.condition
        quieten()
        trainer = Trainer(
            max_steps=course.steps,
            max_epochs=-1,
            accelerator="auto",
            devices=1,
            logger=False,
            callbacks=[TQDMProgressBar()],
            enable_checkpointing=False,
            enable_model_summary=False,
            gradient_clip_val=1.0,
            default_root_dir=Path(cell.cache_dir),
        )
        self.train()
        trainer.fit(self, _labelled_loader(cell, course.batch_size))

    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        """Steps to standardised float32, on the device."""
        del dataloader_idx
        return to_signal(batch, self.data.spec, self.condition)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Cross-entropy on the labelled windows."""
        del batch_idx
        assert batch.y is not None
        loss = classification_loss(self(batch), batch.y)
        self.last_loss = float(loss.detach())
        return loss

    def configure_optimizers(self) -> Any:
        """See `Course`."""
        assert self.course is not None
        rates, steps, _, weight_decay = self.course
        groups = [{"params": rate.parameters, "lr": rate.peak} for rate in rates]
        optimizer: Optimizer = AdamW(groups, weight_decay=weight_decay)
        schedule = OneCycleLR(optimizer, max_lr=[rate.peak for rate in rates], total_steps=steps)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


class Classifier(Network):
    """An encoder with a linear head on what it reads out.

    Args:
        encoder: trained along unless it is frozen.
        data: also says which classes there are.
        beats: whether examples are beats within their windows.
        multi_label: see `Network`.
    """

    def __init__(self, encoder: Encoder, data: ECGDataModule, beats: bool, multi_label: bool) -> None:
        super().__init__(data, multi_label)
        self.frozen = False
        self.encoder = encoder
        self.head = Head(encoder, beats, len(data.classes))

    def keep_encoder(self, frozen: bool) -> None:
        """Leave the encoder as it is from now on, or no longer."""
        self.frozen = frozen
        self.encoder.requires_grad_(not frozen)

    def train(self, mode: bool = True) -> Self:
        """As of any module, but that a frozen encoder also keeps the statistics of its norms."""
        super().train(mode)
        if self.frozen:
            self.encoder.eval()
        return self

    def forward(self, batch: Batch) -> Tensor:
        """See `Network.forward`."""
        logits: Tensor = self.head(read_out(self.encoder, batch))
        return logits


class _Budget(Dataset[RawBatch]):
    """The labelled windows of a budget; their labels come out of the seal."""

    def __init__(self, cell: Cell) -> None:
        self.cell = cell
        self.windows = cell.data.windows(cell.train.examples)

    def __getitem__(self, draw: Draw) -> RawBatch:
        index = self.cell.budget[draw.which]
        raw = self.windows[Draw(index, draw.slide)]
        y = torch.from_numpy(self.cell.labels[index].astype(np.int64))
        return raw._replace(y=y.float() if y.ndim == 2 else y)


def _labelled_loader(cell: Cell, batch_size: int) -> DataLoader[RawBatch]:
    batches = Batches(len(cell.budget), batch_size, shuffle=True, seed=cell.model_seed, at_least=SHORTEST_EPOCH)
    return DataLoader(_Budget(cell), batch_size=None, sampler=batches)
