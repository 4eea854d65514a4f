"""The classical baselines against naive versions, closed forms and synthetic recordings of known make."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ecg_lightning.errors import UserError
from ecg_lightning.evaluation.classical import beat_features as beat
from ecg_lightning.evaluation.classical import interval_features as interval
from ecg_lightning.evaluation.classical.fiducials import r_peaks, ragged
from ecg_lightning.evaluation.classical.forest import Forest
from ecg_lightning.evaluation.classical.record_features import record_features
from ecg_lightning.evaluation.classical.wavelet_features import wavelet_features
from ecg_lightning.evaluation.frozen import Problem
from ecg_lightning.signal import TWELVE_LEADS

FS = 100.0


def beats(count: int = 60, leads: int = 2, records: int = 3, seed: int = 0) -> dict[str, np.ndarray]:
    """Noisy beats of several records, their rows interleaved."""
    rng = np.random.default_rng(seed)
    time = np.arange(75) / FS - 0.3
    qrs = np.exp(-np.square(time / 0.02))[None, None] * rng.uniform(0.5, 2, (count, leads, 1))
    rr = rng.uniform(0.5, 1.2, (2, count))
    rr[0, 0] = rr[1, -1] = np.nan
    return {
        "x_BLT": (qrs + 0.1 * rng.normal(size=(count, leads, 75))).astype(np.float32),
        "rr_before_B": rr[0],
        "rr_after_B": rr[1],
        "record_B": rng.integers(0, records, count),
        "fit_rows_B": rng.random(count) < 0.6,
    }


def ecg(
    rr_s: list[float], amplitudes: dict[str, tuple[float, float, float, float]], fs: float, seconds: float = 10.0
) -> np.ndarray:
    """(L, T) of Gaussian waves: P, R, S and T amplitude in mV for each lead; the first R peak at 0.5 s."""
    time = np.arange(round(seconds * fs)) / fs
    r_times = 0.5 + np.concatenate([[0.0], np.cumsum(rr_s)])
    waves = ((-0.16, 0.02), (0.0, 0.012), (0.045, 0.012), (0.28, 0.04))
    shapes = np.stack([sum(np.exp(-np.square((time - r - at) / width) / 2) for r in r_times) for at, width in waves])
    return np.array(list(amplitudes.values())) @ shapes


# ---------------------------------------------------------------- beats


def test_components_know_only_the_rows_they_are_fitted_on():
    data = beats()
    other = ~data["fit_rows_B"]
    changed = data["x_BLT"].copy()
    changed[other] += 5 * np.random.default_rng(1).normal(size=changed[other].shape)
    before = beat.principal_components(data["x_BLT"], data["fit_rows_B"])
    after = beat.principal_components(changed, data["fit_rows_B"])
    np.testing.assert_array_equal(before[~other], after[~other])
    assert not np.allclose(before[other], after[other])


def test_components_agree_with_scikit_learn_up_to_sign():
    from sklearn.decomposition import PCA

    data = beats(200)
    flat, fit = data["x_BLT"].reshape(200, -1), data["fit_rows_B"]
    theirs = PCA(beat.COMPONENTS, svd_solver="full").fit(flat[fit]).transform(flat)
    ours = beat.principal_components(data["x_BLT"], fit)
    np.testing.assert_allclose(np.abs(ours), np.abs(theirs), atol=2e-3)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), count=st.integers(1, 40), records=st.integers(1, 6))
def test_rhythm_is_that_of_a_loop_over_records(seed, count, records):
    data = beats(count, records=records, seed=seed)
    before, after, record = data["rr_before_B"], data["rr_after_B"], data["record_B"]
    result = beat.rhythm(before, after, record)
    for r in np.unique(record):
        rows = np.flatnonzero(record == r)
        known = [value for value in before[rows] if not np.isnan(value)]
        usual = float(np.median(known)) if known else 1.0
        filled = [usual if np.isnan(value) else value for value in before[rows]]
        following = [usual if np.isnan(value) else value for value in after[rows]]
        padded = [filled[0]] * 5 + filled + [filled[-1]] * 5
        for place, row in enumerate(rows):
            local = np.median(padded[place : place + 11])
            previous, subsequent = filled[max(place - 1, 0)], following[min(place + 1, len(rows) - 1)]
            mine, next_one = filled[place], following[place]
            expected = [mine, next_one, usual, mine / usual, next_one / usual, previous / usual, subsequent / usual]
            expected += [mine / local, next_one / local, mine / next_one, mine / previous]
            np.testing.assert_allclose(result[row], expected, rtol=1e-6)


def test_likeness_and_size_are_relative_to_the_own_record():
    data = beats(80, leads=2, records=4)
    features = beat.beat_features(**data, fs=FS)
    correlation = features[:, 2 * beat.COMPONENTS + 11 :][:, :2]
    distance = features[:, 2 * beat.COMPONENTS + 11 + 8 :][:, :2]
    centred = data["x_BLT"] - data["x_BLT"].mean(axis=-1, keepdims=True)
    for row in range(0, 80, 7):
        own = centred[data["record_B"] == data["record_B"][row]]
        for lead in range(2):
            typical = np.median(own[:, lead], axis=0)
            spread = np.median(own[:, lead].std(axis=-1))
            expected = np.corrcoef(centred[row, lead], typical)[0, 1]
            assert correlation[row, lead] == pytest.approx(expected, abs=1e-4)
            rms = np.sqrt(np.mean((centred[row, lead] - typical) ** 2))
            assert distance[row, lead] == pytest.approx(rms / spread, rel=1e-4)


def test_neither_offset_nor_gain_of_a_lead_matters_to_a_beat():
    data = beats()
    reference = beat.beat_features(**data, fs=FS)
    data["x_BLT"] = data["x_BLT"] * np.array([2.0, 0.5])[:, None] + np.array([3.0, -1.0])[:, None]
    np.testing.assert_allclose(beat.beat_features(**data, fs=FS), reference, atol=2e-3)


def test_a_beat_follows_its_row_when_records_are_rearranged():
    data = beats()
    by_record = np.argsort(data["record_B"], kind="stable")
    reference = beat.beat_features(**data, fs=FS)
    moved = beat.beat_features(**{name: values[by_record] for name, values in data.items()}, fs=FS)
    np.testing.assert_allclose(moved, reference[by_record], atol=2e-3)


@pytest.mark.parametrize("leads", [1, 2, 3])
def test_beats_with_a_flat_lead_or_a_record_of_one_beat_stay_finite(leads):
    data = beats(20, leads=leads)
    data["x_BLT"][:, 0] = 0.7
    data["record_B"][0] = 99
    features = beat.beat_features(**data, fs=FS)
    assert features.shape[0] == 20
    assert features.dtype == np.float32
    assert np.isfinite(features).all()


# ---------------------------------------------------------------- recordings


@settings(max_examples=15, deadline=None)
@given(
    rr=st.lists(st.floats(0.6, 1.2), min_size=6, max_size=7),
    fs=st.sampled_from([100.0, 250.0, 500.0]),
    offset=st.floats(-2, 2),
)
def test_r_peaks_and_rhythm_are_recovered(rr, fs, offset):
    x = ecg(rr, {"I": (0.1, 1.0, -0.3, 0.25), "II": (0.15, 1.2, -0.2, 0.3)}, fs)[None] + offset
    peaks = r_peaks(x, fs)
    truth = 0.5 + np.concatenate([[0.0], np.cumsum(rr)])
    np.testing.assert_allclose(peaks.sample / fs, truth, atol=1.5 / fs + 0.005)
    rate, median, shortest, longest, *_ = interval.rhythm(peaks, fs, 1)[0]
    assert shortest == pytest.approx(min(rr), abs=0.025)
    assert longest == pytest.approx(max(rr), abs=0.025)
    assert rate == pytest.approx(60 / median)
    assert np.abs(np.array(rr) - median).min() < 0.025


@pytest.mark.parametrize("fs", [100.0, 500.0])
def test_amplitudes_of_the_median_beat_are_recovered(fs):
    amplitudes = {"V1": (0.1, 0.3, -1.5, 0.2), "V5": (0.1, 1.8, -0.4, 0.4)}
    x = ecg([0.9] * 9, amplitudes, fs)[None]
    median = interval.median_beat(interval.beats(x, r_peaks(x, fs), fs, interval.BEFORE_S, interval.AFTER_S), fs)
    qrs = interval.qrs_amplitudes(median)
    np.testing.assert_allclose(qrs["R"], [[0.3, 1.8]], rtol=0.05, atol=0.02)
    np.testing.assert_allclose(qrs["S"], [[1.5, 0.4]], rtol=0.12)  # sampled next to its extreme at 100 Hz
    np.testing.assert_allclose(median.span(interval.T_WAVE_S).max(axis=-1), [[0.2, 0.4]], rtol=0.05)
    np.testing.assert_allclose(median.span(interval.P_WAVE_S).max(axis=-1), [[0.1, 0.1]], rtol=0.05)


def test_a_wider_qrs_measures_wider_by_as_much():
    from scipy.optimize import brentq

    widths = []
    time = np.arange(5000) / 500
    for width in (0.01, 0.02, 0.03):
        x = sum(np.exp(-np.square((time - r) / width) / 2) for r in np.arange(0.5, 9.6, 0.8))[None, None]
        median = interval.MedianBeat(
            interval.beats(x, r_peaks(x, 500), 500, interval.BEFORE_S, interval.AFTER_S).quantile(0.5), 500
        )
        onset, end = interval.qrs_limits(median)
        widths.append(float(end[0] - onset[0]) / 500)
    # The slope of a Gaussian, largest at 1 standard deviation, falls to this share of it at z.
    z = brentq(lambda z: z * np.exp((1 - z**2) / 2) - interval.QRS_SLOPE, 1, 5)
    np.testing.assert_allclose(widths, 2 * z * np.array([0.01, 0.02, 0.03]), atol=0.004)


def test_voltage_criteria_are_the_published_sums():
    r = {"I": 0.5, "aVL": 0.9, "aVF": 0.5 * np.sqrt(3) / 2, "V1": 0.1, "V3": 0.6, "V5": 2.0, "V6": 1.5}
    s = {"I": 0.0, "aVL": 0.0, "aVF": 0.0, "V1": 1.6, "V3": 1.2, "V5": 0.3, "V6": 0.2}
    criteria = interval.voltage_criteria(np.array([[*r.values()]]), np.array([[*s.values()]]), list(r))
    assert {name: round(float(value[0]), 6) for name, value in criteria.items()} == {
        "sokolow_lyon": 3.6,
        "cornell": 2.1,
        "axis": 45.0,
    }
    assert interval.voltage_criteria(np.ones((1, 2)), np.ones((1, 2)), ["V1", "V5"]) == {}


def test_a_short_list_of_leads_loses_only_the_criteria_that_need_the_others():
    x = ecg([0.8] * 10, {"I": (0.1, 1, -0.3, 0.2), "aVF": (0.1, 0.6, -0.2, 0.2)}, FS)[None]
    unnamed = record_features(x, FS, ["V7", "V8"])
    named = record_features(x, FS, ["i", "AVF"])
    assert named.shape[1] == unnamed.shape[1] + 1
    with pytest.raises(UserError, match="names 1 leads for recordings of 2"):
        record_features(x, FS, ["I"])


def test_the_offset_of_a_lead_does_not_matter_to_a_recording():
    x = ecg([0.7, 0.9, 0.8, 0.75, 0.95] * 2, {"I": (0.1, 1, -0.3, 0.2), "II": (0.2, 1.4, -0.2, 0.3)}, FS)[None]
    x = x + 0.02 * np.random.default_rng(0).normal(size=x.shape)
    np.testing.assert_allclose(
        record_features(x + np.array([5.0, -3.0])[:, None], FS, ["I", "II"]),
        record_features(x, FS, ["I", "II"]),
        atol=1e-4,
        rtol=1e-4,
    )


def test_wavelet_bands_find_the_frequency_of_a_sine():
    time = np.arange(1000) / FS
    tones = np.stack([np.sin(2 * np.pi * hz * time) for hz in (0.8, 2.3, 4.5, 9.0, 18.0, 36.0)])[:, None]
    share_of_energy = wavelet_features(tones, FS).reshape(6, 6, 12)[..., -1]
    np.testing.assert_array_equal(share_of_energy.argmax(axis=1), np.arange(6))
    np.testing.assert_allclose(share_of_energy.sum(axis=1), 1, rtol=1e-5)


@pytest.mark.parametrize("rows_at_once", [2, 500])
def test_recordings_of_any_kind_stay_finite_and_do_not_depend_on_one_another(rows_at_once, monkeypatch):
    monkeypatch.setattr("ecg_lightning.evaluation.classical.record_features.ROWS_AT_ONCE", rows_at_once)
    rng = np.random.default_rng(0)
    normal = np.repeat(ecg([0.8] * 10, {"II": (0.1, 1.0, -0.3, 0.2)}, FS), 12, axis=0)
    x = np.stack([normal, np.zeros((12, 1000)), np.full((12, 1000), 3.0), rng.normal(size=(12, 1000)), normal])
    x[4, 3] = 0
    features = record_features(x.astype(np.float32), FS, TWELVE_LEADS)
    assert features.dtype == np.float32
    assert np.isfinite(features).all()
    alone = np.concatenate([record_features(row[None].astype(np.float32), FS, TWELVE_LEADS) for row in x])
    np.testing.assert_allclose(features, alone, atol=1e-5)


@settings(max_examples=25, deadline=None)
@given(counts=st.lists(st.integers(0, 7), min_size=1, max_size=6), q=st.sampled_from([0.0, 0.25, 0.5, 1.0]))
def test_ragged_quantiles_are_those_of_each_row(counts, q):
    row = np.repeat(np.arange(len(counts)), counts)
    values = np.random.default_rng(len(row)).normal(size=(len(row), 2)).astype(np.float32)
    result = ragged(values, row, len(counts)).quantile(q)
    for i, count in enumerate(counts):
        own = values[row == i]
        np.testing.assert_array_equal(result[i], np.quantile(own, q, axis=0, method="lower") if count else 0)


@pytest.mark.realdata
def test_r_peaks_meet_the_annotations_of_a_clean_record(data_root: Path):
    import wfdb

    end = 60 * 360
    record = wfdb.rdrecord(str(data_root / "mitdb" / "100"), sampto=end)
    annotated = wfdb.rdann(str(data_root / "mitdb" / "100"), "atr", sampto=end)
    truth = annotated.sample[np.isin(annotated.symbol, ["N", "A", "V"])]
    found = r_peaks(record.p_signal.T[None], 360.0).sample
    assert len(found) == len(truth)
    assert np.abs(found - truth).max() <= 0.05 * 360


# ---------------------------------------------------------------- forest


def fit_predict(x: np.ndarray, y: np.ndarray, x_test: np.ndarray, n_classes: int, seed: int) -> np.ndarray:
    n = len(y)
    return Forest.grow(x, Problem(np.arange(n), y, np.arange(n).astype(str), n_classes, seed))(x_test)


def blobs(n: int, classes: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    y = np.arange(n) % classes
    return rng.normal(size=(n, 6)).astype(np.float32) + 2.0 * np.eye(classes, 6, dtype=np.float32)[y], y


def test_the_forest_learns_repeats_itself_and_depends_on_its_seed():
    (x, y), (x_test, y_test) = blobs(90, 3, 0), blobs(300, 3, 1)
    first = fit_predict(x, y, x_test, 3, seed=5)
    assert first.dtype == np.float32
    np.testing.assert_allclose(first.sum(axis=1), 1, atol=1e-5)
    assert (first.argmax(axis=1) == y_test).mean() > 0.8
    np.testing.assert_allclose(fit_predict(x, y, x_test, 3, seed=5), first, atol=1e-6)
    assert np.abs(fit_predict(x, y, x_test, 3, seed=6) - first).max() > 1e-3


def test_the_forest_is_scikit_learns_balanced_classifier():
    from sklearn.ensemble import ExtraTreesClassifier

    from ecg_lightning.evaluation.classical import forest

    x, y = blobs(80, 3, 0)
    keep = (y != 2) | (np.arange(80) < 20)  # class 2 is rare
    x_test, _ = blobs(200, 3, 1)
    theirs = ExtraTreesClassifier(
        forest.TREES,
        max_features=forest.SHARE_OF_FEATURES,
        min_samples_leaf=forest.SMALLEST_LEAF,
        class_weight="balanced",
        random_state=3,
    )
    expected = theirs.fit(x[keep], y[keep]).predict_proba(x_test)
    np.testing.assert_allclose(fit_predict(x[keep], y[keep], x_test, 3, seed=3), expected, atol=0.02)


def test_classes_absent_among_the_labels_get_probability_zero():
    x, y = blobs(40, 2, 0)
    probability = fit_predict(x, y * 2, x, n_classes=5, seed=0)
    assert probability.shape == (40, 5)
    assert (probability[:, [1, 3, 4]] == 0).all()
    only_one = fit_predict(x, np.ones(40, int), x, n_classes=2, seed=0)
    np.testing.assert_allclose(only_one, np.tile([0.0, 1.0], (40, 1)), atol=1e-6)


def test_multi_label_predicts_each_class_and_the_base_rate_of_constant_ones():
    (x, y), (x_test, y_test) = blobs(120, 2, 0), blobs(200, 2, 1)
    labels = np.stack([y, 1 - y, np.zeros_like(y), np.ones_like(y)], axis=1)
    probability = fit_predict(x, labels, x_test, 4, seed=0)
    assert ((probability[:, 0] > 0.5) == y_test).mean() > 0.85
    np.testing.assert_allclose(probability[:, 0] + probability[:, 1], 1, atol=1e-5)
    np.testing.assert_allclose(probability[:, 2:], np.tile([0.0, 1.0], (200, 1)), atol=1e-6)
