"""What an encoder expects of a signal, and the pure functions that bring any recording there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from ecg_lightning.errors import UserError
from ecg_lightning.leads import TWELVE_LEADS, Missing, canonical_lead, select_leads

if TYPE_CHECKING:  # The processes that read recordings import this file and have no use for torch.
    from torch import Tensor

Standardise = Literal["none", "scale", "zscore"]
Fit = Literal["crop", "windows"]

TYPICAL_SPREAD_MV = 0.2
"""About one standard deviation of a resting ECG (PTB-XL, all leads): what `standardise="scale"` divides by."""


@dataclass(frozen=True)
class SignalSpec:
    """The signal an encoder expects; it travels inside `encoder.pt`.

    Attributes:
        fs: sampling rate in Hz.
        leads: names of the leads, in order; `L = len(leads)`.
        samples: length `T` of one window.
        missing: what stands in for a lead that a recording lacks, see `leads.lead_mixtures`.
        band: lowest and highest frequency in Hz that pass, such as (0.5, 40.0); None filters nothing.
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
    band: tuple[float, float] | None = None

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
            ("missing", self.missing, get_args(Missing)),
            ("standardise", self.standardise, get_args(Standardise)),
        ):
            if value not in allowed:
                raise UserError(f"spec.{key}={value!r} is not one of {', '.join(allowed)}")
        if self.band is not None:
            object.__setattr__(self, "band", _checked_band(self.band, self.fs))

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
        return {**asdict(self), "leads": list(self.leads), "band": None if self.band is None else list(self.band)}

    @classmethod
    def from_dict(cls, state: Mapping[str, Any]) -> SignalSpec:
        """The inverse of `to_dict`."""
        return cls(**{**state, "leads": tuple(state["leads"])})


def _checked_band(band: Any, fs: float) -> tuple[float, float]:
    try:
        low, high = map(float, band)
    except (TypeError, ValueError):
        low = high = 0.0
    if not 0 < low < high < fs / 2:
        raise UserError(f"spec.band={band!r} must be two rising frequencies in Hz above 0 and below {fs / 2:g}, half "
                        "of spec.fs, or null")  # fmt: skip
    return low, high


def render(signal_LT: NDArray[np.floating], have: Sequence[str], fs: float, spec: SignalSpec) -> NDArray[np.floating]:
    """Bring a whole recording to the leads, the rate and the band of a spec; windows are cut from the result.

    Training, evaluation and prediction all go this one way.

    Args:
        signal_LT: (len(have), T), mV.
        have: names of its rows, any spelling.
        fs: its rate in Hz.
        spec: what an encoder expects.

    Returns:
        (len(spec.leads), ceil(T * spec.fs / fs)), mV; untouched where leads and rate agree and no band is asked for.

    Raises:
        UserError: none of the recorded leads is one of the standard twelve.
    """
    selected = select_leads(signal_LT, have, spec.leads, spec.missing)
    return bandpass(resample(selected, fs, spec.fs), spec.fs, spec.band)


def bandpass(signal_LT: NDArray[np.floating], fs: float, band: tuple[float, float] | None) -> NDArray[np.floating]:
    """Keep the frequencies of a band, without a shift in time: a Butterworth filter of order 3, forth and back.

    Args:
        signal_LT: (L, T), any unit. Its drift, the straight line nearest to it, is taken out, and its mirror image
            put at both ends: a point reflection there would take the wave it ends on for the baseline.
        fs: its rate in Hz.
        band: lowest and highest frequency in Hz; None leaves the signal as it is.
    """
    if band is None:
        return signal_LT
    from scipy.signal import butter, detrend, sosfiltfilt

    settled = round(2 * fs / band[0])  # two periods of the slowest wave that passes
    sections = butter(3, band, "bandpass", fs=fs, output="sos")
    level = detrend(signal_LT.astype(np.float64))
    filtered: NDArray[np.floating] = sosfiltfilt(
        sections, level, padtype="even", padlen=min(settled, level.shape[1] - 1)
    )
    return np.ascontiguousarray(filtered, signal_LT.dtype)  # scipy's runs backwards in memory, which torch refuses


def window_offsets(length: int, samples: int, fit: Fit) -> NDArray[np.int64]:
    """Where the windows of one recording begin.

    Args:
        length: samples of the recording.
        samples: `T` of a window.
        fit: `crop` takes the middle; `windows` as many as cover the recording, evenly spaced, the first at its
            beginning and the last at its end.

    Returns:
        (K,) first samples; negative where a recording shorter than a window is padded on both sides.
    """
    if fit == "crop" or length <= samples:
        return np.array([(length - samples) // 2])
    count = -(-length // samples)
    return np.rint(np.linspace(0, length - samples, count)).astype(np.int64)


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
