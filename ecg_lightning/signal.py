"""What an encoder expects of a signal, and the pure functions that bring any recording there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from fractions import Fraction
from functools import cache
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from ecg_lightning.errors import UserError

if TYPE_CHECKING:  # The processes that read recordings import this file and have no use for torch.
    from torch import Tensor

Missing = Literal["replicate", "zero", "mean"]
Standardise = Literal["none", "scale", "zscore"]

TWELVE_LEADS = ("I", "II", "III", "aVR", "aVL", "aVF", "V1", "V2", "V3", "V4", "V5", "V6")

# Names under which recorders store a lead of the standard twelve. The modified limb lead II of Holter recorders
# is electrically close to II and is read as such.
ALIASES = {"MLI": "I", "MLII": "II", "MLIII": "III", "ML2": "II"}

# What stands in for a missing lead: the frontal leads by the angle between their axes, the precordial ones by
# distance along the chest, then the other plane. Signs are kept as recorded.
_FRONTAL = {"I": 0.0, "II": 60.0, "III": 120.0, "aVR": 30.0, "aVL": -30.0, "aVF": 90.0}
_PRECORDIAL = {f"V{i}": float(i) for i in range(1, 7)}

TYPICAL_SPREAD_MV = 0.2
"""About one standard deviation of a resting ECG (PTB-XL, all leads): what `standardise="scale"` divides by."""


@dataclass(frozen=True)
class SignalSpec:
    """The signal an encoder expects; it travels inside `encoder.pt`.

    Attributes:
        fs: sampling rate in Hz.
        leads: names of the leads, in order; `L = len(leads)`.
        samples: length `T` of one window.
        missing: what stands in for a lead that a recording lacks.
        standardise: `none` leaves mV; `scale` removes each lead's mean and divides by 0.2 mV, so that voltage
            criteria survive; `zscore` gives each lead of each window mean 0 and standard deviation 1.

    Raises:
        UserError: a value is out of range, or a lead is unknown or named twice.
    """

    fs: float
    leads: tuple[str, ...]
    samples: int
    missing: Missing = "replicate"
    standardise: Standardise = "scale"

    def __post_init__(self) -> None:
        object.__setattr__(self, "leads", tuple(canonical_lead(lead) for lead in self.leads))
        object.__setattr__(self, "fs", float(self.fs))
        if not self.fs > 0:
            raise UserError(f"spec.fs={self.fs} must be a positive rate in Hz")
        if self.samples < 1:
            raise UserError(f"spec.samples={self.samples} must be at least 1")
        unknown = [lead for lead in self.leads if lead not in TWELVE_LEADS]
        if unknown or not self.leads:
            raise UserError(
                f"spec.leads: unknown lead {unknown or '(none given)'}; known are {', '.join(TWELVE_LEADS)}"
            )
        if len(set(self.leads)) != len(self.leads):
            raise UserError(f"spec.leads={list(self.leads)} names a lead twice")
        for key, value, allowed in (
            ("missing", self.missing, ("replicate", "zero", "mean")),
            ("standardise", self.standardise, ("none", "scale", "zscore")),
        ):
            if value not in allowed:
                raise UserError(f"spec.{key}={value!r} is not one of {', '.join(allowed)}")

    @classmethod
    def of_seconds(cls, fs: float, leads: Sequence[str], seconds: float, **rest: Any) -> SignalSpec:
        """The spec of windows of `seconds`; how the configuration states one."""
        return cls(fs=fs, leads=tuple(leads), samples=round(seconds * fs), **rest)

    @property
    def seconds(self) -> float:
        """Length of one window in seconds."""
        return self.samples / self.fs

    def to_dict(self) -> dict[str, Any]:
        """Plain containers only, fit for `encoder.pt` and JSON."""
        return {**asdict(self), "leads": list(self.leads)}

    @classmethod
    def from_dict(cls, state: Mapping[str, Any]) -> SignalSpec:
        """The inverse of `to_dict`."""
        return cls(**{**state, "leads": tuple(state["leads"])})


@cache
def canonical_lead(name: str) -> str:
    """The standard spelling of a lead's name: `MLII` and `ii` are `II`, `AVR` is `aVR`; others come back unchanged."""
    plain = name.strip()
    upper = ALIASES.get(plain.upper(), plain.upper())
    return next((lead for lead in TWELVE_LEADS if lead.upper() == upper), plain)


