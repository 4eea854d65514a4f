"""Where the beats of a recording are, and what its typical beat looks like: the ground that intervals stand on."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

QRS_BAND_HZ = (5.0, 20.0)
REFRACTORY_S = 0.25


class RPeaks(NamedTuple):
    """R peaks of B recordings in one flat list of K, recording by recording and in order of time.

    Attributes:
        row: (K,), the recording.
        sample: (K,), the sample in it.
    """

    row: NDArray[np.intp]
    sample: NDArray[np.intp]


class Ragged(NamedTuple):
    """A different number of values for every recording.

    Attributes:
        values: (B, K, ...), K >= 1, padded with NaN at the end.
        counts: (B,), how many are values.
    """

    values: NDArray[np.floating]
    counts: NDArray[np.intp]

    def quantile(self, q: float) -> NDArray[np.floating]:
        """The lower q-quantile over each recording's values, (B, ...); 0 where it has none."""
        ordered = np.sort(self.values, axis=1)  # NaN sorts to the end
        rank = (q * np.maximum(self.counts - 1, 0)).astype(np.intp)
        return np.nan_to_num(ordered[np.arange(len(rank)), rank])


def ragged(values: NDArray[np.floating], row: NDArray[np.intp], rows: int) -> Ragged:
    """Spread a flat list of values, sorted by the recording each belongs to, over `rows` recordings."""
    counts = np.bincount(row, minlength=rows)
    place = np.arange(len(row)) - (np.cumsum(counts) - counts)[row]
    padded = np.full((rows, max(int(counts.max(initial=0)), 1), *values.shape[1:]), np.nan, dtype=np.float32)
    padded[row, place] = values
    return Ragged(padded, counts)


def r_peaks(x_BLT: NDArray[np.floating], fs: float) -> RPeaks:
    """Find R peaks from the slope energy of all leads together, after Pan & Tompkins 1985.

    Args:
        x_BLT: (B, L, T), any unit: every lead counts alike.
        fs: sampling rate in Hz.

    Returns:
        The peaks, each where the leads deviate most from their baseline.
    """
    from scipy.ndimage import uniform_filter1d
    from scipy.signal import butter, find_peaks, sosfiltfilt

    upper = min(QRS_BAND_HZ[1], 0.45 * fs)
    sos = butter(2, (QRS_BAND_HZ[0], upper), "bandpass", fs=fs, output="sos")
    qrs_BLT = sosfiltfilt(sos, x_BLT - np.median(x_BLT, axis=-1, keepdims=True), axis=-1)
    qrs_BLT /= np.maximum(qrs_BLT.std(axis=-1, keepdims=True), 1e-6)
    energy_BT = uniform_filter1d(np.square(np.gradient(qrs_BLT, axis=-1)).sum(axis=1), max(round(0.1 * fs), 1))
    threshold_BT = np.broadcast_to(0.3 * np.quantile(energy_BT, 0.97, axis=-1, keepdims=True), energy_BT.shape)

    # One call serves all recordings: a silent gap between them keeps their peaks apart.
    gap = round(REFRACTORY_S * fs) + 1
    padding = ((0, 0), (gap, gap))
    silent = np.pad(energy_BT, padding).ravel()
    height = np.pad(threshold_BT + 1e-9, padding, constant_values=1.0).ravel()
    found, _ = find_peaks(silent, height=height, distance=gap - 1)
    row, sample = np.divmod(found, x_BLT.shape[-1] + 2 * gap)
    return RPeaks(row, _sharpen(np.abs(qrs_BLT).sum(axis=1), row, sample - gap, fs))


def _sharpen(
    amplitude_BT: NDArray[np.floating], row_K: NDArray[np.intp], sample_K: NDArray[np.intp], fs: float
) -> NDArray[np.intp]:
    """Move each peak to the largest amplitude within 80 ms."""
    near = np.arange(-round(0.08 * fs), round(0.08 * fs) + 1)
    around = np.clip(sample_K[:, None] + near, 0, amplitude_BT.shape[-1] - 1)
    best = amplitude_BT[row_K[:, None], around].argmax(axis=1)
    return np.take_along_axis(around, best[:, None], axis=1)[:, 0]


def beats(x_BLT: NDArray[np.floating], peaks: RPeaks, fs: float, before_s: float, after_s: float) -> Ragged:
    """Cut the window around each R peak; at the ends of a recording the last value goes on.

    Returns:
        Beats as values of shape (B, K, L, W) with the R peak at sample `round(before_s * fs)`.
    """
    window = np.arange(-round(before_s * fs), round(after_s * fs) + 1)
    at = np.clip(peaks.sample[:, None] + window, 0, x_BLT.shape[-1] - 1)
    cut_KLW = np.moveaxis(x_BLT[peaks.row[:, None], :, at], 1, 2)
    return ragged(cut_KLW, peaks.row, len(x_BLT))
