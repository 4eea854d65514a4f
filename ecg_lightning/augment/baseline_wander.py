"""Baseline wander: the slow drift that breathing and movement give an ECG."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ecg_lightning.augment.added_noise import AddedNoise, signed_gain
from ecg_lightning.augment.base import Drawn
from ecg_lightning.errors import UserError

STEP_HZ = 0.01
"""Between one wave and the next."""


class BaselineWander(AddedNoise):
    """Adds a sum of slow waves, at 0.01, 0.02, ... Hz, that the leads share but for a gain and a sign.

    After Lenis et al. (2017): the n waves have random phases, and amplitudes between 0 and the level, so that the
    wander's standard deviation is about level * sqrt(n / 6), three times the level for 50 waves.

    Args:
        cap: see `AddedNoise`; .1 in Mehari and Strodthoff (2022).
        highest: frequency of the fastest wave, Hz.
        p: see `Augmentation`.

    Raises:
        UserError: the highest frequency is below 0.01 Hz.
    """

    def __init__(self, cap: float = 0.1, highest: float = 0.5, p: float = 1.0) -> None:
        super().__init__(cap, p)
        if highest < STEP_HZ:
            raise UserError(f"augment BaselineWander: highest={highest} Hz must be at least {STEP_HZ}")
        self.waves = round(highest / STEP_HZ)

    def draw_shape(self, x_BLT: Tensor) -> Drawn:
        """`amplitude` (B, K) in [0, 1), `phase` (B, K) in radians, `gain` (B, L)."""
        amplitude, phase = torch.rand(2, len(x_BLT), self.waves, device=x_BLT.device)
        return {"amplitude": amplitude, "phase": 2 * math.pi * phase, "gain": signed_gain(x_BLT)}

    def noise(self, drawn: Drawn, samples: int) -> Tensor:
        """See `AddedNoise`."""
        amplitude, phase = drawn["amplitude"], drawn["phase"]
        t_T = torch.arange(samples, device=phase.device) / self.spec.fs
        turn_KT = 2 * math.pi * STEP_HZ * torch.arange(1, self.waves + 1, device=phase.device)[:, None] * t_T
        # cos(turn + phase) by the addition theorem: two small products of matrices instead of B * K * T cosines.
        wander_BT = (amplitude * phase.cos()) @ turn_KT.cos() - (amplitude * phase.sin()) @ turn_KT.sin()
        return drawn["gain"][:, :, None] * wander_BT[:, None]
