"""Time warp: time runs faster here and slower there."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ecg_lightning.augment.base import Augmentation, Drawn, Windows, extent, sample_at
from ecg_lightning.errors import UserError


class TimeWarp(Augmentation):
    """Smoothly speeds time up or slows it down at several places of the recording, whose ends stay where they are.

    The dynamic time warp of Mehari and Strodthoff (2022) squeezes three stretches to a half and stretches what is
    around them; here the speed swells and ebbs as a raised cosine, so that waves keep their smoothness.

    Args:
        warps: how many places.
        radius: s from the middle of a place, where the speed is its own, to where it is the common one again.
        speed: the highest factor of the speed in a place; the lowest is its inverse, and the logarithm is drawn evenly.
        p: see `Augmentation`.

    Raises:
        UserError: there is no place, no radius, or the speed is not above 1.
    """

    def __init__(self, warps: int = 3, radius: float = 0.3, speed: float = 2.0, p: float = 1.0) -> None:
        super().__init__(p)
        if warps < 1 or not radius > 0 or not speed > 1:
            raise UserError(f"augment TimeWarp: warps={warps} must be at least 1, radius={radius} s above 0 and "
                            f"speed={speed} above 1")  # fmt: skip
        self.warps, self.radius, self.speed = warps, radius, speed

    def draw(self, x_BLT: Tensor, valid_BT: Tensor | None = None) -> Drawn:
        """`place` (B, K) of the middles as shares of the recording; `pace` (B, K), the logarithm of the speed."""
        place, pace = torch.rand(2, len(x_BLT), self.warps, device=x_BLT.device)
        return {"place": place, "pace": math.log(self.speed) * (2 * pace - 1)}

    def change(self, x_BLT: Tensor, drawn: Drawn, valid_BT: Tensor | None = None) -> Windows:
        """See `Augmentation.change`."""
        begin, length = (part[:, None] for part in extent(x_BLT, valid_BT))
        last = length - 1
        t_BT = torch.arange(x_BLT.shape[-1], device=x_BLT.device) - begin
        away_BKT = (t_BT[:, None] - (drawn["place"] * last)[..., None]) / (self.radius * self.spec.fs)
        swell_BKT = (1 + torch.cos(math.pi * away_BKT.clamp(-1, 1))) / 2
        speed_BT = torch.exp((drawn["pace"][..., None] * swell_BKT).sum(dim=1)) * ((t_BT >= 0) & (t_BT < last))
        passed_BT = speed_BT.cumsum(dim=1)
        whole = passed_BT[:, -1:].clamp(min=torch.finfo(speed_BT.dtype).tiny)  # 0 for a recording of one sample
        warped = sample_at(x_BLT, begin + last * (passed_BT - speed_BT) / whole)
        return (warped, None) if valid_BT is None else (warped * valid_BT[:, None], valid_BT)
