"""Muscle noise: what tense or shivering muscles add to an ECG."""

from __future__ import annotations

import torch
from torch import Tensor

from ecg_lightning.augment.added_noise import AddedNoise
from ecg_lightning.augment.base import Drawn


class EMG(AddedNoise):
    """Adds white noise to every lead, each window at a level of its own.

    The electromyogram is broad, some 20 to 500 Hz: up to half of an ECG's rate it is as good as white, and so
    Friesen et al. (1990) model it.

    Args:
        cap: see `AddedNoise`; the level is the noise's standard deviation. .5 in Mehari and Strodthoff (2022).
        p: see `Augmentation`.
    """

    def __init__(self, cap: float = 0.5, p: float = 1.0) -> None:
        super().__init__(cap, p)

    def draw_shape(self, x_BLT: Tensor) -> Drawn:
        """`noise` (B, L, T) of standard deviation 1."""
        return {"noise": torch.randn_like(x_BLT)}

    def noise(self, drawn: Drawn, samples: int) -> Tensor:
        """See `AddedNoise`."""
        return drawn["noise"]
