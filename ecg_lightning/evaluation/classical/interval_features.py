"""What a cardiologist reads off a recording: rate, intervals and the amplitudes of the median beat."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ecg_lightning.evaluation.classical.fiducials import Ragged, RPeaks, beats, r_peaks, ragged
from ecg_lightning.leads import canonical_lead

BEFORE_S, AFTER_S = 0.3, 0.5
P_WAVE_S, QRS_S, T_WAVE_S = (-0.28, -0.1), (-0.12, 0.12), (0.14, 0.44)
PR_BEFORE_QRS_S = (0.04, 0.02)
ST_AFTER_J_S = (0.06, 0.08)
SAMPLED_S = np.arange(-0.24, 0.45, 0.04)
"""Offsets from the R peak at which each lead of the median beat is read."""

QRS_SLOPE = 0.15
"""The QRS complex lasts while the slope of all leads together exceeds this share of its maximum."""


@dataclass(frozen=True)
class MedianBeat:
    """The median beat of each recording relative to its PR segment.

    Attributes:
        mv: (B, L, W) in mV, the R peak `BEFORE_S` after its start; 0 where no beat was found.
        fs: sampling rate in Hz.
    """

    mv: NDArray[np.floating]
    fs: float

    def at(self, seconds: float | NDArray[np.floating]) -> NDArray[np.intp]:
        """Samples at times relative to the R peak."""
        sample = np.round((np.asarray(seconds) + BEFORE_S) * self.fs).astype(np.intp)
        return np.clip(sample, 0, self.mv.shape[-1] - 1)

    def span(self, seconds: tuple[float, float]) -> NDArray[np.floating]:
        """(B, L, w): the part between two times, both ends included."""
        first, last = self.at(np.array(seconds))
        return self.mv[..., first : last + 1]


def interval_features(x_BLT: NDArray[np.floating], fs: float, leads: Sequence[str]) -> NDArray[np.float32]:
    """Rate, rhythm, intervals, the amplitudes of every lead and voltage criteria.

    Args:
        x_BLT: (B, L, T), mV; lead offsets do not matter.
        fs: sampling rate in Hz.
        leads: names of the leads; Sokolow-Lyon, Cornell and the axis are left out where a lead they need is.

    Returns:
        (B, D), where D depends on the leads alone; finite everywhere, 0 where no beat was found.
    """
    peaks = r_peaks(x_BLT, fs)
    every_beat = beats(x_BLT, peaks, fs, BEFORE_S, AFTER_S)
    beat = median_beat(every_beat, fs)
    qrs = qrs_amplitudes(beat)
    per_lead = [
        *qrs.values(),
        *_waves(beat),
        *_st_levels(beat),
        *np.moveaxis(beat.mv[..., beat.at(SAMPLED_S)], -1, 0),
    ]
    columns = [
        *rhythm(peaks, fs, len(x_BLT)).T,
        *_likeness(every_beat),
        *_global_intervals(beat),
        *np.concatenate(per_lead, axis=1).T,
        *voltage_criteria(qrs["R"], qrs["S"], [canonical_lead(lead) for lead in leads]).values(),
    ]
    features: NDArray[np.float32] = np.nan_to_num(np.stack(columns, axis=1)).astype(np.float32)
    return features


def rhythm(peaks: RPeaks, fs: float, rows: int) -> NDArray[np.floating]:
    """Heart rate in 1/min, then median, extremes, spread, RMSSD and relative RMSSD of the RR intervals in s, (B, 7)."""
    follows = np.diff(peaks.row) == 0
    rr = ragged((np.diff(peaks.sample) / fs)[follows], peaks.row[1:][follows], rows)
    median, shortest, longest = (rr.quantile(q) for q in (0.5, 0.0, 1.0))
    rmssd = np.sqrt(_mean_over_beats(np.square(np.diff(rr.values, axis=1))))
    spread = np.sqrt(_mean_over_beats(np.square(rr.values - median[:, None])))
    per_second = _ratio(np.ones_like(median), median)
    return np.stack([60 * per_second, median, shortest, longest, spread, rmssd, rmssd * per_second], axis=1)


def median_beat(every_beat: Ragged, fs: float) -> MedianBeat:
    """The sample-wise median over each recording's beats, its PR segment just before the QRS complex at 0 mV."""
    raw = MedianBeat(every_beat.quantile(0.5), fs)
    onset_B, _ = qrs_limits(raw)
    before = np.arange(*(-round(seconds * fs) for seconds in PR_BEFORE_QRS_S))
    pr_segment = np.take_along_axis(raw.mv, np.maximum(onset_B[:, None] + before, 0)[:, None], axis=-1)
    return MedianBeat(raw.mv - pr_segment.mean(axis=-1, keepdims=True), fs)


