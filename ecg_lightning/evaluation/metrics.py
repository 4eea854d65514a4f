"""Every number of a result: classification metrics with bootstrap intervals over patients."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ecg_lightning.data.snomed import ChallengeWeights
from ecg_lightning.evaluation import confusion
from ecg_lightning.evaluation.aami import is_aami, j_kappa
from ecg_lightning.evaluation.bootstrap import (
    Floats,
    Resamples,
    Samples,
    draw_resamples,
    percentile_intervals,
    sums_by_group,
)
from ecg_lightning.evaluation.challenge import challenge_metric
from ecg_lightning.evaluation.decisions import decided_by_class, decided_by_label
from ecg_lightning.evaluation.fmax import fmax
from ecg_lightning.evaluation.predictions import check_predictions
from ecg_lightning.evaluation.ranking import weighted_ranking

Array = NDArray[Any]

MACRO = ("accuracy", "balanced_accuracy", "macro_f1", "macro_auroc", "average_precision")
"""The metrics of every task that say one number of all classes."""


CUT = 0.5
"""A label is decided for above this probability."""


class Judged(NamedTuple):
    """What is known of one set of predictions.

    Attributes:
        report: see `score`.
        resampled: (R,) each of `MACRO`, and the task's other metrics of all classes, in every resample; NaN where one
            is undefined. Two sets of predictions for the same rows meet the same resamples, so that their differences
            are paired.
    """

    report: dict[str, Any]
    resampled: dict[str, Floats]


def score(
    y: Array, probability: Array, classes: Sequence[str], groups: Array, *, resamples: int = 1000, seed: int = 0
) -> dict[str, Any]:
    """The report of `judge`."""
    return judge(y, probability, classes, groups, resamples=resamples, seed=seed).report


def judge(
    y: Array,
    probability: Array,
    classes: Sequence[str],
    groups: Array,
    *,
    resamples: int = 1000,
    seed: int = 0,
    challenge: ChallengeWeights | None = None,
) -> Judged:
    """All metrics of one set of predictions, each with a 95 % bootstrap interval over groups.

    | key | single-label `y: (N,)` | multi-label `y: (N, C)` |
    |---|---|---|
    | `accuracy` | share of rows whose most probable class is right | share of right decisions over rows and labels |
    | `balanced_accuracy` | mean recall over classes | mean over labels of (recall + specificity) / 2 |
    | `macro_f1`, `f1/CLASS` | of the most probable class | of decisions `probability > 0.5` |
    | `macro_auroc`, `auroc/CLASS` | each class against the rest | each label |
    | `average_precision`, `average_precision/CLASS` | each class against the rest | each label |
    | `kappa`, `mcc` | see `confusion` | |
    | `sensitivity/CLASS`, `specificity/CLASS`, `ppv/CLASS` | each class against the rest | |
    | `j_kappa` | where beats S and V are among the classes, see `aami` | |
    | `fmax` | | see `fmax` |
    | `challenge_metric` | | of decisions `probability > 0.5`, see `challenge` |

    A class without a positive row has no F1, recall, PPV, AUROC or average precision, even where it is predicted; one
    without a negative row has no AUROC and no specificity, one that is never predicted no PPV. Such values are None
    and left out of the macro means.

    Resamples draw groups, not rows, since the beats of one patient are alike; those that lose a class are drawn
    again (see `bootstrap.draw_resamples`). Where that cannot succeed, `resamples_kept` is 0: each interval then comes
    from the plain resamples that leave its metric defined, and is None where these are too few. An interval over few
    patients, or of a class that lives in one, is too narrow: read it as a lower bound of the uncertainty.

    Args:
        y: (N,) integers in [0, C), or (N, C) of 0 and 1. NumPy arrays or CPU tensors, as all others.
        probability: (N, C) real numbers in [0, 1].
        classes: the C names.
        groups: (N,) the patient (or record) of each row.
        resamples: number of bootstrap resamples; 0 for values alone.
        seed: of the bootstrap.
        challenge: how a challenge scored the classes, where they are one's.

    Returns:
        The report: each metric as `{"value": v, "low": l, "high": h}` (None where undefined); `undefined`, the keys of
        the metrics whose value is None; `confusion`, counts (C, C) with the truth in rows, multi-label (C, 2, 2);
        `resamples_kept`, the number of resamples that hold every class; `complete_share`, their share among all that
        were drawn: the smaller, the more the intervals depend on drawing again.

    Raises:
        UserError: shapes disagree, a probability is NaN or outside [0, 1], or `y` names no class.
    """
    y, probability, groups = np.asarray(y), np.asarray(probability), np.asarray(groups)
    check_predictions(y, probability, classes, groups)
    # Nobody is drawn where nothing is resampled: all rows may be one group.
    group_N = np.unique(groups, return_inverse=True)[1] if resamples else np.zeros(len(y), dtype=np.int64)
    truth_NC = y[:, None] == np.arange(len(classes)) if y.ndim == 1 else y.astype(bool)
    drawn, samples = _draw(truth_NC, group_N, resamples, seed)
    decisions = (_exclusive if y.ndim == 1 else _independent)(y, probability, classes, samples)
    auroc_RC, precision_RC = weighted_ranking(truth_NC, probability, samples)
    overall = {
        "accuracy": decisions.accuracy,
        "balanced_accuracy": _macro(decisions.recall),
        "macro_f1": _macro(decisions.by_class["f1"]),
        "macro_auroc": _macro(auroc_RC),
        "average_precision": _macro(precision_RC),
        **decisions.overall,
    }
    if challenge is not None:
        overall["challenge_metric"] = challenge_metric(truth_NC, probability > CUT, classes, challenge, samples)
    by_class = {**decisions.by_class, "auroc": auroc_RC, "average_precision": precision_RC}
    metrics = overall | {
        f"{name}/{label}": values_RC[:, c] for name, values_RC in by_class.items() for c, label in enumerate(classes)
    }
    report: dict[str, Any] = _with_intervals(metrics)
    report |= {
        "undefined": [name for name, metric in report.items() if metric["value"] is None],
        "confusion": decisions.confusion,
        "resamples_kept": drawn.counts.shape[1] if drawn.complete else 0,
        "complete_share": drawn.complete_share,
    }
    return Judged(report, {name: values_R[1:] for name, values_R in overall.items()})


def _draw(truth_NC: Array, group_N: Array, resamples: int, seed: int) -> tuple[Resamples, Samples]:
    """Resamples that hold every class and, if possible, its opposite; samples have the test set itself before them."""
    groups = group_N.max() + 1
    holds_GM = np.concatenate([sums_by_group(side, group_N, groups) > 0 for side in (truth_NC, ~truth_NC)], axis=1)
    drawn = draw_resamples(holds_GM, resamples, seed)
    return drawn, Samples(group_N, np.concatenate([np.ones((1, groups)), drawn.counts.T]))


class _Decisions(NamedTuple):
    """What decisions are worth in each sample.

    Attributes:
        accuracy: (R,).
        recall: (R, C) what balanced accuracy is the mean of.
        by_class: (R, C) each metric of a class.
        overall: (R,) the task's own metrics of all classes.
        confusion: counts of the test set itself.
    """

    accuracy: Floats
    recall: Floats
    by_class: dict[str, Floats]
    overall: dict[str, Floats]
    confusion: list[Any]


def _exclusive(y_N: Array, probability_NC: Array, classes: Sequence[str], samples: Samples) -> _Decisions:
    """Of classes that exclude one another, the most probable is decided for."""
    decision_N = probability_NC.argmax(axis=1)
    matrix_RCC = confusion.resampled(y_N, decision_N, len(classes), samples)
    decided = decided_by_class(matrix_RCC)
    by_class = {name: getattr(decided, name) for name in ("f1", "sensitivity", "specificity", "ppv")}
    overall = {"kappa": confusion.kappa(matrix_RCC), "mcc": confusion.mcc(matrix_RCC)}
    overall["kappa"][0] = confusion.measured_kappa(y_N, decision_N, len(classes))
    if is_aami(classes):
        overall["j_kappa"] = j_kappa(matrix_RCC, classes)
    accuracy_R = decided.hit.sum(axis=1) / decided.rows[:, 0]
    counts = confusion.counts(y_N, decision_N, len(classes))
    return _Decisions(accuracy_R, decided.sensitivity, by_class, overall, counts)


def _independent(y_NC: Array, probability_NC: Array, classes: Sequence[str], samples: Samples) -> _Decisions:
    """Each label is decided for or against by itself."""
    truth_NC, decision_NC = y_NC.astype(bool), probability_NC > CUT
    decided = decided_by_label(truth_NC, decision_NC, samples)
    accuracy_R = ((decided.hit + decided.rejected) / decided.rows).mean(axis=1)
    recall_RC = (decided.sensitivity + decided.specificity) / 2
    overall = {"fmax": fmax(truth_NC, probability_NC, samples)}
    counts = confusion.counts(y_NC, decision_NC, len(classes))
    return _Decisions(accuracy_R, recall_RC, {"f1": decided.f1}, overall, counts)


def _macro(values_RC: Floats) -> Floats:
    """Mean over the classes that are defined on the test set itself, row 0; NaN where a resample lacks one of them."""
    defined_RC = values_RC[:, ~np.isnan(values_RC[0])]
    return defined_RC.mean(axis=1) if defined_RC.size else values_RC[:, 0]


def _with_intervals(metrics: dict[str, Floats]) -> dict[str, dict[str, float | None]]:
    """The test set's own value of each metric, its first, with the interval of the others."""
    values_RM = np.stack(list(metrics.values()), axis=1)
    report: dict[str, dict[str, float | None]] = {}
    for name, value, interval in zip(metrics, values_RM[0].tolist(), percentile_intervals(values_RM[1:]), strict=True):
        ends: tuple[float | None, ...] = (None, None, None) if np.isnan(value) else (value, *(interval or (None, None)))
        report[name] = dict(zip(("value", "low", "high"), ends, strict=True))
    return report
