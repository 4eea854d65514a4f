"""The published levels of synthetic noise, put upon a model instead of upon its views."""

from __future__ import annotations

from collections.abc import Mapping

from ecg_lightning.augment.levels import published_level
from ecg_lightning.evaluation.condition import CLEAN, Condition
from ecg_lightning.evaluation.robustness.base import SignalStress
from ecg_lightning.signal import SignalSpec

SLOWEST_MAINS = 120.0
"""Hz; at this rate and below the mains' hum cannot be sampled and is left out."""


class PublishedNoise(SignalStress):
    """Baseline wander, muscle noise, powerline and baseline shift at levels 1 to 6 (Mehari and Strodthoff 2022).

    Level 0 is the clean signal. Each window's noise is drawn evenly up to the level's caps, see `augment.levels`.
    """

    axis = "level of synthetic noise"

    def conditions(self, spec: SignalSpec) -> Mapping[float, Condition]:
        """See `SignalStress.conditions`."""
        found = {}
        for level in sorted(self.levels):
            if level == 0:
                found[level] = CLEAN
                continue
            # A level that is no whole number is refused there.
            noise = published_level(level, powerline=spec.fs > SLOWEST_MAINS)  # type: ignore[arg-type]
            noise.prepare(spec)
            found[level] = Condition(f"synthetic noise, level {level}", noise)
        return found
