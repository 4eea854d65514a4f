"""What sets a beat apart from the other beats of its patient; no label enters any of it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating]

COMPONENTS = 8
"""Chosen on held-out patients of MIT-BIH DS1, where 5 to 12 were alike and 20 no better."""

PARTS_S = {"P wave": (-0.3, -0.05), "QRS complex": (-0.08, 0.12), "T wave": (0.12, 0.45)}
NEIGHBOURS = 11
"""Beats whose median RR interval is the local one: about 10 as in de Chazal et al. 2004."""

TINY = 1e-4
"""In mV: what varies less is flat."""


def beat_features(
    x_BLT: Floats,
    rr_before_B: Floats,
    rr_after_B: Floats,
    record_B: NDArray[np.integer],
    fit_rows_B: NDArray[np.bool_],
    fs: float,
    before_s: float = 0.3,
) -> NDArray[np.float32]:
    """Shape, change of shape, rhythm, likeness and size of each beat, most of it relative to its patient's median beat.

    Args:
        x_BLT: (B, L, T), beat windows in mV, about -0.3 s to 0.45 s around the R peak. Neither offset nor gain
            of a recording matters.
        rr_before_B: (B,), seconds since the beat before; NaN for the first of a record.
        rr_after_B: (B,), seconds until the next beat; NaN for the last of a record.
        record_B: (B,), the record of each beat. The beats of one record are in order of time.
        fit_rows_B: (B,), True where the principal components may be fitted: the training split.
        fs: sampling rate in Hz.
        before_s: where in the window the R peak lies, in seconds.

    Returns:
        (B, D), finite everywhere.
    """
    x = x_BLT - x_BLT.mean(axis=-1, keepdims=True)
    typical = per_record(_repeat_median, x, record_B)
    deviation = x - typical
    spread_BL = per_record(_repeat_median, x.std(axis=-1), record_B)
    parts = [slice(None), *(_samples(part, fs, before_s, x.shape[-1]) for part in PARTS_S.values())]
    qrs = parts[2]
    blocks = [
        principal_components(_ratio(x, x.std(axis=-1, keepdims=True)), fit_rows_B),
        principal_components(_ratio(deviation, spread_BL[..., None]), fit_rows_B),
        rhythm(rr_before_B, rr_after_B, record_B),
        *(_correlation(x[..., part], typical[..., part]) for part in parts),
        *(_ratio(_rms(deviation[..., part]), spread_BL) for part in parts),
        _ratio(x.std(axis=-1), spread_BL),
        _ratio(np.ptp(x[..., qrs], axis=-1), np.ptp(typical[..., qrs], axis=-1)),
        _qrs_width(x, qrs, record_B),
    ]
    return np.concatenate(blocks, axis=1).astype(np.float32)


def rhythm(rr_before_B: Floats, rr_after_B: Floats, record_B: NDArray[np.integer]) -> Floats:
    """RR intervals in seconds, and relative to the record's median, to those nearby and to one another, (B, 11).

    An interval that a record's end cuts off counts as the record's median.
    """
    usual = per_record(_repeat_nanmedian, rr_before_B.astype(float), record_B)
    before = np.where(np.isnan(rr_before_B), usual, rr_before_B)
    after = np.where(np.isnan(rr_after_B), usual, rr_after_B)
    earlier = per_record(lambda rr: np.concatenate([rr[:1], rr[:-1]]), before, record_B)
    later = per_record(lambda rr: np.concatenate([rr[1:], rr[-1:]]), after, record_B)
    nearby = per_record(_running_median, before, record_B)
    relative = [_ratio(rr, usual) for rr in (before, after, earlier, later)]
    local = [_ratio(before, nearby), _ratio(after, nearby), _ratio(before, after), _ratio(before, earlier)]
    return np.stack([before, after, usual, *relative, *local], axis=1)


def principal_components(x: Floats, fit_rows_B: NDArray[np.bool_]) -> Floats:
    """Scores (B, at most `COMPONENTS`) of the flattened rows on components that `fit_rows_B` alone determine."""
    flat = x.reshape(len(x), -1)
    mean = flat[fit_rows_B].mean(axis=0)
    fitted = flat[fit_rows_B] - mean
    _, ascending = np.linalg.eigh(fitted.T @ fitted)
    axes = ascending[:, ::-1][:, :COMPONENTS]
    largest = np.take_along_axis(axes, np.abs(axes).argmax(axis=0)[None], axis=0)
    scores: Floats = (flat - mean) @ (axes * np.sign(largest))  # an axis has no sign of its own
    return scores


def per_record(function: Callable[[Floats], Floats], values: Floats, record_B: NDArray[np.integer]) -> Floats:
    """Apply `function` (n, ...) -> (n, ...) to the rows of each record in their order."""
    order = np.argsort(record_B, kind="stable")
    starts = np.flatnonzero(np.diff(record_B[order])) + 1
    result = np.empty_like(values)
    for rows in np.split(order, starts):
        result[rows] = function(values[rows])
    return result


def _repeat_median(values: Floats) -> Floats:
    return np.broadcast_to(np.median(values, axis=0), values.shape)


def _repeat_nanmedian(rr: Floats) -> Floats:
    """The median of what is known; 1 s for a single beat without neighbours."""
    known = rr[~np.isnan(rr)]
    return np.full_like(rr, np.median(known) if len(known) else 1.0)


def _running_median(rr: Floats) -> Floats:
    from scipy.ndimage import median_filter

    smooth: Floats = median_filter(rr, NEIGHBOURS, mode="nearest")
    return smooth


def _samples(part_s: tuple[float, float], fs: float, before_s: float, samples: int) -> slice:
    """Where a part of the beat lies in the window; never less than two samples."""
    first, last = (int(np.clip(round((before_s + at) * fs), 0, samples)) for at in part_s)
    first = min(first, samples - 2)
    return slice(first, max(last, first + 2))


def _qrs_width(x_BLT: Floats, qrs: slice, record_B: NDArray[np.integer]) -> Floats:
    """How much of the QRS complex is steep in each lead: the share itself and relative to the record's median."""
    slope = np.abs(np.gradient(x_BLT[..., qrs], axis=-1))
    share = (slope > 0.15 * np.maximum(slope.max(axis=-1, keepdims=True), TINY)).mean(axis=-1)
    return np.concatenate([share, _ratio(share, per_record(_repeat_median, share, record_B))], axis=1)


def _correlation(a_BLT: Floats, b_BLT: Floats) -> Floats:
    """Pearson's correlation of each lead with its counterpart, (B, L); 0 where one is flat."""
    a, b = (lead - lead.mean(axis=-1, keepdims=True) for lead in (a_BLT, b_BLT))
    return _ratio(_ratio((a * b).mean(axis=-1), _rms(a)), _rms(b))


def _rms(x: Floats) -> Floats:
    root: Floats = np.sqrt(np.square(x).mean(axis=-1))
    return root


def _ratio(part: Floats, whole: Floats) -> Floats:
    """Part / whole, 0 where there is nothing to divide by."""
    return np.where(whole > TINY, part / np.maximum(whole, TINY), 0.0)
