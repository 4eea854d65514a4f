"""What the objectives share that compare views of windows."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from torch import Tensor, nn

from ecg_lightning.augment.base import View
from ecg_lightning.data.windows import Batch
from ecg_lightning.encoders.base import Encoder
from ecg_lightning.encoders.norm import BatchNorm
from ecg_lightning.objectives.base import Objective


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
