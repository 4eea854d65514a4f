"""The published levels of physiological noise: how hard a view is, or how far a model is put to the test."""

from __future__ import annotations

from ecg_lightning.augment.base import Augmentation, View
from ecg_lightning.augment.baseline_shift import BaselineShift
from ecg_lightning.augment.baseline_wander import BaselineWander
from ecg_lightning.augment.emg import EMG
from ecg_lightning.augment.powerline import Powerline
from ecg_lightning.errors import UserError

LEVELS = (
    (0.05, 0.25, 0.1, 0.5),
    (0.1, 0.5, 0.2, 1.0),
    (0.1, 1.0, 0.2, 2.0),
    (0.2, 1.0, 0.4, 2.0),
    (0.2, 1.5, 0.4, 2.5),
    (0.3, 2.0, 0.5, 3.0),
)
"""Caps of baseline wander, EMG, powerline and baseline shift, from level 1 up (Mehari and Strodthoff 2022)."""


def published_level(level: int, powerline: bool = True) -> View:
    """Baseline wander, EMG, powerline and baseline shift at one of the six published levels.

    Args:
        level: 1 to 6; 2 is what the authors pretrained with.
        powerline: whether the mains' hum is among them; it cannot be at rates of 120 Hz and less.

    Raises:
        UserError: there is no such level.
    """
    if level not in range(1, len(LEVELS) + 1):
        raise UserError(f"noise level={level} is not one of 1 to {len(LEVELS)}")
    wander, emg, hum, shift = LEVELS[level - 1]
    steps: list[Augmentation] = [BaselineWander(wander), EMG(emg), Powerline(hum), BaselineShift(shift)]
    return View([step for step in steps if powerline or not isinstance(step, Powerline)])
