"""Recordings on ECG paper, drawn to scale: 25 mm/s and 10 mm/mV, one small square is 40 ms by 0.1 mV."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ecg_lightning.reporting.ecg_layout import clinical, is_standard, one_row_per_lead
from ecg_lightning.reporting.ecg_sheet import Pen, draw_sheet
from ecg_lightning.reporting.style import BLUE, INK

MAX_SECONDS = 60.0
HIDDEN = "#55504C"


def draw_record(
    signal_LT: NDArray[np.floating],
    fs: float,
    leads: Sequence[str],
    path: str | Path,
    title: str = "",
    *,
    overlay_LT: NDArray[np.floating] | None = None,
    shade: NDArray[np.bool_] | None = None,
    unit: str = "mV",
) -> Path:
    """Draw a recording as cardiologists read it.

    The standard twelve leads of about 10 s come as the clinical sheet: three rows of four leads, and lead II below
    as rhythm strip. Anything else comes as one row per lead. Each lead is drawn about its median. Where it would
    leave its row, the gain is lowered for the whole sheet; the footer and the calibration pulse say the gain.

    Args:
        signal_LT: (L, T), mV; samples that are not finite leave a gap.
        fs: its rate in Hz.
        leads: names of its rows.
        path: the PNG to write; missing folders are made.
        title: above the paper.
        overlay_LT: (L, T) drawn in colour over the recording where it is finite.
        shade: (T,) or (L, T), the samples to lay a tint behind.
        unit: of the signal, for the footer; say so where it is not mV.

    Returns:
        The path written.

    Raises:
        ValueError: shapes disagree, or the signal is longer than 60 s.
    """
    signal_LT = _checked(signal_LT, fs, leads)
    baseline_L1 = _baseline(signal_LT)
    pens = [Pen(signal_LT - baseline_L1)]
    if overlay_LT is not None:
        pens.append(Pen(_like(overlay_LT, signal_LT, "overlay_LT") - baseline_L1, BLUE, 0.4))
    shade_LT = _mask_like(np.zeros(signal_LT.shape[1], bool) if shade is None else shade, signal_LT, "shade")
    samples = signal_LT.shape[1]
    strips = clinical(leads, samples) if is_standard(leads, samples / fs) else one_row_per_lead(*signal_LT.shape)
    note = f"{samples / fs:.3g} s at {fs:.4g} Hz"
    return draw_sheet(path, strips, pens, shade_LT, fs=fs, leads=leads, title=title, unit=unit, note=note)


def draw_reconstruction(
    original_LT: NDArray[np.floating],
    reconstruction_LT: NDArray[np.floating],
    masked: NDArray[np.bool_],
    fs: float,
    leads: Sequence[str],
    path: str | Path,
    title: str = "",
    *,
    unit: str = "mV",
) -> Path:
    """Draw what a masked autoencoder saw, what was hidden from it, and what it guessed there; one row per lead.

    Args:
        original_LT: (L, T), mV or what the encoder reads.
        reconstruction_LT: (L, T) in the same unit; drawn only where masked.
        masked: (T,) or (L, T), true where the model did not see the signal.
        fs: the rate in Hz.
        leads: names of the rows.
        path: the PNG to write; missing folders are made.
        title: above the paper.
        unit: of both signals, for the footer.

    Returns:
        The path written.

    Raises:
        ValueError: shapes disagree, or the signal is longer than 60 s.
    """
    original_LT = _checked(original_LT, fs, leads)
    guess_LT = _like(reconstruction_LT, original_LT, "reconstruction_LT")
    masked_LT = _mask_like(masked, original_LT, "masked")
    baseline_L1 = _baseline(original_LT)
    centred_LT = original_LT - baseline_L1
    pens = [
        Pen(np.where(masked_LT, np.nan, centred_LT), INK, 0.3, "seen"),
        Pen(np.where(_widened(masked_LT), centred_LT, np.nan), HIDDEN, 0.2, "hidden", on_shade=True),
        Pen(np.where(masked_LT, guess_LT - baseline_L1, np.nan), BLUE, 0.5, "reconstructed", on_shade=True),
    ]
    strips = one_row_per_lead(*original_LT.shape)
    note = f"{original_LT.shape[1] / fs:.3g} s at {fs:.4g} Hz, {masked_LT.mean():.0%} hidden"
    return draw_sheet(path, strips, pens, masked_LT, fs=fs, leads=leads, title=title, unit=unit, note=note)


def _checked(signal_LT: NDArray[np.floating], fs: float, leads: Sequence[str]) -> NDArray[np.floating]:
    """The signal with NaN for every sample that is not finite."""
    signal_LT = np.asarray(signal_LT, dtype=float)
    if signal_LT.ndim != 2 or signal_LT.shape[0] != len(leads) or not signal_LT.size:
        raise ValueError(f"a signal of shape {signal_LT.shape} for leads {list(leads)}: (leads, samples) is wanted")
    if not signal_LT.shape[1] <= MAX_SECONDS * fs:
        raise ValueError(
            f"{signal_LT.shape[1]} samples at {fs} Hz: a sheet holds up to {MAX_SECONDS:g} s, draw a window"
        )
    return np.where(np.isfinite(signal_LT), signal_LT, np.nan)


def _like(other_LT: NDArray[np.floating], signal_LT: NDArray[np.floating], name: str) -> NDArray[np.floating]:
    other_LT = np.asarray(other_LT, dtype=float)
    if other_LT.shape != signal_LT.shape:
        raise ValueError(f"{name} has shape {other_LT.shape}, the signal {signal_LT.shape}")
    return np.where(np.isfinite(other_LT), other_LT, np.nan)


def _mask_like(mask: NDArray[np.bool_], signal_LT: NDArray[np.floating], name: str) -> NDArray[np.bool_]:
    """The mask as (L, T), one for all leads repeated."""
    mask = np.asarray(mask)
    if mask.dtype != bool or mask.shape not in (signal_LT.shape, signal_LT.shape[1:]):
        raise ValueError(
            f"{name} is {mask.dtype} of shape {mask.shape}: bool (T,) or (L, T) of {signal_LT.shape} wanted"
        )
    return np.broadcast_to(mask, signal_LT.shape)


def _baseline(signal_LT: NDArray[np.floating]) -> NDArray[np.floating]:
    """(L, 1): each lead's median, close to its isoelectric line; 0 where there is no sample."""
    finite = (row[~np.isnan(row)] for row in signal_LT)
    return np.array([[np.median(row) if row.size else 0.0] for row in finite])


def _widened(mask_LT: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The mask and one sample to either side, so that a line joins its neighbours."""
    padded = np.pad(mask_LT, ((0, 0), (1, 1)))
    return padded[:, :-2] | padded[:, 1:-1] | padded[:, 2:]
