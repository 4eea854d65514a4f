"""What all noise shares that is added to a recording."""

from __future__ import annotations

from abc import abstractmethod

import torch
from torch import Tensor

from ecg_lightning.augment.base import Augmentation, Drawn, Windows
from ecg_lightning.errors import UserError


class AddedNoise(Augmentation):
    """Base of noise that is added; an author writes `draw_shape` and `noise`.

    Args:
        cap: the highest level, in what the encoder reads: 1 is about one standard deviation of an ECG, .2 mV. Each
            window's level is drawn evenly between 0 and the cap.
        p: see `Augmentation`.

    Raises:
        UserError: the cap is not above 0.
    """

    def __init__(self, cap: float, p: float = 1.0) -> None:
        super().__init__(p)
        if not cap > 0:
            raise UserError(f"augment {type(self).__name__}: cap={cap} must be above 0")
        self.cap = cap

    @abstractmethod
    def draw_shape(self, x_BLT: Tensor) -> Drawn:
        """Random numbers that say what the noise of each window looks like."""

    @abstractmethod
    def noise(self, drawn: Drawn, samples: int) -> Tensor:
        """(B, L, samples) noise of level 1."""

    def draw(self, x_BLT: Tensor, valid_BT: Tensor | None = None) -> Drawn:
        """`level` (B,), and what `draw_shape` adds."""
        return {"level": self.cap * torch.rand(len(x_BLT), device=x_BLT.device)} | self.draw_shape(x_BLT)

    def change(self, x_BLT: Tensor, drawn: Drawn, valid_BT: Tensor | None = None) -> Windows:
        """See `Augmentation.change`."""
        noise = drawn["level"][:, None, None] * self.noise(drawn, x_BLT.shape[-1])
        return x_BLT + (noise if valid_BT is None else noise * valid_BT[:, None]), valid_BT


def signed_gain(x_BLT: Tensor) -> Tensor:
    """(B, L) how strongly each lead sees what all see: a sign of its own times a normal number about 1."""
    sign = 2 * torch.randint(2, x_BLT.shape[:2], device=x_BLT.device) - 1
    return sign * (1 + torch.randn(x_BLT.shape[:2], device=x_BLT.device))
