"""What the objectives share that compare views of windows."""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ecg_lightning import processes
from ecg_lightning.augment.base import View
from ecg_lightning.data.windows import Batch
from ecg_lightning.encoders.base import Encoder
from ecg_lightning.encoders.norm import BatchNorm
from ecg_lightning.errors import UserError
from ecg_lightning.objectives.base import Objective, Verdict

NOTHING_LEARNED = 0.97
"""Relative error from which a view counts as saying nothing of its partner; not to know which it is scores 1."""

COLLAPSED = 0.1
"""Spread below which all windows are as good as one; 0 is one point, 1 every direction alike."""


class ViewObjective(Objective):
    """Base of the objectives that compare views of windows.

    Args:
        encoder: any.
        augment: makes a view of each window of a batch, another one each time.
        base: see `Objective`.

    Raises:
        UserError: an augmentation cannot be, at this rate or with these leads.
    """

    def __init__(self, encoder: Encoder, augment: View, **base: Any) -> None:
        super().__init__(encoder, **base)
        augment.prepare(encoder.spec)
        self.augment = augment

    def view(self, batch: Batch) -> Batch:
        """One view of each window."""
        x_BLT, valid_BT = self.augment(batch.x, batch.valid)
        return batch._replace(x=x_BLT, valid=valid_BT)

    def views(self, batch: Batch, count: int = 2) -> Batch:
        """`count` views of each window in one batch: the first of all windows, then the second of all."""
        return self.view(repeat(batch, count))


def repeat(batch: Batch, count: int) -> Batch:
    """A batch `count` times over, one behind the other."""
    return Batch(*(None if part is None else torch.cat([part] * count) for part in batch))  # type: ignore[arg-type]


def projector(*sizes: int) -> nn.Sequential:
    """Linear layers of these sizes, (B, sizes[0]) to (B, sizes[-1]), BatchNorm and ReLU between them."""
    layers: list[nn.Module] = []
    for wide, narrow in pairwise(sizes[:-1]):
        layers += [nn.Linear(wide, narrow, bias=False), BatchNorm(narrow), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(sizes[-2], sizes[-1]))


def features(encoder: Encoder, batch: Batch) -> Tensor:
    """(B, D) of the windows of a batch."""
    out: Tensor = encoder(batch.x, batch.valid)
    return out


def full(x: Tensor) -> Tensor:
    """At least float32."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def cosine_similarity(a_AD: Tensor, b_BD: Tensor) -> Tensor:
    """(A, B) of each row with each, at full precision also under autocast: what is to be told apart lies close."""
    with torch.autocast(a_AD.device.type, enabled=False):
        return F.normalize(full(a_AD), dim=1) @ F.normalize(full(b_BD), dim=1).T


def check_positive(**numbers: float) -> None:
    """Refuse numbers of an objective that are not above 0.

    Raises:
        UserError: one is not; the message names its key.
    """
    for key, number in numbers.items():
        if not number > 0:
            raise UserError(f"objective.{key}={number} must be above 0")


def check_company(objective: Objective, batch: Batch) -> None:
    """Refuse to train on a batch in which a window is alone; a last window alone in validation costs nothing.

    Raises:
        UserError: it is.
    """
    if objective.training and processes.count() * len(batch.x) < 2:
        name = type(objective).__name__.lower()
        raise UserError(f"objective={name} sets the windows of a batch against one another, and this batch has one; "
                        "raise data.batch_size, or give it more recordings")  # fmt: skip


# --- what is logged, and how a run is judged by it --------------------------------------------------------------


@torch.no_grad()
def spread(z_BD: Tensor) -> Tensor:
    """How far the directions of vectors spread: 0 where all are one, 1 where every direction is alike."""
    D = z_BD.shape[1]
    return F.normalize(z_BD.float(), dim=1).std(dim=0, correction=0).mean() * math.sqrt(D)


@torch.no_grad()
def relative_error(prediction_BD: Tensor, target_BD: Tensor) -> Tensor:
    """Squared distance of predictions to their own targets, as a share of that to the targets of other windows.

    1 where a prediction says nothing of which target is its own, or where there are no others.
    """
    prediction_BD, target_BD = prediction_BD.float(), target_BD.float()
    B = len(prediction_BD)
    own = (prediction_BD - target_BD).square().sum(dim=1).mean()
    between = (prediction_BD.mean(dim=0) - target_BD.mean(dim=0)).square().sum()
    within = sum(part.var(dim=0, correction=0).sum() for part in (prediction_BD, target_BD))
    others = (B * (between + within) - own) / max(B - 1, 1)  # the mean over all pairs, less each with its own
    return torch.where(others > 0, own / others.clamp(min=1e-12), 1.0)


def judge_matching(metrics: Mapping[str, float]) -> Verdict:
    """A verdict on how often a view's partner is found among all views, `val/accuracy`, against `val/chance`."""
    accuracy, chance = metrics["val/accuracy"], metrics["val/chance"]
    scale = f"it finds the partner of {accuracy:.1%} of the views, and guessing finds {chance:.1%}"
    if accuracy > min(2 * chance, (1 + chance) / 2):
        return Verdict(True, f"The encoder learned to tell windows apart: {scale}.")
    return Verdict(False, f"This run has learned nothing: {scale}. Train longer, or change objective.temperature or "
                          "optimizer.lr.")  # fmt: skip


def judge_agreement(metrics: Mapping[str, float]) -> Verdict:
    """A verdict without negatives: views must agree, `val/relative_error`, and windows differ, `val/spread`."""
    error, width = metrics["val/relative_error"], metrics["val/spread"]
    scale = f"views of one window lie at {error:.3f} of the distance of different windows, with a spread of {width:.2f}"
    if error < NOTHING_LEARNED and width > COLLAPSED:
        return Verdict(True, f"The encoder learned what views of a window share: {scale}.")
    if width > COLLAPSED:
        return Verdict(False, f"This run has learned nothing: {scale}. Train longer, or change optimizer.lr.")
    return Verdict(False, f"This run has collapsed, all windows are one to it: {scale}. Lower optimizer.lr.")
