"""Every number of a result: classification metrics with bootstrap intervals over patients."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ecg_lightning.errors import UserError
from ecg_lightning.evaluation.bootstrap import Floats, draw_resamples, percentile_interval, weighted_ranking

Array = NDArray[Any]

MACRO = ("accuracy", "balanced_accuracy", "macro_f1", "macro_auroc", "average_precision")
"""The metrics that say one number of all classes."""


class Judged(NamedTuple):
    """What is known of one set of predictions.

    Attributes:
        report: see `score`.
        resampled: (R,) each of `MACRO` in every resample, NaN where it is undefined. Two sets of predictions for the
            same rows meet the same resamples, so that their differences are paired.
    """

    report: dict[str, Any]
    resampled: dict[str, Floats]


def score(
    y: Array, probability: Array, classes: Sequence[str], groups: Array, *, resamples: int = 1000, seed: int = 0
) -> dict[str, Any]:
    """The report of `judge`."""
    return judge(y, probability, classes, groups, resamples=resamples, seed=seed).report


def judge(
    y: Array, probability: Array, classes: Sequence[str], groups: Array, *, resamples: int = 1000, seed: int = 0
) -> Judged:
    """All metrics of one set of predictions, each with a 95 % bootstrap interval over groups.

    | key | single-label `y: (N,)` | multi-label `y: (N, C)` |
    |---|---|---|
    | `accuracy` | share of rows whose most probable class is right | share of right decisions over rows and labels |
    | `balanced_accuracy` | mean recall over classes | mean over labels of (recall + specificity) / 2 |
    | `macro_f1`, `f1/CLASS` | of the most probable class | of decisions `probability > 0.5` |
    | `macro_auroc`, `auroc/CLASS` | each class against the rest | each label |
    | `average_precision`, `average_precision/CLASS` | each class against the rest | each label |

    A class without a positive row has no F1, recall, AUROC or average precision, even where it is predicted; one
    without a negative row has no AUROC and no specificity. Such values are None and left out of the macro means.

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

    Returns:
        The report: each metric as `{"value": v, "low": l, "high": h}` (None where undefined); `undefined`, the keys of
        the metrics whose value is None; `resamples_kept`, the number of resamples that hold every class;
        `complete_share`, their share among all that were drawn: the smaller, the more the intervals depend on drawing
        again.

    Raises:
        UserError: shapes disagree, a probability is NaN or outside [0, 1], or `y` names no class.
    """
    y, probability, groups = np.asarray(y), np.asarray(probability), np.asarray(groups)
    _check(y, probability, classes, groups)
    single_label = y.ndim == 1
    truth_NC = _one_hot(y, len(classes)) if single_label else y.astype(bool)
    decision_NC = _one_hot(probability.argmax(axis=1), len(classes)) if single_label else probability > 0.5
    group_N = np.unique(groups, return_inverse=True)[1]

    counts = _count(truth_NC, decision_NC, group_N)
    drawn = draw_resamples(np.concatenate([counts.true > 0, counts.true < counts.rows], axis=1), resamples, seed)
    weights_GR = _weights(drawn.counts, counts.rows)
    f1_RC, recall_RC, specificity_RC, accuracy_R = _decision_metrics(counts, weights_GR, single_label)
    auroc_RC, precision_RC = _ranking_metrics(truth_NC, probability, group_N, weights_GR)

    metrics = {
        "accuracy": accuracy_R,
        "balanced_accuracy": _macro(recall_RC if single_label else (recall_RC + specificity_RC) / 2),
        "macro_f1": _macro(f1_RC),
        "macro_auroc": _macro(auroc_RC),
        "average_precision": _macro(precision_RC),
    }
    for name, values_RC in {"f1": f1_RC, "auroc": auroc_RC, "average_precision": precision_RC}.items():
        metrics |= {f"{name}/{label}": values_RC[:, c] for c, label in enumerate(classes)}
    report: dict[str, Any] = {name: _with_interval(values_R) for name, values_R in metrics.items()}
    report |= {
        "undefined": [name for name, metric in report.items() if metric["value"] is None],
        "resamples_kept": drawn.counts.shape[1] if drawn.complete else 0,
        "complete_share": drawn.complete_share,
    }
    return Judged(report, {name: metrics[name][1:] for name in MACRO})


class _Counts(NamedTuple):
    """Rows of each group: all (G, 1), of each class, decided to be of it, and both (G, C)."""

    rows: Floats
    true: Floats
    decided: Floats
    hit: Floats


def _count(truth_NC: Array, decision_NC: Array, group_N: Array) -> _Counts:
    """Count rows by group: sort by group, then add up each run."""
    order = np.argsort(group_N, kind="stable")
    starts = np.searchsorted(group_N[order], np.arange(group_N.max() + 1))
    columns = (np.ones_like(truth_NC[:, :1]), truth_NC, decision_NC, truth_NC & decision_NC)
    return _Counts(*(np.add.reduceat(column[order], starts, axis=0, dtype=np.float64) for column in columns))


def _weights(counts_GR: Array, rows_G1: Floats) -> Floats:
    """Weights of the test set itself, in which every group counts once, followed by those of its resamples."""
    weights_GR = np.concatenate([np.ones((len(counts_GR), 1), dtype=np.int64), counts_GR], axis=1)
    # float32 is twice as fast, and still counts exactly up to 2**24.
    exact = np.float32 if (rows_G1.T @ weights_GR).max() < 2**24 else np.float64
    return weights_GR.astype(exact, order="C")


def _decision_metrics(counts: _Counts, weights_GR: Floats, single_label: bool) -> tuple[Floats, Floats, Floats, Floats]:
    """F1, recall and specificity (R, C), NaN where undefined, and accuracy (R,) of each resample."""
    weights_RG = weights_GR.T.astype(np.float64)
    rows, true, decided, hit = (weights_RG @ count for count in counts)
    rejected = rows - true - decided + hit
    accuracy = hit.sum(axis=1) / rows[:, 0] if single_label else ((hit + rejected) / rows).mean(axis=1)
    with np.errstate(invalid="ignore"):
        f1 = np.where(true > 0, 2 * hit / (true + decided), np.nan)
        return f1, hit / true, rejected / (rows - true), accuracy


def _ranking_metrics(
    truth_NC: Array, probability_NC: Array, group_N: Array, weights_GR: Floats
) -> tuple[Floats, Floats]:
    """AUROC and average precision (R, C), NaN where undefined, of each resample."""
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    # The products are too small to share among cores: the classes are shared instead.
    with threadpool_limits(1, user_api="blas"), ThreadPoolExecutor() as pool:
        rank = partial(weighted_ranking, group_N=group_N, weights_GR=weights_GR)
        auroc_CR, precision_CR = zip(*pool.map(rank, truth_NC.T, probability_NC.T), strict=True)
    return np.stack(auroc_CR, axis=1), np.stack(precision_CR, axis=1)


def _macro(values_RC: Floats) -> Floats:
    """Mean over the classes that are defined on the test set itself, row 0; NaN where a resample lacks one of them."""
    defined_RC = values_RC[:, ~np.isnan(values_RC[0])]
    return defined_RC.mean(axis=1) if defined_RC.size else values_RC[:, 0]


def _with_interval(values_R: Floats) -> dict[str, float | None]:
    """The test set's own value, first of `values_R`, with the interval of the others."""
    value = float(values_R[0])
    if np.isnan(value):
        return {"value": None, "low": None, "high": None}
    low, high = percentile_interval(values_R[1:]) or (None, None)
    return {"value": value, "low": low, "high": high}


