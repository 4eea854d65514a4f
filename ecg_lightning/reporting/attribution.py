"""What a class was seen in, on ECG paper."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecg_lightning.evaluation.attribution import Attribution
from ecg_lightning.reporting.ecg_layout import one_row_per_lead
from ecg_lightning.reporting.ecg_sheet import Pen, draw_sheet
from ecg_lightning.reporting.ecg_wash import Wash

SMOOTHED_S = 0.04
"""One small square of the paper: finer than that, gradients of neighbouring samples alternate and say nothing."""

STRAY = 0.2  # % of the samples may count for more than the densest colour says


def draw_attribution(
    attribution: Attribution, fs: float, leads: Sequence[str], path: str | Path, title: str, target: str
) -> Path:
    """Draw all leads of a window, and behind them in colour what speaks for a class and against it.

    Args:
        attribution: of the window.
        fs: its rate in Hz.
        leads: names of its rows.
        path: the PNG to write.
        title: above the paper.
        target: name of the class.

    Returns:
        The path written.
    """
    signal_LT = attribution.signal - np.nanmedian(attribution.signal, axis=1, keepdims=True)
    value_LT = smoothed(attribution.share, fs)
    densest = max(np.percentile(np.abs(value_LT), 100 - STRAY), np.finfo(float).tiny)
    wash = Wash(np.clip(value_LT / densest, -1, 1), f"speaks for {target}", "against it", attribution.span, "the beat")
    return draw_sheet(
        path,
        one_row_per_lead(*signal_LT.shape),
        [Pen(signal_LT)],
        np.zeros(signal_LT.shape, bool),
        fs=fs,
        leads=leads,
        title=title,
        unit="mV",
        note=f"log-odds of {target}: {attribution.log_odds:+.1f}; of flat leads: {attribution.flat:+.1f}",
        wash=wash,
    )


def smoothed(share_LT: NDArray[np.floating[Any]], fs: float) -> NDArray[np.floating[Any]]:
    """Running mean over `SMOOTHED_S`, as many samples before as after."""
    from scipy.ndimage import uniform_filter1d

    return np.asarray(uniform_filter1d(share_LT, 1 + 2 * round(SMOOTHED_S * fs / 2), axis=1, mode="nearest"))