def lead_sources(have: Sequence[str], want: Sequence[str], missing: Missing) -> dict[str, str]:
    """Which recorded lead serves each wanted lead.

    Args:
        have: names of the recorded leads, any spelling.
        want: canonical names of the wanted leads.
        missing: the rule for leads that are not recorded.

    Returns:
        For each wanted lead the canonical name of its source, `"zero"` or `"mean"`.

    Raises:
        UserError: none of the recorded leads is one of the standard twelve.
    """
    recorded = [canonical_lead(name) for name in have]
    known = [lead for lead in recorded if lead in TWELVE_LEADS]
    if not known:
        raise UserError(f"no standard lead among {list(have)}; name the leads I, II, ..., V6 (MLII is read as II)")
    rule = {"replicate": lambda lead: min(known, key=lambda other: _distance(lead, other))}
    return {lead: lead if lead in known else rule.get(missing, lambda _: missing)(lead) for lead in want}


def _distance(lead: str, other: str) -> float:
    """How far two leads look at the heart from one another; across the two planes always further than within one."""
    if lead in _FRONTAL and other in _FRONTAL:
        return abs(_FRONTAL[lead] - _FRONTAL[other])
    if lead in _PRECORDIAL and other in _PRECORDIAL:
        return abs(_PRECORDIAL[lead] - _PRECORDIAL[other])
    return 1000.0 + TWELVE_LEADS.index(other)


def select_leads(
    signal_LT: NDArray[np.floating], have: Sequence[str], want: Sequence[str], missing: Missing
) -> NDArray[np.floating]:
    """Arrange the recorded leads as wanted.

    Args:
        signal_LT: (len(have), T), mV.
        have: names of its rows.
        want: canonical names of the rows to return.
        missing: the rule for leads that are not recorded.

    Returns:
        (len(want), T), mV.
    """
    sources = lead_sources(have, want, missing)
    rows = {canonical_lead(name): signal_LT[i] for i, name in reversed(list(enumerate(have)))}
    rows["zero"] = np.zeros_like(signal_LT[0])
    if "mean" in sources.values():
        rows["mean"] = np.mean([rows[lead] for lead in TWELVE_LEADS if lead in rows], axis=0, dtype=signal_LT.dtype)
    return np.stack([rows[sources[lead]] for lead in want])


def resample(signal_LT: NDArray[np.floating], fs_from: float, fs_to: float) -> NDArray[np.floating]:
    """Change the sampling rate by polyphase filtering with anti-aliasing (`scipy.signal.resample_poly`).

    Args:
        signal_LT: (L, T), any unit; a straight line through its ends is taken out before filtering, so that
            neither offset nor drift rings at the edges.
        fs_from: its rate in Hz.
        fs_to: the wanted rate in Hz.

    Returns:
        (L, ceil(T * fs_to / fs_from)); the very same array where the rates agree.
    """
    if fs_from == fs_to:
        return signal_LT
    from scipy.signal import resample_poly

    ratio = Fraction(fs_to / fs_from).limit_denominator(1000)
    resampled: NDArray[np.floating] = resample_poly(
        signal_LT, ratio.numerator, ratio.denominator, axis=-1, padtype="line"
    )
    return resampled


def standardise(x_BLT: Tensor, how: Standardise, valid_BT: Tensor | None = None) -> Tensor:
    """Standardise windows as the spec says.

    Args:
        x_BLT: (B, L, T) float32, mV, 0 outside the recording.
        how: see `SignalSpec`.
        valid_BT: (B, T) bool, the samples inside the recording; None where all are. The others do not enter the
            statistics and stay 0.

    Returns:
        (B, L, T) float32; a flat lead becomes 0.
    """
    if how == "none":
        return x_BLT
    if valid_BT is None:
        x_BLT = x_BLT - x_BLT.mean(dim=-1, keepdim=True)
        variance = x_BLT.square().mean(dim=-1, keepdim=True)
    else:
        inside = valid_BT[:, None, :]
        count = inside.sum(dim=-1, keepdim=True).clamp(min=1)
        x_BLT = (x_BLT - (x_BLT * inside).sum(dim=-1, keepdim=True) / count) * inside
        variance = x_BLT.square().sum(dim=-1, keepdim=True) / count
    if how == "scale":
        return x_BLT / TYPICAL_SPREAD_MV
    return x_BLT / (variance + 1e-6).sqrt()
