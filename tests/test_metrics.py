"""The report against scikit-learn, torchmetrics, published predictions, and a bootstrap that really repeats rows."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.stats import binom
from sklearn import metrics as sk
from torchmetrics import functional as tm

from ecg_lightning.errors import UserError
from ecg_lightning.evaluation.bootstrap import LEAST_RESAMPLES, Samples, draw_resamples
from ecg_lightning.evaluation.metrics import MACRO, judge, score
from ecg_lightning.evaluation.ranking import weighted_ranking

CLASSES = ["N", "S", "V", "F"]
Case = tuple[NDArray[Any], NDArray[Any], NDArray[Any]]


def single_label(rows: int = 400, groups: int = 12, seed: int = 0) -> Case:
    rng = np.random.default_rng(seed)
    y = rng.choice(4, rows, p=[0.6, 0.2, 0.15, 0.05])
    probability = rng.dirichlet(np.ones(4), rows) + np.eye(4)[y] * rng.random((rows, 1))
    probability = (probability / probability.sum(1, keepdims=True)).astype(np.float32)
    return y, probability, rng.integers(groups, size=rows)


def multi_label(rows: int = 400, groups: int = 12, seed: int = 0) -> Case:
    rng = np.random.default_rng(seed)
    y = (rng.random((rows, 4)) < [0.5, 0.3, 0.1, 0.03]).astype(np.uint8)
    probability = np.clip(rng.random((rows, 4)) * 0.8 + 0.2 * y, 0, 1).round(2).astype(np.float32)
    return y, probability, rng.integers(groups, size=rows)


def of_exclusive_classes(y: NDArray[Any], decision: NDArray[Any]) -> dict[str, float]:
    named = {"kappa": sk.cohen_kappa_score(y, decision), "mcc": sk.matthews_corrcoef(y, decision)}
    for c, label in enumerate(CLASSES):
        named[f"sensitivity/{label}"] = (decision[y == c] == c).mean()
        named[f"specificity/{label}"] = (decision[y != c] != c).mean()
        named[f"ppv/{label}"] = (y[decision == c] == c).mean()
    return named


def by_scikit_learn(y: NDArray[Any], probability: NDArray[Any]) -> dict[str, float]:
    """The metrics of `score`, one class after the other, for data that leave none undefined."""
    truth = y if y.ndim == 2 else np.eye(4, dtype=int)[y]
    decision = probability > 0.5 if y.ndim == 2 else np.eye(4, dtype=int)[probability.argmax(1)]
    per_class = {
        "f1": [sk.f1_score(truth[:, c], decision[:, c]) for c in range(4)],
        "auroc": [sk.roc_auc_score(truth[:, c], probability[:, c]) for c in range(4)],
        "average_precision": [sk.average_precision_score(truth[:, c], probability[:, c]) for c in range(4)],
    }
    labelwise = [sk.balanced_accuracy_score(truth[:, c], decision[:, c]) for c in range(4)]
    single = sk.balanced_accuracy_score(y, probability.argmax(1)) if y.ndim == 1 else None
    return {
        "accuracy": (truth == decision).mean() if y.ndim == 2 else sk.accuracy_score(y, probability.argmax(1)),
        "balanced_accuracy": np.mean(labelwise) if single is None else single,
        "macro_f1": np.mean(per_class["f1"]),
        "macro_auroc": np.mean(per_class["auroc"]),
        "average_precision": np.mean(per_class["average_precision"]),
        **(of_exclusive_classes(y, probability.argmax(1)) if y.ndim == 1 else {}),
        **{
            f"{name}/{label}": v for name, values in per_class.items() for label, v in zip(CLASSES, values, strict=True)
        },
    }


@pytest.mark.parametrize("case", [single_label, multi_label])
def test_values_and_intervals_equal_a_loop_that_repeats_rows(case: Any) -> None:
    y, probability, groups = case()
    truth = y if y.ndim == 2 else np.eye(4, dtype=int)[y]
    positives = np.stack([truth[groups == g].sum(0) for g in range(12)])
    holds = np.concatenate([positives > 0, positives < np.bincount(groups)[:, None]], 1)
    report = score(y, probability, CLASSES, groups, resamples=42, seed=3)
    resamples = []
    for counts_G in draw_resamples(holds, 42, seed=3).counts.T:
        rows = np.concatenate([np.flatnonzero(groups == g) for g in np.repeat(np.arange(12), counts_G)])
        resamples.append(by_scikit_learn(y[rows], probability[rows]))
    for name, value in by_scikit_learn(y, probability).items():
        low, high = np.percentile([resample[name] for resample in resamples], [2.5, 97.5])
        assert report[name] == pytest.approx({"value": value, "low": low, "high": high}, abs=1e-6), name
    assert report["undefined"] == [] and report["resamples_kept"] == 42


def test_single_label_values_equal_torchmetrics() -> None:
    y, probability, groups = map(torch.from_numpy, single_label())
    report = score(y, probability, CLASSES, groups, resamples=0)
    expected = {
        "accuracy": tm.accuracy(probability, y, "multiclass", num_classes=4),
        "balanced_accuracy": tm.recall(probability, y, "multiclass", num_classes=4, average="macro"),
        "macro_f1": tm.f1_score(probability, y, "multiclass", num_classes=4, average="macro"),
        "macro_auroc": tm.auroc(probability, y, "multiclass", num_classes=4),
        "average_precision": tm.average_precision(probability, y, "multiclass", num_classes=4),
    }
    per_class = tm.f1_score(probability, y, "multiclass", num_classes=4, average="none")
    expected |= {f"f1/{label}": value for label, value in zip(CLASSES, per_class, strict=True)}
    for name, value in expected.items():
        assert report[name] == {"value": pytest.approx(float(value), abs=1e-6), "low": None, "high": None}, name


def test_multi_label_values_equal_torchmetrics() -> None:
    y, probability, groups = multi_label()
    report = score(y, probability, CLASSES, groups, resamples=0)
    predicted, truth = torch.from_numpy(probability), torch.from_numpy(y.astype(int))
    recall = tm.recall(predicted, truth, "multilabel", num_labels=4, average="macro")
    specificity = tm.specificity(predicted, truth, "multilabel", num_labels=4, average="macro")
    expected = {
        "accuracy": tm.accuracy(predicted, truth, "multilabel", num_labels=4),
        "balanced_accuracy": (recall + specificity) / 2,
        "macro_f1": tm.f1_score(predicted, truth, "multilabel", num_labels=4, average="macro"),
        "macro_auroc": tm.auroc(predicted, truth, "multilabel", num_labels=4),
        "average_precision": tm.average_precision(predicted, truth, "multilabel", num_labels=4),
    }
    for name, value in expected.items():
        assert report[name]["value"] == pytest.approx(float(value), abs=1e-6), name


def test_a_class_without_rows_is_undefined_even_where_it_is_predicted() -> None:
    y, probability, groups = single_label()
    keep = y != 3
    report = score(y[keep], probability[keep], CLASSES, groups[keep], resamples=50)
    assert (probability[keep].argmax(1) == 3).any()
    names = ("f1", "sensitivity", "ppv", "auroc", "average_precision")
    assert report["undefined"] == [f"{name}/F" for name in names]
    assert report["auroc/F"] == {"value": None, "low": None, "high": None}
    present = sk.f1_score(y[keep], probability[keep].argmax(1), average="macro", labels=[0, 1, 2])
    assert report["macro_f1"]["value"] == pytest.approx(present)
    assert report["macro_auroc"]["value"] == pytest.approx(np.mean([report[f"auroc/{c}"]["value"] for c in "NSV"]))
    assert report["resamples_kept"] == 50


def test_a_label_that_every_row_has_leaves_only_auroc_undefined() -> None:
    y, probability, groups = multi_label()
    y[:, 0] = 1
    report = score(y, probability, CLASSES, groups, resamples=50)
    assert report["undefined"] == ["auroc/N"]
    assert report["average_precision/N"] == {"value": 1.0, "low": 1.0, "high": 1.0}


def test_one_class_alone_has_no_macro_auroc() -> None:
    report = score(np.zeros(50, int), np.full((50, 2), 0.5), ["N", "V"], np.arange(50), resamples=50)
    assert report["macro_auroc"]["value"] is None and "macro_auroc" in report["undefined"]
    assert report["accuracy"] == {"value": 1.0, "low": 1.0, "high": 1.0}


def test_interval_of_patients_who_are_all_right_or_all_wrong_is_binomial() -> None:
    patients, beats, right = 50, 20, 30
    groups = np.repeat(np.arange(patients), beats)
    y = np.tile([0, 1], patients * beats // 2)
    guess = np.where(groups < right, y, 1 - y)
    report = score(y, np.eye(2)[guess], ["N", "V"], groups, resamples=20_000)
    low, high = binom.ppf([0.025, 0.975], patients, right / patients) / patients
    assert report["accuracy"] == pytest.approx({"value": 0.6, "low": low, "high": high}, abs=1e-9)


def test_resamples_follow_the_conditional_distribution() -> None:
    holds = np.array([[1, 0], [1, 0], [0, 1], [0, 0], [0, 0], [0, 0]], dtype=bool)
    every = np.array(list(itertools.product(range(6), repeat=6)))
    counts = (every[:, :, None] == np.arange(6)).sum(1)
    complete = (counts @ holds > 0).all(1)
    drawn = draw_resamples(holds, 40_000, seed=0)
    assert drawn.complete and ((drawn.counts.T @ holds) > 0).all()
    assert (drawn.counts.sum(0) == 6).all()
    assert drawn.complete_share == pytest.approx(complete.mean(), abs=0.01)
    np.testing.assert_allclose(drawn.counts.mean(1), counts[complete].mean(0), atol=0.03)
    np.testing.assert_allclose(np.cov(drawn.counts), np.cov(counts[complete].T), atol=0.05)


def test_seed_decides_the_resamples() -> None:
    case = single_label()
    first, again, other = (score(*case[:2], CLASSES, case[2], resamples=50, seed=s) for s in (0, 0, 1))
    assert first == again
    assert first["accuracy"]["value"] == other["accuracy"]["value"] and first["accuracy"] != other["accuracy"]


def test_different_predictions_for_the_same_rows_meet_the_same_resamples() -> None:
    """Where one is right the other is wrong: were they not paired, their accuracies would not add up to 1."""
    rng = np.random.default_rng(0)
    y, groups = rng.integers(2, size=300), rng.integers(20, size=300)
    guess = np.where(rng.random(300) < 0.8, y, 1 - y)
    ours, theirs = (judge(y, np.eye(2)[g], ["N", "V"], groups, resamples=60).resampled for g in (guess, 1 - guess))
    assert ours.keys() == theirs.keys() >= set(MACRO)
    assert len(ours["accuracy"]) == 60 and ours["accuracy"].std() > 0
    np.testing.assert_allclose(ours["accuracy"] + theirs["accuracy"], 1)
    np.testing.assert_allclose(ours["macro_auroc"] + theirs["macro_auroc"], 1)


@pytest.mark.parametrize("case", [single_label, multi_label])
def test_the_report_is_plain_json_with_every_metric_of_one_shape(case: Any) -> None:
    y, probability, groups = case()
    report = score(y, probability, CLASSES, groups, resamples=50)
    assert json.loads(json.dumps(report, allow_nan=False)) == report
    others = {"undefined", "confusion", "resamples_kept", "complete_share"}
    assert all(report[name].keys() == {"value", "low", "high"} for name in report.keys() - others)
    assert set(MACRO) < report.keys() and ("kappa" in report) == ("fmax" not in report) == (y.ndim == 1)


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 2**32), multi=st.booleans())
def test_values_equal_torchmetrics_wherever_it_defines_them(seed: int, multi: bool) -> None:
    rng = np.random.default_rng(seed)
    rows = int(rng.integers(2, 60))
    y = (
        (rng.random((rows, 3)) < rng.random(3)).astype(int)
        if multi
        else rng.choice(3, rows, p=rng.dirichlet(np.ones(3)))
    )
    probability = rng.integers(8, size=(rows, 3)) / 8 if multi else rng.dirichlet(np.ones(3), rows).round(2)
    report = score(y, probability, list("abc"), np.arange(rows), resamples=0)
    how: dict[str, Any] = {"task": "multilabel", "num_labels": 3} if multi else {"task": "multiclass", "num_classes": 3}
    given = torch.from_numpy(probability), torch.from_numpy(y)
    theirs = {"f1": tm.f1_score(*given, **how, average="none"), "auroc": tm.auroc(*given, **how, average="none"),
              "average_precision": tm.average_precision(*given, **how, average="none")}  # fmt: skip
    truth = y if multi else np.eye(3, dtype=int)[y]
    for c, label in enumerate("abc"):
        here, elsewhere = truth[:, c].any(), not truth[:, c].all()
        for name, defined in (("f1", here), ("auroc", here and elsewhere), ("average_precision", here)):
            expected = pytest.approx(float(theirs[name][c]), abs=1e-6) if defined else None
            assert report[f"{name}/{label}"]["value"] == expected, (name, label)
    assert report["accuracy"]["value"] == pytest.approx(float(tm.accuracy(*given, **how, average="micro")), abs=1e-6)


def test_one_class_in_each_patient_falls_back_to_plain_resamples() -> None:
    classes = list("abcdefg")
    y = np.repeat(np.arange(7), 10)
    probability = np.random.default_rng(0).dirichlet(np.ones(7), 70)
    report = score(y, probability, classes, y, resamples=500)
    assert report["resamples_kept"] == 0 and report["complete_share"] < 0.02
    assert report["macro_f1"]["value"] is not None and report["macro_f1"]["low"] is None
    assert report["accuracy"]["low"] < report["accuracy"]["value"] < report["accuracy"]["high"]
    assert report["auroc/a"]["low"] is not None


@pytest.mark.parametrize("groups", [1, 4])
def test_few_patients_have_no_interval(groups: int) -> None:
    y, probability, _ = single_label()
    report = score(y, probability, CLASSES, np.arange(400) % groups)
    assert report["accuracy"]["value"] is not None
    assert report["accuracy"]["low"] is None and report["resamples_kept"] == 0
    assert len(set(itertools.combinations_with_replacement(range(4), 4))) < LEAST_RESAMPLES


def _nan(p: NDArray[Any]) -> NDArray[Any]:
    return np.where(np.arange(len(p))[:, None] == 5, np.nan, p)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"probability": _nan}, "NaN in 1 of 400 rows"),
        ({"probability": lambda p: p * 20 - 3}, "apply softmax"),
        ({"probability": lambda p: p[:, :3]}, r"probability: shape \(400, 3\)"),
        ({"probability": lambda p: p[:, 0]}, r"probability: shape \(400,\)"),
        ({"y": lambda y: y[:-1]}, "probability: shape"),
        ({"y": lambda y: y[:, None]}, "y: shape"),
        ({"y": lambda y: y + 1}, r"y: values 1\.\.4"),
        ({"y": lambda y: y - 1}, r"y: values -1\.\.2"),
        ({"y": lambda y: y.astype(float)}, "y: float64"),
        ({"y": lambda y: np.eye(4, dtype=int)[y] * 2}, r"y: values 0\.\.2"),
        ({"groups": lambda g: g[:-1]}, "groups: shape"),
        ({"classes": lambda c: ["N", "N", "V", "F"]}, "names a class twice"),
        ({"y": lambda y: y[:0], "probability": lambda p: p[:0], "groups": lambda g: g[:0]}, "not empty"),
    ],
)
def test_bad_input_is_one_clear_error(change: dict[str, Any], message: str) -> None:
    y, probability, groups = single_label()
    given: dict[str, Any] = {"y": y, "probability": probability, "classes": CLASSES, "groups": groups}
    given |= {name: spoil(given[name]) for name, spoil in change.items()}
    with pytest.raises(UserError, match=message):
        score(**given)


@pytest.mark.realdata
def test_published_predictions_have_their_published_metrics(data_root: Path) -> None:
    path = data_root.parent / "oracles" / "ptbxl_xresnet1d101_fold10.npz"
    if not path.exists():
        pytest.skip(f"{path.name} is missing")
    published = np.load(path)
    targets, scores, drawn_RN = published["targets"], published["scores"], published["bootstrap_ids"]
    records, labels = targets.shape
    report = score(targets, scores, [str(i) for i in range(labels)], np.arange(records), resamples=50)
    assert report["macro_auroc"]["value"] == pytest.approx(0.92544, abs=5e-6)
    assert report["average_precision"]["value"] == pytest.approx(0.3706, abs=5e-5)
    assert report["fmax"]["value"] == pytest.approx(0.7640877628838272, abs=1e-12)  # te_results.csv beside them
    assert report["resamples_kept"] == 50 and 0.05 < report["complete_share"] < 0.15

    counts = np.stack([np.bincount(ids, minlength=records) for ids in drawn_RN]).astype(float)
    auroc_RC, _ = weighted_ranking(targets > 0, scores, Samples(np.arange(records), counts))
    np.testing.assert_allclose(np.percentile(auroc_RC.mean(1), [5, 95]), [0.9185, 0.9315], atol=5e-5)
