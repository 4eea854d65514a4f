"""Lead-wise scaling: electrodes of different contact."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ecg_lightning.augment.base import Augmentation, Drawn, Windows
from ecg_lightning.errors import UserError


class LeadScaling(Augmentation):
    """Multiplies each lead by a factor of its own.

    Args:
        factor: smallest and largest one, drawn evenly on a logarithmic scale; .5 to 2 in Mehari and Strodthoff (2022).
        p: see `Augmentation`.

    Raises:
        UserError: the factors are none.
    """

    def __init__(self, factor: tuple[float, float] = (0.5, 2.0), p: float = 1.0) -> None:
        super().__init__(p)
        if not 0 < factor[0] <= factor[1]:
            raise UserError(f"augment LeadScaling: factor={list(factor)} must be two rising numbers above 0")
        self.factor = factor

    def draw(self, x_BLT: Tensor, valid_BT: Tensor | None = None) -> Drawn:
        """`factor` (B, L)."""
        low, high = map(math.log, self.factor)
        return {"factor": torch.exp(low + (high - low) * torch.rand(x_BLT.shape[:2], device=x_BLT.device))}

    def change(self, x_BLT: Tensor, drawn: Drawn, valid_BT: Tensor | None = None) -> Windows:
        """See `Augmentation.change`."""
        return x_BLT * drawn["factor"][:, :, None], valid_BT
