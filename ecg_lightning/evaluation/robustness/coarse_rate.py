"""A slower recorder: signals brought down to a lower rate, and back to the one that the encoder reads."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ecg_lightning.augment.base import Windows, extent
from ecg_lightning.errors import UserError
from ecg_lightning.evaluation.condition import CLEAN, Condition
from ecg_lightning.evaluation.robustness.base import SignalStress
from ecg_lightning.signal import SignalSpec


class CoarseRate(SignalStress):
    """Signals as a recorder of a lower rate would have given them; levels of the encoder's rate or above are clean."""

    axis = "sampling rate (Hz)"

    def conditions(self, spec: SignalSpec) -> Mapping[float, Condition]:
        """See `SignalStress.conditions`."""
        if not min(self.levels) > 0:
            raise UserError(f"robustness.levels={list(self.levels)} must be rates in Hz above 0")
        if not min(self.levels) < spec.fs:
            raise UserError(f"robustness={self.name}: no rate of {list(self.levels)} Hz is below the encoder's, "
                            f"{spec.fs:g} Hz; lower robustness.levels")  # fmt: skip
        rates = sorted(self.levels, reverse=True)
        return {rate: CLEAN if rate >= spec.fs else Condition(f"recorded at {rate:g} Hz", Coarse(rate, spec))
                for rate in rates}  # fmt: skip


class Coarse(nn.Module):
    """Down to a rate and up again, each time by the filter of `signal.resample`, on the device of the signals.

    Args:
        rate: the lower rate, Hz.
        spec: of the signals.
    """

    taps: Tensor

    def __init__(self, rate: float, spec: SignalSpec) -> None:
        super().__init__()
        self.ratio = Fraction(rate / spec.fs).limit_denominator(1000)
        # The filter of scipy.signal.resample_poly, whose band ends at half of the lower rate.
        from scipy.signal import firwin

        widest = max(self.ratio.numerator, self.ratio.denominator)
        taps = firwin(20 * widest + 1, 1 / widest, window=("kaiser", 5.0))
        self.register_buffer("taps", torch.from_numpy(taps).float(), persistent=False)

    def forward(self, x_BLT: Tensor, valid_BT: Tensor | None = None) -> Windows:
        """(B, L, T) to the same, and which samples lie inside; what lies outside is no part of a recording."""
        line_BLT = _line(x_BLT, valid_BT)
        level_BLT = x_BLT - line_BLT if valid_BT is None else (x_BLT - line_BLT) * valid_BT[:, None]
        up, down = self.ratio.numerator, self.ratio.denominator
        coarse_BLT = self._resample(self._resample(level_BLT, up, down), down, up)[..., : x_BLT.shape[-1]] + line_BLT
        return coarse_BLT if valid_BT is None else coarse_BLT * valid_BT[:, None], valid_BT

    def _resample(self, x_BLT: Tensor, up: int, down: int) -> Tensor:
        """(B, L, T) to (B, L, ceil(T * up / down)): zeros between the samples, a filter, and every `down`-th kept."""
        B, L, T = x_BLT.shape
        spread = F.pad(x_BLT[..., None], (0, up - 1)).reshape(B * L, 1, T * up)
        kept = F.conv1d(spread, up * self.taps[None, None], stride=down, padding=len(self.taps) // 2)
        return kept.reshape(B, L, -1)


def _line(x_BLT: Tensor, valid_BT: Tensor | None) -> Tensor:
    """(B, L, T) the straight line through each recording's ends, of which no edge then rings."""
    begin_B, length_B = extent(x_BLT, valid_BT)
    last_B = (length_B - 1).clamp(min=0)
    first_BL1, end_BL1 = (x_BLT.take_along_dim(at[:, None, None], dim=2) for at in (begin_B, begin_B + last_B))
    t_BT = (torch.arange(x_BLT.shape[-1], device=x_BLT.device) - begin_B[:, None]) / last_B.clamp(min=1)[:, None]
    return first_BL1 + (end_BL1 - first_BL1) * t_BT[:, None]
