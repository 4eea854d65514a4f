"""Powerline noise: the hum of the mains."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ecg_lightning.augment.added_noise import AddedNoise
from ecg_lightning.augment.base import Drawn
from ecg_lightning.errors import UserError
from ecg_lightning.signal import SignalSpec


class Powerline(AddedNoise):
    """Adds a hum with its overtones, of one phase, that the leads share but for a gain between -1 and 1.

    After Friesen et al. (1990). A hum at or above half the sampling rate would be another frequency: 50 Hz sampled at
    100 Hz is a zigzag and a constant. It is refused, and overtones there are left out.

    Args:
        cap: see `AddedNoise`; a tone's amplitude lies between 0 and the level. .2 in Mehari and Strodthoff (2022).
        hz: frequencies of the mains, one of which is drawn for each window: 50 Hz in most of the world, 60 Hz in
            America.
        overtones: how many tones besides, at whole multiples.
        p: see `Augmentation`.

    Raises:
        UserError: no frequency is given, or one is not above 0, or the overtones are fewer than none.
    """

    def __init__(
        self, cap: float = 0.2, hz: tuple[float, ...] = (50.0, 60.0), overtones: int = 2, p: float = 1.0
    ) -> None:
        super().__init__(cap, p)
        if not hz or min(hz) <= 0:
            raise UserError(f"augment Powerline: hz={list(hz)} must be frequencies above 0, such as [50, 60]")
        if overtones < 0:
            raise UserError(f"augment Powerline: overtones={overtones} must be at least 0")
        self.hz, self.tones = tuple(hz), 1 + overtones

    def prepare(self, spec: SignalSpec) -> None:
        """See `Augmentation.prepare`.

        Raises:
            UserError: the rate is too low for the mains.
        """
        super().prepare(spec)
        if spec.fs <= 2 * max(self.hz):
            raise UserError(
                f"augment Powerline: {max(self.hz):g} Hz cannot be sampled at data.spec.fs={spec.fs:g} Hz; raise the "
                f"rate above {2 * max(self.hz):g} Hz (data.spec.fs=250), or take a view without Powerline"
            )

    def draw_shape(self, x_BLT: Tensor) -> Drawn:
        """`hz` (B,), `amplitude` (B, K) in [0, 1) of each tone, `phase` (B,) in radians, `gain` (B, L)."""
        B, device = len(x_BLT), x_BLT.device
        return {
            "hz": torch.tensor(self.hz, device=device)[torch.randint(len(self.hz), (B,), device=device)],
            "amplitude": torch.rand(B, self.tones, device=device),
            "phase": 2 * math.pi * torch.rand(B, device=device),
            "gain": 2 * torch.rand(x_BLT.shape[:2], device=device) - 1,
        }

    def noise(self, drawn: Drawn, samples: int) -> Tensor:
        """See `AddedNoise`."""
        hz_BK = drawn["hz"][:, None] * torch.arange(1, self.tones + 1, device=drawn["hz"].device)
        amplitude_BK = drawn["amplitude"] * (hz_BK < self.spec.fs / 2)
        t_T = torch.arange(samples, device=hz_BK.device) / self.spec.fs
        waves_BKT = torch.cos(2 * math.pi * hz_BK[..., None] * t_T + drawn["phase"][:, None, None])
        hum_B1T = amplitude_BK[:, None] @ waves_BKT
        return drawn["gain"][:, :, None] * hum_B1T
