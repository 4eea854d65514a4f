"""Fine-tuning an encoder, or training it from scratch, on the labels of a budget."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
import torch
from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import TQDMProgressBar
from torch import Tensor
from torch.optim import AdamW, Optimizer
from torch.optim.lr_scheduler import OneCycleLR
from torch.utils.data import DataLoader, Dataset

from ecg_lightning.data.module import SHORTEST_EPOCH, ECGDataModule
from ecg_lightning.data.windows import Batch, Batches, Draw, RawBatch, to_signal
from ecg_lightning.encoders.base import Encoder
from ecg_lightning.errors import UserError
from ecg_lightning.evaluation.cell import Cell, Part, Probability
from ecg_lightning.evaluation.condition import CLEAN
from ecg_lightning.readout import Head, classification_loss, read_out

Init = Literal["pretrained", "random"]


class FineTune:
    """Encoder and a linear head, trained together through the Trainer for a fixed number of steps.

    Nothing is chosen by looking at labels, so that the budget covers all there is: no early stop, no validation.

    Args:
        init: the encoder's weights at the start: `pretrained`, or `random` to train from scratch.
        steps: optimiser steps.
        batch_size: labelled windows a step, at most.
        lr: peak learning rate of the head.
        encoder_lr: peak learning rate of the encoder.
        weight_decay: of AdamW.

    Raises:
        UserError: a number is out of range.
    """

    def __init__(
        self, init: Init, steps: int, batch_size: int, lr: float, encoder_lr: float, weight_decay: float
    ) -> None:
        for key, value, least in (("steps", steps, 1), ("batch_size", batch_size, 1), ("lr", lr, 0),
                                  ("encoder_lr", encoder_lr, 0), ("weight_decay", weight_decay, 0)):  # fmt: skip
            if value < least:
                raise UserError(f"protocol.method.{key}={value} must be {least} or more")
        self.init = init
        self.steps = steps
        self.batch_size = batch_size
        self.rates = (lr, encoder_lr, weight_decay)

    def fit(self, cell: Cell) -> FineTuned:
        """See `EvaluationProtocol`."""
        with torch.random.fork_rng():
            torch.manual_seed(cell.model_seed)
            encoder = _copy(cell) if self.init == "pretrained" else cell.checkpoint.fresh()
            model = Classifier(
                encoder,
                cell.data,
                cell.train.examples.span is not None,
                cell.labels[cell.budget].ndim == 2,
                self.steps,
                *self.rates,
            )
            trainer = Trainer(
                max_steps=self.steps,
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
            model.condition = cell.condition
            trainer.fit(model, _labelled_loader(cell, self.batch_size))
        return FineTuned(model, trainer, {"steps": self.steps, "train_loss": model.last_loss})


@dataclass(frozen=True)
class FineTuned:
    """See `Fitted`.

    Attributes:
        model: encoder and head.
        trainer: that trained them.
        details: see `Fitted`.
    """

    model: Classifier
    trainer: Trainer
    details: Mapping[str, Any]

    def predict(self, part: Part) -> Probability:
        """See `Fitted`."""
        self.model.condition = part.condition
        with part.condition.drawing():
            windows = part.data.loader(part.data.windows(part.examples), shuffle=False)
            outputs = self.trainer.predict(self.model, windows)
        return torch.cat(cast(list[Tensor], outputs)).double().numpy()


class Classifier(LightningModule):
    """An encoder with a linear head on what it reads out.

    Args:
        encoder: trained along.
        data: says how windows become signals and which classes there are.
        beats: whether examples are beats within their windows.
        multi_label: whether an example may carry several labels.
        steps: of the one-cycle schedule.
        lr: see `FineTune`.
        encoder_lr: see `FineTune`.
        weight_decay: see `FineTune`.
    """

    def __init__(
        self,
        encoder: Encoder,
        data: ECGDataModule,
        beats: bool,
        multi_label: bool,
        steps: int,
        lr: float,
        encoder_lr: float,
        weight_decay: float,
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.head = Head(encoder, beats, len(data.classes))
        self.data = data
        self.multi_label = multi_label
        self.steps, self.lr, self.encoder_lr, self.weight_decay = steps, lr, encoder_lr, weight_decay
        self.last_loss = float("nan")
        self.condition = CLEAN

    def forward(self, batch: Batch) -> Tensor:
        """(B, C) logits."""
        logits: Tensor = self.head(read_out(self.encoder, batch))
        return logits

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

    def predict_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """(B, C) probabilities."""
        del batch_idx
        logits: Tensor = self(batch).float()
        return (logits.sigmoid() if self.multi_label else logits.softmax(dim=-1)).cpu()

    def configure_optimizers(self) -> Any:
        """AdamW with a smaller rate for the encoder, one cycle."""
        rates = [self.encoder_lr, self.lr]
        groups = [
            {"params": self.encoder.parameters(), "lr": rates[0]},
            {"params": self.head.parameters(), "lr": rates[1]},
        ]
        optimizer: Optimizer = AdamW(groups, weight_decay=self.weight_decay)
        schedule = OneCycleLR(optimizer, max_lr=rates, total_steps=self.steps)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


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


def _copy(cell: Cell) -> Encoder:
    from copy import deepcopy

    return deepcopy(cell.checkpoint.encoder).train()
