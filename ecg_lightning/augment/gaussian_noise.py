"""Gaussian noise: the simplest disturbance, white and of one level."""

from __future__ import annotations

import torch
from torch import Tensor

from ecg_lightning.augment.base import Augmentation, Drawn, Windows
from ecg_lightning.errors import UserError


class GaussianNoise(Augmentation):
    """Adds white noise of a fixed level to every lead.

    Args:
        scale: its standard deviation, in what the encoder reads; .005 in Mehari and Strodthoff (2022), next to nothing.
        p: see `Augmentation`.

    Raises:
        UserError: the scale is not above 0.
    """

    def __init__(self, scale: float = 0.005, p: float = 1.0) -> None:
        super().__init__(p)
        if not scale > 0:
            raise UserError(f"augment GaussianNoise: scale={scale} must be above 0")
        self.scale = scale

    def draw(self, x_BLT: Tensor, valid_BT: Tensor | None = None) -> Drawn:
        """`noise` (B, L, T) of standard deviation 1."""
        return {"noise": torch.randn_like(x_BLT)}

    def change(self, x_BLT: Tensor, drawn: Drawn, valid_BT: Tensor | None = None) -> Windows:
        """See `Augmentation.change`."""
        noise = self.scale * drawn["noise"]
        return x_BLT + (noise if valid_BT is None else noise * valid_BT[:, None]), valid_BT
