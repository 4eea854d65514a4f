"""Measures of calibration against naive versions and libraries; scalers, and whose labels they read."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from scipy.special import expit, logit, softmax
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.calibration import CalibratedClassifierCV, calibration_curve
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import brier_score_loss, log_loss, roc_auc_score
from torchmetrics.functional.classification import binary_calibration_error

from ecg_lightning import assessment, question
from ecg_lightning.assessment import assess
from ecg_lightning.data.module import Examples
from ecg_lightning.errors import UserError
from ecg_lightning.evaluation.calibration import BINS, measure, reliability
from ecg_lightning.evaluation.metrics import MACRO
from ecg_lightning.evaluation.recalibration import recalibrate
from ecg_lightning.evaluation.scalers import SCALERS, isotonic, platt, temperature, vector
from ecg_lightning.precheck import check_prediction
from ecg_lightning.question import results_folder
from ecg_lightning.reporting.sweep import summarise_sweep
from ecg_lightning.results import cells, read_calibrated, read_predictions, read_result, write_result

N, NAMES = 600, ("a", "b", "c")
ALL = "calibration=[temperature,vector,platt,isotonic]"


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def labels(rng: np.random.Generator, n: int = N, sharpness: float = 2.0) -> tuple[Any, Any]:
    """Logits (n, 3), and the labels that they are true of: each comes as often as its sigmoid says."""
    z = rng.normal(-0.5, 1.5, (n, 3))
    return sharpness * z, (rng.random((n, 3)) < expit(z)).astype(np.uint8)


def numbers(rng: np.random.Generator, n: int = N, sharpness: float = 2.0) -> tuple[Any, Any]:
    """Likewise for class numbers."""
    z = rng.normal(0, 1.5, (n, 3))
    return sharpness * z, (softmax(z, axis=1).cumsum(axis=1) < rng.random((n, 1))).sum(axis=1)


def measured(y: Any, p: Any, **options: Any) -> dict[str, Any]:
    return measure(y, p, NAMES[: p.shape[1]], np.arange(len(y)), **{"resamples": 0, **options})


# ---------------------------------------------------------------- measures


def naive_error(p: Any, hit: Any) -> float:
    """Rows in order of their probability, in so many equal heaps."""
    heaps = np.array_split(np.argsort(p), BINS)
    return sum(len(heap) / len(p) * abs(p[heap].mean() - hit[heap].mean()) for heap in heaps)


def test_calibration_error_is_that_of_a_naive_loop_over_equal_heaps(rng):
    z, y = labels(rng)
    found = measured(y, expit(z))
    naive = [naive_error(expit(z[:, c]), y[:, c]) for c in range(3)]
    assert list(found["ece_per_class"].values()) == pytest.approx(naive)
    assert found["ece"]["value"] == found["classwise_ece"]["value"] == pytest.approx(np.mean(naive))

    z, y = numbers(rng)
    p = softmax(z, axis=1)
    found = measured(y, p)
    naive = [naive_error(p[:, c], y == c) for c in range(3)]
    assert list(found["ece_per_class"].values()) == pytest.approx(naive)
    assert found["classwise_ece"]["value"] == pytest.approx(np.mean(naive))
    assert found["ece"]["value"] == pytest.approx(naive_error(p.max(axis=1), p.argmax(axis=1) == y))


@pytest.mark.parametrize("digits", [6, 1])
def test_bins_are_those_of_scikit_learn_also_where_probabilities_are_equal(rng, digits):
    z, y = labels(rng)
    p, hit = expit(z[:, 0]).round(digits), y[:, 0].astype(bool)
    share, said = calibration_curve(hit, p, n_bins=BINS, strategy="quantile")
    curve = reliability(p, hit)
    np.testing.assert_allclose(curve.said, said)
    np.testing.assert_allclose(curve.hits / curve.rows, share)
    assert curve.rows.sum() == N
    found = measured(hit[:, None].astype(int), p[:, None])["ece"]["value"]
    assert found == pytest.approx(curve.error) == pytest.approx((np.abs(said - share) * curve.rows).sum() / N)


def test_calibration_error_is_that_of_torchmetrics_where_bins_of_equal_mass_are_of_equal_width(rng):
    p = (np.arange(N) + 0.5) / N
    hit = rng.random(N) < p**2
    theirs = binary_calibration_error(torch.tensor(p), torch.tensor(hit).long(), n_bins=BINS, norm="l1")
    assert measured(hit[:, None], p[:, None])["ece"]["value"] == pytest.approx(float(theirs), abs=1e-5)


def test_what_comes_true_as_often_as_said_has_no_error_and_what_is_off_by_a_tenth_has_that_one():
    said = np.repeat([0.1, 0.3, 0.5, 0.7], 100)
    y = (np.tile(np.arange(100), 4) < 100 * said).astype(int)[:, None]
    assert measured(y, said[:, None])["ece"]["value"] == pytest.approx(0)
    assert measured(y, said[:, None] + 0.1)["ece"]["value"] == pytest.approx(0.1)
    assert measured(y, said[:, None] + [[0.2], [0]] * 200)["ece"]["value"] > 0.05


def test_brier_score_and_log_loss_are_those_of_scikit_learn_and_torch(rng):
    z, y = numbers(rng)
    p, found = softmax(z, axis=1), measured(y, softmax(z, axis=1))
    assert found["brier"]["value"] == pytest.approx(brier_score_loss(y, p, scale_by_half=False))
    assert found["nll"]["value"] == pytest.approx(log_loss(y, p))

    z, y = labels(rng)
    found = measured(y, expit(z))
    assert found["brier"]["value"] == pytest.approx(
        np.mean([brier_score_loss(y[:, c], expit(z[:, c])) for c in (0, 1, 2)])
    )
    both = torch.nn.functional.binary_cross_entropy(torch.tensor(expit(z)), torch.tensor(y).double())
    assert found["nll"]["value"] == pytest.approx(float(both))


def test_a_class_that_never_or_always_comes_is_left_out(rng):
    z, y = labels(rng)
    y[:, 1], y[:, 2] = 0, 1
    found, alone = measured(y, expit(z)), measured(y[:, :1], expit(z[:, :1]))
    assert found["ece_per_class"] == {**alone["ece_per_class"], "b": None, "c": None}
    assert all(found[key] == alone[key] for key in ("ece", "brier", "nll"))
    nothing = measured(y[:, 1:2], expit(z[:, :1]))
    assert {nothing[key]["value"] for key in ("ece", "brier", "nll")} == {None}


def test_certainty_that_is_wrong_has_a_finite_log_loss():
    found = measured(np.array([0, 1, 1]), np.array([[0.0, 1.0], [0, 1], [0, 1]], np.float32))
    assert found["nll"]["value"] == pytest.approx(24 * np.log(2) / 3)


def test_intervals_are_those_of_means_over_patients(rng):
    """Rows that a patient has twice say nothing new."""
    z, y = labels(rng)
    p, hit = expit(z[:, :1]), y[:, :1]
    once = measured(hit, p, resamples=400)
    twice = measure(np.repeat(hit, 3, axis=0), np.repeat(p, 3, axis=0), "a", np.repeat(np.arange(N), 3), resamples=400)
    spread = ((p - hit) ** 2).std() / np.sqrt(N)
    for found in (once, twice):
        brier = found["brier"]
        assert brier["high"] - brier["low"] == pytest.approx(2 * 1.96 * spread, rel=0.15)
        assert found["ece"]["low"] <= found["ece"]["value"] <= found["ece"]["high"]
    assert twice["ece"]["value"] == pytest.approx(once["ece"]["value"], rel=0.1)


def test_the_interval_of_a_calibration_error_holds_the_true_one():
    """Also where that is 0 and the measured one is noise; plain percentiles then never hold it."""
    for sharpness, true in ((1.0, 0.0), (2.0, 0.0971)):  # by a million rows
        held = 0
        for seed in range(40):
            rng = np.random.default_rng(seed)
            z = rng.normal(-1, 1.5, (2000, 1))
            y = (rng.random((2000, 1)) < expit(z)).astype(int)
            found = measured(y, expit(sharpness * z), resamples=100)["ece"]
            held += found["low"] <= true <= found["high"]
            assert sharpness > 1 or found["value"] > 0.01
        assert held >= 34


# ---------------------------------------------------------------- scalers


def test_a_temperature_is_found_again():
    """Exactly: twice as hot logits take twice the temperature; and the true one within what the labels say."""
    for make, link in ((labels, expit), (numbers, lambda z: softmax(z, axis=1))):
        z, y = make(np.random.default_rng(1), 4000, 1.0)
        found = [temperature(link(factor * z), y, NAMES).details["temperature"] for factor in (0.5, 1, 3)]
        assert found[1] == pytest.approx(1, abs=0.07)
        np.testing.assert_allclose(found, np.array([0.5, 1, 3]) * found[1], rtol=1e-3)
        scaled = [temperature(link(factor * z), y, NAMES)(link(factor * z)) for factor in (1, 3)]
        np.testing.assert_allclose(*scaled, atol=5e-3)


@pytest.mark.parametrize("scaler", [temperature, vector])
def test_labels_that_do_not_exclude_one_another_keep_their_order_and_auroc(rng, scaler):
    z, y = labels(rng)
    z[::7] = z[::7].round()  # some of them equal
    z[5], z[6], z[8] = -40, -25, 12
    p = expit(z)
    scaled = scaler(p, y, NAMES)(p)
    assert np.abs(scaled - p).max() > 0.05
    for c in range(3):
        np.testing.assert_array_equal(
            np.unique(p[:, c], return_inverse=True)[1], np.unique(scaled[:, c], return_inverse=True)[1]
        )
    assert roc_auc_score(y, scaled, average=None).tolist() == roc_auc_score(y, p, average=None).tolist()


@pytest.mark.parametrize("sharpness", [0.2, 3.0])
def test_temperature_keeps_the_most_probable_class_though_not_the_auroc_of_three(rng, sharpness):
    z, y = numbers(rng, sharpness=sharpness)
    p = softmax(z, axis=1)
    scaled = temperature(p, y, NAMES)(p)
    assert np.abs(scaled - p).max() > 0.1
    np.testing.assert_array_equal(scaled.argmax(axis=1), p.argmax(axis=1))
    np.testing.assert_allclose(scaled.sum(axis=1), 1)
    before, after = (roc_auc_score(y, each, multi_class="ovr") for each in (p, scaled))
    assert 1e-5 < abs(after - before) < 0.02

    two, first = softmax(z[:, :2], axis=1), y == 0
    scaled = temperature(two, 1 - first.astype(int), NAMES[:2])(two)
    assert roc_auc_score(first, scaled[:, 0]) == roc_auc_score(first, two[:, 0])


def test_vector_scaling_of_labels_is_unpenalised_logistic_regression_of_each(rng):
    z, y = labels(rng)
    found = vector(expit(z), y, NAMES).details
    for c, name in enumerate(NAMES):
        model = LogisticRegression(C=np.inf, tol=1e-10).fit(z[:, [c]], y[:, c])
        assert found["scale"][name] == pytest.approx(model.coef_[0, 0], rel=1e-3)
        assert found["bias"][name] == pytest.approx(model.intercept_[0], abs=1e-3)


def test_vector_scaling_of_exclusive_classes_is_at_the_least_log_loss(rng):
    z, y = numbers(rng)
    log_p = np.log(softmax(z, axis=1))
    found = vector(np.exp(log_p), y, NAMES).details
    parameters = [torch.tensor(list(found[key].values()), requires_grad=True) for key in ("scale", "bias")]
    scaled = parameters[0] * torch.tensor(log_p) + parameters[1]
    torch.nn.functional.cross_entropy(scaled, torch.tensor(y)).backward()
    assert all(parameter.grad.abs().max() < 1e-5 for parameter in parameters)
    np.testing.assert_allclose(vector(np.exp(log_p), y, NAMES)(np.exp(log_p)), scaled.softmax(1).detach(), atol=1e-3)


class Said(ClassifierMixin, BaseEstimator):
    """A classifier, fitted, that says of each row what the row says itself."""

    def __init__(self) -> None:
        self.classes_ = np.arange(3)

    def fit(self, x: Any, y: Any) -> Said:
        return self

    def decision_function(self, x: Any) -> Any:
        return x

    def predict(self, x: Any) -> Any:
        return x.argmax(axis=1)


@pytest.mark.parametrize(("scaler", "method"), [(platt, "sigmoid"), (isotonic, "isotonic")])
def test_platt_and_isotonic_scaling_are_scikit_learns(rng, scaler, method):
    z, y = numbers(rng)
    z_new, _ = numbers(rng)
    p, p_new = softmax(z, axis=1), softmax(z_new, axis=1)
    theirs = CalibratedClassifierCV(FrozenEstimator(Said()), method=method, ensemble=False, cv=2).fit(logit(p), y)
    np.testing.assert_allclose(
        scaler(p, y, NAMES)(p_new), theirs.predict_proba(logit(p_new)), atol=2e-3 if method == "isotonic" else 1e-4
    )


def test_platt_scaling_is_unpenalised_logistic_regression_where_labels_are_many(rng):
    z, y = labels(rng, 20_000)
    found = platt(expit(z), y, NAMES)(expit(z))
    for c in range(3):
        model = LogisticRegression(C=np.inf, tol=1e-10).fit(z[:, [c]], y[:, c])
        np.testing.assert_allclose(found[:, c], model.predict_proba(z[:, [c]])[:, 1], atol=1e-3)


def test_platt_scaling_of_few_labels_told_apart_stays_moderate():
    p, y = np.array([[0.1], [0.2], [0.8], [0.9]]), np.array([[0], [0], [1], [1]])
    np.testing.assert_allclose(platt(p, y, "a")(p)[[0, 3], 0], [0.25, 0.75], atol=0.1)


@pytest.mark.parametrize("scaler", SCALERS.values(), ids=SCALERS)
def test_scaling_mends_what_is_too_sure(rng, scaler):
    for make, link in ((labels, expit), (numbers, lambda z: softmax(z, axis=1))):
        z, y = make(rng, 4000, 3.0)
        p = link(z)
        before, after = measured(y, p), measured(y[2000:], scaler(p[:2000], y[:2000], NAMES)(p[2000:]))
        assert after["ece"]["value"] < before["ece"]["value"] / 2
        assert all(after[key]["value"] < before[key]["value"] for key in ("classwise_ece", "nll", "brier"))


@pytest.mark.parametrize("scaler", SCALERS.values(), ids=SCALERS)
@pytest.mark.parametrize("exclusive", [True, False])
def test_certain_probabilities_and_classes_without_examples_are_no_fault(rng, scaler, exclusive):
    y = rng.integers(0, 2, 50) if exclusive else np.c_[rng.integers(0, 2, 50), np.zeros(50, int), np.ones(50, int)]
    p = rng.dirichlet(np.ones(3), 50).astype(np.float32)
    p[0], p[1], p[2] = (1 + 1e-6, 0, 0), (0, 1, 0), (0, 0, 1)
    fitted = scaler(p, y, NAMES)
    scaled = fitted(p)
    assert np.isfinite(scaled).all() and scaled.min() >= 0 and scaled.max() <= 1 + 1e-5
    if exclusive:
        np.testing.assert_allclose(scaled.sum(axis=1), 1, atol=1e-5)
    if scaler is temperature:
        assert fitted.details["unscaled"] == []
        return
    left = [2] if exclusive else [1, 2]
    assert fitted.details["unscaled"] == [NAMES[c] for c in left]
    np.testing.assert_array_equal(scaled[:, left], p[:, left])
    assert np.abs(scaled - p).max() > 0.01


def test_nothing_is_learned_from_a_single_class(rng):
    p = rng.dirichlet(np.ones(3), 50)
    for scaler in (vector, platt, isotonic):
        fitted = scaler(p, np.ones(50, int), NAMES)
        assert fitted.details["unscaled"] == list(NAMES)
        np.testing.assert_array_equal(fitted(p), p)


# ---------------------------------------------------------------- whose labels are read


def setting(rng: np.random.Generator) -> Any:
    """200 test rows; 300 windows of 100 validation recordings."""
    _, y = labels(rng, 100)
    unit = np.repeat(np.arange(100), 3)
    held = Examples(unit, np.zeros(300, int), y[unit], np.ones(300, np.int8), unit=unit)
    data = SimpleNamespace(classes=NAMES, aggregate="mean", multi_label=True)
    return SimpleNamespace(data=data, truth=labels(rng, 200)[1], test_patient=np.arange(200), validation=held)


def recalibrated(setting: Any, said: Any, test: Any) -> Any:
    cell: Any = SimpleNamespace(part=lambda split: split)
    fitted: Any = SimpleNamespace(predict=lambda split: {"val": said}[split])
    return recalibrate(list(SCALERS), setting, cell, fitted, test, 0)


def test_scalers_read_the_labels_of_whole_validation_recordings_and_no_test_label(rng):
    given, said, test = setting(rng), rng.random((300, 3)), rng.random((200, 3))
    found = recalibrated(given, said, test)
    assert found.report["labels_used"] == 100
    joined, y = said.reshape(100, 3, 3).mean(axis=1), given.validation.y[::3]
    for name, scaler in SCALERS.items():
        np.testing.assert_allclose(found.probability[name], scaler(joined, y, NAMES)(test))

    garbled = SimpleNamespace(**{**vars(given), "truth": 1 - given.truth})
    other = SimpleNamespace(**{**vars(given), "validation": replace(given.validation, y=1 - given.validation.y)})
    unmoved, moved = (recalibrated(each, said, test) for each in (garbled, other))
    for name, p in found.probability.items():
        np.testing.assert_array_equal(unmoved.probability[name], p)
        assert np.abs(moved.probability[name] - p).max() > 0.01
    assert unmoved.report["none"] != found.report["none"]


# ---------------------------------------------------------------- a whole cell


@pytest.fixture(autouse=True)
def fresh_setting():
    question._setting.cache_clear()
    yield
    question._setting.cache_clear()


def config_of(evaluation: Any, folder: Path, *overrides: str) -> Any:
    fixed = ("protocol=knn", "protocol.beside=[]", "budget=10", "resamples=50", f"results_dir={folder}")
    return evaluation(overrides[0], *fixed, *overrides[1:])


def test_a_calibrated_cell_says_what_was_read_and_what_became_of_its_metrics(evaluation, tmp_path):
    config = config_of(evaluation, tmp_path, "ptbxl", ALL)
    folder = assess(config)
    result, scaled = read_result(folder), read_calibrated(folder)
    found = result["calibration"]
    setting = question.open_setting(config)
    assert found["labels_used"] == len(setting.validation.row) > 0
    assert result["labels"]["read"] == 10
    assert list(scaled) == list(SCALERS) and list(found) == ["labels_used", "none", *SCALERS]
    again = measure(setting.truth, read_predictions(folder).probability, result["classes"], setting.test_patient)
    assert found["none"]["brier"]["value"] == pytest.approx(again["brier"]["value"], rel=1e-5)
    for name, p in scaled.items():
        again = measure(setting.truth, p, result["classes"], setting.test_patient)
        assert found[name]["ece"]["value"] == pytest.approx(again["ece"]["value"], abs=1e-5)
        assert found[name]["metrics"].keys() == set(MACRO)
        assert result["calibration"][name]["details"]["unscaled"] == ([] if name == "temperature" else ["MI", "STTC"])
    for key in ("macro_auroc", "average_precision", "accuracy"):
        assert found["temperature"]["metrics"][key] == pytest.approx(result["metrics"][key]["value"])


def test_a_cell_without_scalers_reads_no_further_label_and_is_another_one(evaluation, tmp_path, monkeypatch):
    plain, none = (assess(config_of(evaluation, tmp_path, "ptbxl", *more)) for more in ((), ("calibration=[]",)))
    assert plain == none
    found = read_result(plain)["calibration"]
    assert found.keys() == {"labels_used", "none"} and found["labels_used"] == 0 and not read_calibrated(plain)
    asked = [assess(config_of(evaluation, tmp_path, "ptbxl", f"calibration={names}"))
             for names in ("[platt,isotonic]", "[isotonic,platt]", "[platt]")]  # fmt: skip
    assert asked[0] == asked[1] and len({plain, *asked}) == 3
    assert read_result(asked[2])["calibration"].keys() == {"labels_used", "none", "platt"}
    assert read_result(asked[2])["metrics"] == read_result(plain)["metrics"]


def test_a_result_from_before_there_was_calibration_is_made_again(evaluation, tmp_path):
    config = config_of(evaluation, tmp_path, "ptbxl")
    folder = assess(config)
    whole = read_result(folder)
    write_result(folder, {key: value for key, value in whole.items() if key not in ("schema", "calibration")})
    assert assess(config) == folder
    assert read_result(folder)["calibration"] == whole["calibration"]


def test_exclusive_classes_and_the_baselines_beside_are_calibrated_and_the_table_says_so(
    evaluation, tmp_path, monkeypatch, capsys
):
    divided = np.array([0, 0, 1, 2], np.int8)
    monkeypatch.setattr("ecg_lightning.data.mitbih.MITBIH.split_of_records", lambda self, store: divided)
    beats = ("mitbih", "data.task=binary", "protocol.beside=[prototype]")
    config = config_of(evaluation, tmp_path, *beats, ALL)
    folder = assess(config)
    held = len(question.open_setting(config).validation.row)
    for path, result in cells(results_folder(config)):
        scaled = read_calibrated(path)
        assert set(scaled) == set(SCALERS)
        assert all(np.allclose(p.sum(axis=1), 1, atol=1e-5) for p in scaled.values())
        assert result["calibration"]["labels_used"] == held > 10
    assert read_result(folder)["baselines"]["prototype"]["calibration"].keys() == {"labels_used", "none", *SCALERS}

    assess(config_of(evaluation, tmp_path, *beats))
    summarise_sweep(folder.parent)
    assert f"calibrated on {held} validation labels beyond the budget" in capsys.readouterr().out
    rows = [line for line in (folder.parent / "table.md").read_text().splitlines() if line.startswith("| MAE")]
    assert len(rows) == 4
    for scaled in ("none", "isotonic+platt+temperature+vector"):
        assert sum(f"(calibration {scaled})" in row for row in rows) == 2


def test_data_without_a_validation_split_are_told_before_anything_is_learned(evaluation, tmp_path, monkeypatch):
    monkeypatch.setattr(assessment, "build_protocol", None)
    config = config_of(evaluation, tmp_path, "mitbih", "data.task=binary", "calibration=[temperature]")
    with pytest.raises(
        UserError, match=r"calibration: data=mitbih has no labelled example in its validation split.*mitdb"
    ):
        assess(config)
    assert not list(cells(results_folder(config)))


@pytest.mark.parametrize("wrong", ["[temprature]", "temperature", "null", "[[platt]]"])
def test_what_is_no_scaler_is_told_by_its_key(evaluation, tmp_path, wrong):
    with pytest.raises(UserError, match=r"calibration=.*temperature, vector, platt, isotonic"):
        assess(config_of(evaluation, tmp_path, "ptbxl", f"calibration={wrong}"))


def test_predictions_without_labels_are_not_calibrated_in_silence(evaluation):
    with pytest.raises(UserError, match=r"calibration.*protocol=predict"):
        check_prediction(evaluation("ptbxl", "protocol=predict", "calibration=[platt]"))