def qrs_amplitudes(beat: MedianBeat) -> dict[str, NDArray[np.floating]]:
    """Q, R and S of every lead as positive amplitudes in mV, each (B, L)."""
    early, late = (QRS_S[0], 0.0), (0.0, QRS_S[1])
    return {
        "Q": np.maximum(-beat.span(early).min(axis=-1), 0),
        "R": np.maximum(beat.span(QRS_S).max(axis=-1), 0),
        "S": np.maximum(-beat.span(late).min(axis=-1), 0),
    }


def voltage_criteria(
    r_BL: NDArray[np.floating], s_BL: NDArray[np.floating], leads: Sequence[str]
) -> dict[str, NDArray[np.floating]]:
    """Sokolow-Lyon (S in V1 + R in V5 or V6) and Cornell (R in aVL + S in V3) in mV, frontal axis in degrees.

    Args:
        r_BL: (B, L), R amplitudes in mV.
        s_BL: (B, L), S amplitudes in mV, positive downwards.
        leads: canonical names of the leads.

    Returns:
        Those whose leads exist, each (B,).
    """
    r, s = dict(zip(leads, r_BL.T, strict=True)), dict(zip(leads, s_BL.T, strict=True))
    have = set(leads)
    criteria = {}
    if {"V1", "V5", "V6"} <= have:
        criteria["sokolow_lyon"] = s["V1"] + np.maximum(r["V5"], r["V6"])
    if {"aVL", "V3"} <= have:
        criteria["cornell"] = r["aVL"] + s["V3"]
    if {"I", "aVF"} <= have:
        # aVF is an augmented lead: 2 / sqrt(3) brings it to the scale of lead I.
        up = (r["aVF"] - s["aVF"]) * 2 / np.sqrt(3)
        criteria["axis"] = np.degrees(np.arctan2(up, r["I"] - s["I"]))
    return criteria


def qrs_limits(beat: MedianBeat) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """First and last sample of the QRS complex, common to all leads, each (B,)."""
    first, last = beat.at(np.array(QRS_S))
    slope = np.sqrt(np.square(np.gradient(beat.mv, axis=-1)).sum(axis=1))[:, first : last + 1]
    steep = slope > QRS_SLOPE * slope.max(axis=1, keepdims=True)
    return first + steep.argmax(axis=1), last - steep[:, ::-1].argmax(axis=1)


def _waves(beat: MedianBeat) -> list[NDArray[np.floating]]:
    """Lowest and highest point of the P and of the T wave and the area of the QRS complex, each (B, L)."""
    p, t = beat.span(P_WAVE_S), beat.span(T_WAVE_S)
    return [p.min(axis=-1), p.max(axis=-1), t.min(axis=-1), t.max(axis=-1), beat.span(QRS_S).mean(axis=-1)]


def _st_levels(beat: MedianBeat) -> list[NDArray[np.floating]]:
    """ST level 60 and 80 ms after the J point, each (B, L) in mV."""
    _, j_point = qrs_limits(beat)
    last = beat.mv.shape[-1] - 1
    after = [np.minimum(j_point + round(delay * beat.fs), last) for delay in ST_AFTER_J_S]
    return [np.take_along_axis(beat.mv, at[:, None, None], axis=-1)[..., 0] for at in after]


def _global_intervals(beat: MedianBeat) -> list[NDArray[np.floating]]:
    """QRS onset, end and width and the times of the P and T peaks relative to the R peak in s, each (B,)."""
    onset, end = qrs_limits(beat)
    peak = [
        start + np.abs(beat.span((start, stop))).sum(axis=1).argmax(axis=1) / beat.fs
        for start, stop in (P_WAVE_S, T_WAVE_S)
    ]
    return [onset / beat.fs - BEFORE_S, end / beat.fs - BEFORE_S, (end - onset) / beat.fs, *peak]


def _likeness(every_beat: Ragged) -> list[NDArray[np.floating]]:
    """How like the median beat the least like, the lower-quartile and the median beat are (correlation), each (B,)."""
    deviation = every_beat.values - every_beat.values.mean(axis=-1, keepdims=True)
    typical = Ragged(deviation, every_beat.counts).quantile(0.5)[:, None]
    together = (deviation * typical).sum(axis=(-2, -1))
    norms = np.sqrt(np.square(deviation).sum(axis=(-2, -1)) * np.square(typical).sum(axis=(-2, -1)))
    likeness = Ragged(np.where(np.isnan(norms), np.nan, _ratio(together, norms)), every_beat.counts)
    return [likeness.quantile(q) for q in (0.0, 0.25, 0.5)]


def _mean_over_beats(values_BK: NDArray[np.floating]) -> NDArray[np.floating]:
    """The mean of what is not NaN, 0 where all is."""
    present = ~np.isnan(values_BK)
    mean: NDArray[np.floating] = np.nan_to_num(values_BK).sum(axis=1) / np.maximum(present.sum(axis=1), 1)
    return mean


def _ratio(part: NDArray[np.floating], whole: NDArray[np.floating]) -> NDArray[np.floating]:
    """Part / whole, 0 where there is nothing to divide by."""
    return np.where(whole > 1e-6, part / np.maximum(whole, 1e-6), 0.0)
