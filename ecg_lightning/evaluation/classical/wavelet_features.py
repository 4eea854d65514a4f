"""Statistics of the wavelet coefficients of every lead, the classical description of a whole recording."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

WAVELET = "db6"
LOWEST_BAND_HZ = 1.6
"""Upper edge of the coarsest band: 5 levels at 100 Hz, 7 at 500 Hz, so that bands mean the same at every rate."""

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


def wavelet_features(x_BLT: NDArray[np.floating], fs: float) -> NDArray[np.float32]:
    """Energy, entropy, quantiles and moments of each lead's wavelet coefficients, level by level.

    After the wavelet baseline of Strodthoff et al. 2020 (https://arxiv.org/abs/2004.13701).

    Args:
        x_BLT: (B, L, T), any unit; lead offsets do not matter.
        fs: sampling rate in Hz.

    Returns:
        (B, L * (levels + 1) * 12), lead by lead, from the coarsest band to the finest; finite everywhere.
    """
    import pywt

    deepest = pywt.dwt_max_level(x_BLT.shape[-1], WAVELET)
    levels = int(np.clip(round(np.log2(fs / 2 / LOWEST_BAND_HZ)), 0, deepest))
    centred = x_BLT - np.median(x_BLT, axis=-1, keepdims=True)
    bands = pywt.wavedec(centred, WAVELET, level=levels, axis=-1)
    energies = np.stack([np.square(band).sum(axis=-1) for band in bands], axis=-1)
    share = _ratio(energies, energies.sum(axis=-1, keepdims=True))
    statistics = np.stack([_band_statistics(band) for band in bands], axis=2)
    features = np.concatenate([statistics, share[..., None]], axis=-1)
    return features.reshape(len(x_BLT), -1).astype(np.float32)


def _band_statistics(c_BLN: NDArray[np.floating]) -> NDArray[np.floating]:
    """(B, L, N) coefficients of one band -> (B, L, 11)."""
    mean = c_BLN.mean(axis=-1)
    deviation = c_BLN - mean[..., None]
    variance = np.square(deviation).mean(axis=-1)
    power = np.square(c_BLN)
    share = _ratio(power, power.sum(axis=-1, keepdims=True))
    entropy = -(share * np.log(share + 1e-12)).sum(axis=-1)
    kurtosis = _ratio(np.square(np.square(deviation)).mean(axis=-1), np.square(variance))
    crossings = (np.diff(np.signbit(c_BLN), axis=-1)).mean(axis=-1)
    log_energy = np.log(power.mean(axis=-1) + 1e-12)
    moments = np.stack([mean, np.sqrt(variance), kurtosis, entropy, crossings, log_energy], axis=-1)
    return np.concatenate([moments, np.moveaxis(np.quantile(c_BLN, QUANTILES, axis=-1), 0, -1)], axis=-1)


def _ratio(part: NDArray[np.floating], whole: NDArray[np.floating]) -> NDArray[np.floating]:
    """Part / whole, 0 where a lead is flat."""
    tiny = 1e-12
    return np.where(whole > tiny, part / np.maximum(whole, tiny), 0.0)
