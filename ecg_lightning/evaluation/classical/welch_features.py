"""Power spectra by Welch's method, the classical description of a signal by its frequencies alone."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ecg_lightning.evaluation.cell import Part
from ecg_lightning.evaluation.classical.signals import around_peaks, whole_windows

SEGMENT_S = 2.0
"""Length of a segment in seconds: rows of the spectrum lie 0.5 Hz apart, and 9 segments of 10 s are averaged."""

HIGHEST_HZ = 45.0
"""Below the mains, and what every rate of 90 Hz or more holds."""

FLOOR = 1e-8
"""Of the density, in mV^2/Hz: that of rounding to 1 uV is about 2e-9 at 100 Hz."""

FEATURES_VERSION = 1
"""Part of the cache's key: raise it when the features change."""


def welch_features(x_BLT: NDArray[np.floating], fs: float) -> NDArray[np.float32]:
    """Logarithm of each lead's power spectral density, from above 0 Hz to `HIGHEST_HZ` (Welch 1967).

    Hann segments of `SEGMENT_S` that overlap by half, each without its mean, averaged. A shorter signal is one segment:
    frequencies lie `fs / T` apart, 1.33 Hz for the 0.75 s of a beat.

    Args:
        x_BLT: (B, L, T), mV.
        fs: sampling rate in Hz.

    Returns:
        (B, L * frequencies), lead by lead, log10 of mV^2/Hz; finite everywhere.
    """
    from scipy.signal import welch

    segment = min(round(SEGMENT_S * fs), x_BLT.shape[-1])
    hz, density = welch(x_BLT, fs, nperseg=segment)
    kept = density[..., (hz > 0) & (hz <= HIGHEST_HZ)]
    features: NDArray[np.float32] = np.log10(kept + FLOOR).reshape(len(x_BLT), -1).astype(np.float32)
    return features


class Welch:
    """Spectra of whole windows; of beats, those of the stretch around the R peak, without the rhythm around it."""

    key = f"welch{FEATURES_VERSION}"

    def describe(self, train: Part, part: Part) -> Sequence[NDArray[np.float32]]:
        """See `FeatureSource`; no other example enters a row."""
        del train
        in_recordings = part.examples.span is not None and part.examples.rr is not None
        signals = [around_peaks(part)] if in_recordings else whole_windows(part)
        return [np.concatenate([welch_features(x_BLT, part.data.store.fs) for x_BLT in signals])]
