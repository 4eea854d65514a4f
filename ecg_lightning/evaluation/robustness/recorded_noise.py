"""Noise as electrodes recorded it, at one signal-to-noise ratio after the other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import Literal

from ecg_lightning.augment.recorded import Kind, RecordedNoise
from ecg_lightning.evaluation.condition import Condition
from ecg_lightning.evaluation.robustness.base import SignalStress
from ecg_lightning.signal import SignalSpec


class NoiseStress(SignalStress):
    """The noise stress test (Moody et al. 1984): recorded noise, mixed into every window at a stated ratio.

    A window meets the same stretch of noise at every level, only louder. See `augment.recorded.RecordedNoise`.

    Args:
        name: see `Stress`.
        root: the folder of the database's files.
        kinds: of noise, of which each window gets one.
        levels: signal-to-noise ratios in dB; 24 to -6 are the published steps.
        applies_to: see `SignalStress`.
    """

    axis = "signal-to-noise ratio (dB)"

    def __init__(
        self,
        name: str,
        root: str | Path,
        kinds: Sequence[Kind],
        levels: Sequence[float],
        applies_to: Literal["test", "both"] = "test",
    ) -> None:
        super().__init__(name, sorted(levels, reverse=True), applies_to)
        self.root, self.kinds = root, kinds

    def conditions(self, spec: SignalSpec) -> Mapping[float, Condition]:
        """See `SignalStress.conditions`."""
        found = {}
        for level in self.levels:
            noise = RecordedNoise(self.root, (level, level), self.kinds)
            noise.prepare(spec)
            recorded = blake2b(noise.noise.numpy().tobytes(), digest_size=8).hexdigest()
            found[level] = Condition(f"noise {recorded} of {len(self.kinds)} kinds at {level:g} dB", noise)
        return found