def _one_hot(index_N: Array, classes: int) -> NDArray[np.bool_]:
    hot: NDArray[np.bool_] = index_N[:, None] == np.arange(classes)
    return hot


def _check(y: Array, probability: Array, classes: Sequence[str], groups: Array) -> None:
    """Raise the one UserError that fits, if any."""
    n, c = len(y) if y.ndim else 0, len(classes)
    if n == 0 or probability.shape != (n, c):
        raise UserError(f"probability: shape {probability.shape} must be (rows of y, classes) = ({n}, {c}), not empty")
    if y.shape not in ((n,), (n, c)):
        raise UserError(f"y: shape {y.shape} must be ({n},) for single-label or ({n}, {c}) for multi-label")
    if groups.shape != (n,):
        raise UserError(f"groups: shape {groups.shape} must be ({n},), one patient or record for each row")
    if len(set(classes)) != c:
        raise UserError(f"classes: {list(classes)} names a class twice; give each its own name")
    if not np.issubdtype(y.dtype, np.integer) and y.dtype != bool:
        raise UserError(f"y: {y.dtype} must be integers or bool; convert class names or probabilities first")
    highest = c - 1 if y.ndim == 1 else 1
    if y.min() < 0 or y.max() > highest:
        raise UserError(f"y: values {y.min()}..{y.max()} must lie within 0..{highest}; check the order of `classes`")
    if np.isnan(probability).any():
        rows = int(np.isnan(probability).any(axis=1).sum())
        raise UserError(f"probability: NaN in {rows} of {n} rows; the model diverged, look at its training loss")
    # A mean of float32 probabilities may pass 1 by rounding.
    if probability.min() < 0 or probability.max() > 1 + 1e-6:
        low, high = probability.min(), probability.max()
        raise UserError(f"probability: values {low:.4g}..{high:.4g} must lie within 0..1; apply softmax or sigmoid")
