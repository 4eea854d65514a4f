"""Baseline shift: an electrode's potential jumps and comes back."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ecg_lightning.augment.added_noise import AddedNoise, signed_gain
from ecg_lightning.augment.base import Drawn

PER_SECOND = 0.3
SECONDS, SPREAD = 3.0, 0.6


class BaselineShift(AddedNoise):
    """Lifts or lowers stretches of about 3 s, at most 0.3 of them a second, which the leads share but for a gain.

    After Friesen et al. (1990); where stretches overlap they add up.

    Args:
        cap: see `AddedNoise`; a shift's height lies between minus and plus the level, times its lead's gain. 1 in
            Mehari and Strodthoff (2022).
        p: see `Augmentation`.
    """

    def __init__(self, cap: float = 1.0, p: float = 1.0) -> None:
        super().__init__(cap, p)

    def draw_shape(self, x_BLT: Tensor) -> Drawn:
        """`height` (B, K), 0 for the shifts that a window lacks, `centre` and `seconds` (B, K) in s, `gain` (B, L)."""
        B, _, T = x_BLT.shape
        most = math.ceil(PER_SECOND * T / self.spec.fs)
        count = torch.randint(most + 1, (B, 1), device=x_BLT.device)
        height, place = torch.rand(2, B, most, device=x_BLT.device)
        there = torch.arange(most, device=x_BLT.device) < count
        return {
            "height": (2 * height - 1) * there,
            "centre": place * T / self.spec.fs,
            "seconds": SECONDS + SPREAD * torch.randn(B, most, device=x_BLT.device),
            "gain": signed_gain(x_BLT),
        }

    def noise(self, drawn: Drawn, samples: int) -> Tensor:
        """See `AddedNoise`."""
        t_T = torch.arange(samples, device=drawn["centre"].device) / self.spec.fs
        during_BKT = (t_T - drawn["centre"][..., None]).abs() <= drawn["seconds"][..., None] / 2
        shift_BT = (drawn["height"][..., None] * during_BKT).sum(dim=1)
        return drawn["gain"][:, :, None] * shift_BT[:, None]
