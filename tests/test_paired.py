"""Comparisons of methods: simultaneous intervals against closed forms and by simulation."""

from __future__ import annotations

from statistics import NormalDist

import numpy as np
import pytest
from scipy import stats

from ecg_lightning.evaluation.paired import Contest, compare


def crossed(rng: np.random.Generator, effect: float, S: int, patients: int = 60, R: int = 200, seed_sd: float = 0.3,
            patient_sd: float = 1.0, noise_sd: float = 1.0, drawn: np.ndarray | None = None) -> Contest:  # fmt: skip
    """A metric that is a mean over patients, whose differences have patients', seeds' and their own scatter."""
    difference = (
        effect
        + rng.normal(scale=seed_sd, size=(S, 1))
        + rng.normal(scale=patient_sd, size=(1, patients))
        + rng.normal(scale=noise_sd, size=(S, patients))
    )
    counts = rng.multinomial(patients, np.full(patients, 1 / patients), size=R) if drawn is None else drawn
    return Contest(difference.mean(axis=1), difference @ counts.T / patients)


def test_one_contest_has_the_interval_of_its_two_sources_of_scatter():
    """Without noise of their own, the variances of patients and of seeds add up."""
    rng = np.random.default_rng(0)
    contest = crossed(rng, 0.5, S=10, R=20_000, noise_sd=0.0)
    [outcome] = compare([contest])
    patients = contest.resampled.mean(axis=0).std()
    seeds = contest.observed.std(ddof=1) / np.sqrt(10)
    half = NormalDist().inv_cdf(0.975) * np.hypot(patients, seeds)
    assert outcome.mean == pytest.approx(contest.observed.mean())
    assert outcome.high - outcome.mean == pytest.approx(half, rel=0.05)
    assert outcome.mean - outcome.low == pytest.approx(half, rel=0.05)
    assert outcome.over_patients


def test_independent_contests_widen_as_sidak_says_and_equal_ones_do_not():
    rng = np.random.default_rng(1)
    one = crossed(rng, 0.0, S=8, R=5000)
    [alone] = compare([one])
    twice = compare([one, one])
    assert twice[0] == twice[1] == alone
    others = [crossed(rng, 0.0, S=8, R=5000) for _ in range(9)]
    first = compare([one, *others])[0]
    sidak = NormalDist().inv_cdf(0.5 + 0.95**0.1 / 2) / NormalDist().inv_cdf(0.975)
    assert (first.high - first.mean) / (alone.high - alone.mean) == pytest.approx(sidak, rel=0.08)


def test_few_families_without_a_difference_show_one():
    """300 families of six contests with nothing to find: at most 5 % of them may show something."""
    rng, shown = np.random.default_rng(2), 0
    for _ in range(300):
        counts = rng.multinomial(60, np.full(60, 1 / 60), size=200)
        outcomes = compare([crossed(rng, 0.0, S=5, drawn=counts) for _ in range(6)])
        shown += any(outcome.low > 0 or outcome.high < 0 for outcome in outcomes)
        for outcome in outcomes:
            assert abs(outcome.p - 0.05) < 0.01 or (outcome.p > 0.05) == (outcome.low < 0 < outcome.high)
    assert shown <= 300 * 0.05 + 3 * np.sqrt(300 * 0.05 * 0.95)


def test_a_large_difference_is_shown():
    outcome = compare([crossed(np.random.default_rng(3), 5.0, S=5) for _ in range(4)])[2]
    assert outcome.low > 0 and outcome.p < 0.01


def test_without_resamples_the_seeds_speak_with_bonferronis_correction():
    observed = np.array([0.1, 0.2, 0.15, 0.05, 0.3])
    bare = Contest(observed, np.full((5, 0), np.nan))
    undefined = Contest(observed, np.full((5, 100), np.nan))
    for outcome in compare([bare, undefined]):
        half = stats.t.ppf(1 - 0.025 / 2, 4) * stats.sem(observed)
        assert (outcome.high - outcome.mean, outcome.mean - outcome.low) == pytest.approx((half, half))
        assert outcome.p == pytest.approx(2 * stats.ttest_1samp(observed, 0).pvalue)
        assert not outcome.over_patients


def test_resamples_that_leave_the_metric_undefined_are_skipped():
    contest = crossed(np.random.default_rng(4), 0.3, S=6, R=3000)
    holes = contest.resampled.copy()
    holes[2, ::3] = np.nan
    [whole], [pierced] = compare([contest]), compare([Contest(contest.observed, holes)])
    assert pierced.over_patients
    assert pierced.high == pytest.approx(whole.high, abs=0.05)


def test_a_method_against_itself_shows_nothing():
    for R in (0, 100):
        [outcome] = compare([Contest(np.zeros(5), np.zeros((5, R)))])
        assert (outcome.mean, outcome.low, outcome.high, outcome.p) == (0, 0, 0, 1)


def test_no_contest_no_outcome():
    assert compare([]) == []
