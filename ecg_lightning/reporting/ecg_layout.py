"""What goes where on a sheet of ECG paper: strips of leads, the gain, and the height of each row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ecg_lightning.leads import TWELVE_LEADS, canonical_lead

CLINICAL = (("I", "aVR", "V1", "V4"), ("II", "aVL", "V2", "V5"), ("III", "aVF", "V3", "V6"))
RHYTHM = "II"

GAINS = tuple(base / 10.0**power for power in range(5) for base in (10.0, 5.0, 2.5))
"""mm/mV, tried in this order: the standard gain, then half of it and so on, as recorders do for tall complexes."""

REACH = 30  # mm by which a trace may leave its baseline
MIN_ABOVE, MIN_BELOW = 10, 5  # mm of a row above and below its baseline
SQUARE = 5  # mm, a large square of the paper and a line of text


@dataclass(frozen=True)
class Strip:
    """Samples `start` to `stop` of one lead, in one row of the sheet; their time says where in the row."""

    lead: int
    row: int
    start: int
    stop: int


@dataclass(frozen=True)
class Band:
    """The paper of one row, in mm from the lower edge of the page."""

    bottom: int
    baseline: int
    top: int


def one_row_per_lead(leads: int, samples: int) -> list[Strip]:
    """Every lead in full, one below the other."""
    return [Strip(lead, row=lead, start=0, stop=samples) for lead in range(leads)]


def clinical(leads: Sequence[str], samples: int) -> list[Strip]:
    """The sheet of an electrocardiograph: four columns of three leads, each a quarter of the time, above lead II."""
    names = [canonical_lead(lead) for lead in leads]
    edges = [samples * column // 4 for column in range(5)]
    quarters = [
        Strip(names.index(name), row, edges[column], edges[column + 1])
        for row, columns in enumerate(CLINICAL)
        for column, name in enumerate(columns)
    ]
    return [*quarters, Strip(names.index(RHYTHM), row=len(CLINICAL), start=0, stop=samples)]


def is_standard(leads: Sequence[str], seconds: float) -> bool:
    """Whether this is the standard recording of twelve leads for about 10 s."""
    return 8 <= seconds <= 12 and sorted(map(canonical_lead, leads)) == sorted(TWELVE_LEADS)


def fitting_gain(signals: Sequence[NDArray[np.floating]], strips: Sequence[Strip]) -> float:
    """The largest gain at which all but stray samples (one in 500) stay within reach of their baseline.

    Args:
        signals: (L, T) each, mV about the baseline, NaN where missing.
        strips: the parts that are drawn.

    Returns:
        mm/mV, one of `GAINS`.
    """
    parts = (np.abs(signal[strip.lead, strip.start : strip.stop]) for signal in signals for strip in strips)
    present = (part[~np.isnan(part)] for part in parts)
    reach = max((float(np.percentile(part, 99.8)) for part in present if part.size), default=0.0)
    return next((gain for gain in GAINS if gain * reach <= REACH), GAINS[-1])


def stack_bands(
    signals: Sequence[NDArray[np.floating]], strips: Sequence[Strip], gain: float, bottom: int
) -> list[Band]:
    """Rows just high enough for their strips, in whole large squares; where several share a row, names fit above.

    Args:
        signals: (L, T) each, mV about the baseline, NaN where missing.
        strips: the parts that are drawn.
        gain: mm/mV.
        bottom: lower edge of the last row, mm.

    Returns:
        The rows from the top of the sheet down.
    """
    bands: list[Band] = []
    for row in reversed(range(1 + max(strip.row for strip in strips))):
        shared = [strip for strip in strips if strip.row == row]
        values = gain * np.concatenate([s[strip.lead, strip.start : strip.stop] for s in signals for strip in shared])
        above = _whole_squares(np.clip(np.fmax.reduce(values, initial=0.0), MIN_ABOVE, REACH))
        below = _whole_squares(np.clip(-np.fmin.reduce(values, initial=0.0), MIN_BELOW, REACH))
        names = SQUARE if len(shared) > 1 else 0
        bands.insert(0, Band(bottom, bottom + below, bottom + below + above + names))
        bottom = bands[0].top
    return bands


def _whole_squares(mm: float) -> int:
    return SQUARE * int(np.ceil(mm / SQUARE))
