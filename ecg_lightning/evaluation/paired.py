"""Are two methods different? All comparisons of a table at once, over test patients and label seeds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ecg_lightning.evaluation.bootstrap import LEAST_RESAMPLES

Floats = NDArray[np.floating]

CONFIDENCE = 0.95


class Contest(NamedTuple):
    """Two methods that had the same labels under each seed and were judged on the same patients.

    Attributes:
        observed: (S,) the difference of a metric under each of two label seeds or more.
        resampled: (S, R) the same in R bootstrap resamples of the test patients, the same for all contests; NaN
            where a resample leaves the metric undefined. R may be 0.
    """

    observed: Floats
    resampled: Floats


class Outcome(NamedTuple):
    """What a contest shows.

    Attributes:
        mean: difference, over the label seeds.
        low: lower end of its simultaneous 95 % interval.
        high: upper end.
        p: the smallest error rate, for the whole family, at which the difference would be shown.
        over_patients: whether the interval speaks of other patients; else of other label seeds alone.
    """

    mean: float
    low: float
    high: float
    p: float
    over_patients: bool


def compare(contests: Sequence[Contest], seed: int = 0) -> list[Outcome]:
    """Simultaneous intervals: with 95 % probability all of them hold at once, however many they are.

    Test patients and label seeds are both drawn anew in each resample (the pigeonhole bootstrap, Owen 2007, which
    errs on the wide side), one seed less than there are, so that few seeds are not taken for their whole population
    (Rao and Wu 1988). The widths come from the largest studentised deviation among all contests in each resample
    (max-t, Westfall and Young 1993), so that contests which go together cost less than Bonferroni takes.
    Where the patients are too few to be drawn from, the seeds alone speak: Student's t with Bonferroni's correction.

    Args:
        contests: the family; there may be none.
        seed: of the draws of label seeds.
    """
    drawn = [_resample(contest, seed) for contest in contests]
    errors = [float(np.nanstd(values_R)) if values_R.size else 0.0 for values_R in drawn]
    means = [float(contest.observed.mean()) for contest in contests]
    largest_R = _largest(drawn, means, errors)
    return [
        _by_patients(mean, error, largest_R) if values_R.size else _by_seeds(contest, len(contests))
        for contest, values_R, mean, error in zip(contests, drawn, means, errors, strict=True)
    ]


def _resample(contest: Contest, seed: int) -> Floats:
    """(R,) the mean difference over drawn seeds in each resample; empty where too few resamples are defined."""
    S, R = contest.resampled.shape
    drawn_RS = np.random.default_rng(seed).integers(S, size=(R, S - 1))
    values_R: Floats = contest.resampled[drawn_RS, np.arange(R)[:, None]].mean(axis=1)
    return values_R if (~np.isnan(values_R)).sum() >= LEAST_RESAMPLES else values_R[:0]


def _largest(drawn: Sequence[Floats], means: Sequence[float], errors: Sequence[float]) -> Floats:
    """(R,) the largest studentised deviation among the contests of each resample."""
    deviations = [
        np.abs(values_R - mean) / error
        for values_R, mean, error in zip(drawn, means, errors, strict=True)
        if values_R.size and error > 0
    ]
    if not deviations:
        return np.zeros(1)
    table_JR = np.where(np.isnan(deviations), -np.inf, deviations)
    largest_R: Floats = table_JR.max(axis=0)
    return largest_R[np.isfinite(largest_R)]


def _by_patients(mean: float, error: float, largest_R: Floats) -> Outcome:
    reach = float(np.quantile(largest_R, CONFIDENCE)) * error
    size = abs(mean) / error if error else np.inf * abs(mean) if mean else 0.0
    p = (1 + (largest_R >= size).sum()) / (1 + len(largest_R))
    return Outcome(mean, mean - reach, mean + reach, float(p), True)


def _by_seeds(contest: Contest, family: int) -> Outcome:
    from scipy.stats import t

    S, mean = len(contest.observed), float(contest.observed.mean())
    error = float(contest.observed.std(ddof=1) / np.sqrt(S))
    reach = float(t.ppf(1 - (1 - CONFIDENCE) / 2 / family, S - 1)) * error
    p = 2 * float(t.sf(abs(mean) / error, S - 1)) if error else float(mean == 0)
    return Outcome(mean, mean - reach, mean + reach, min(1.0, p * family), False)
