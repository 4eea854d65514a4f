"""All classical features of a whole recording side by side."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ecg_lightning.errors import UserError
from ecg_lightning.evaluation.classical.interval_features import interval_features
from ecg_lightning.evaluation.classical.wavelet_features import wavelet_features

ROWS_AT_ONCE = 500
"""Recordings held in work arrays at a time: about half a GB for 12 leads of 1000 samples."""


def record_features(x_BLT: NDArray[np.floating], fs: float, leads: Sequence[str]) -> NDArray[np.float32]:
    """Wavelet statistics of every lead, then rhythm, intervals and amplitudes of the median beat.

    No labels and no other recording enter a row, so that rows of test recordings need no care.

    Args:
        x_BLT: (B, L, T), mV, about 10 s; lead offsets do not matter.
        fs: sampling rate in Hz.
        leads: names of the L leads; see `interval_features` for what depends on them.

    Returns:
        (B, D), finite everywhere.

    Raises:
        UserError: the names do not fit the leads.
    """
    if len(leads) != x_BLT.shape[1]:
        raise UserError(f"leads={list(leads)} names {len(leads)} leads for recordings of {x_BLT.shape[1]}; name each")
    chunks = [x_BLT[start : start + ROWS_AT_ONCE] for start in range(0, max(len(x_BLT), 1), ROWS_AT_ONCE)]
    return np.concatenate(
        [np.concatenate([wavelet_features(x, fs), interval_features(x, fs, leads)], axis=1) for x in chunks]
    )
