"""ROC and precision-recall curves averaged over classes, in every bootstrap resample of the patients."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ecg_lightning.evaluation.bootstrap import draw_resamples

Floats = NDArray[np.floating[Any]]

RATES = np.linspace(0, 1, 201)
"""The K places where the curves of classes are averaged: false positive rates, and recalls."""

MOST_THRESHOLDS = 500
"""Of one class; where it has more positives their quantiles, an error of 1/500 of its recall at most."""

CLOSE = 1e-9  # recalls are counts over counts: nearer than that they are the same


class MeanCurves(NamedTuple):
    """Means over classes at `RATES`, NaN where a resample lacks a class.

    Attributes:
        roc: (1 + R, K) true positive rate, first of the test set itself, then of its resamples.
        precision: (1 + R, K) likewise, at recalls.
    """

    roc: Floats
    precision: Floats


def mean_curves(truth_MC: NDArray[np.bool_], score_MC: Floats, groups: NDArray[Any], resamples: int) -> MeanCurves:
    """Average curves upright, so that the areas below the means are the macro AUROC and macro average precision.

    Args:
        truth_MC: (M, C), each class with and without.
        score_MC: (M, C), higher for the class.
        groups: (M,) the patient of each row; resamples draw patients, the same as `metrics.judge` draws.
        resamples: number of them.
    """
    group_M = np.unique(groups, return_inverse=True)[1]
    holds_GM = np.zeros((group_M.max() + 1, 2 * truth_MC.shape[1]), bool)
    np.logical_or.at(holds_GM, group_M, np.hstack([truth_MC, ~truth_MC]))
    counts_GR = draw_resamples(holds_GM, resamples, seed=0).counts
    weights_RG = np.vstack([np.ones(len(counts_GR)), counts_GR.T]).astype(np.float32)
    total = np.zeros((2, len(weights_RG), len(RATES)))
    for truth_M, score_M in zip(truth_MC.T, score_MC.T, strict=True):
        total += _curves(truth_M, score_M, group_M, weights_RG)
    return MeanCurves(*(total / max(truth_MC.shape[1], 1)))


def _curves(truth_M: NDArray[np.bool_], score_M: Floats, group_M: NDArray[np.int64], weights_RG: Floats) -> Floats:
    """(2, R, K) ROC and precision of one class under each weighting of the groups: rows are counted by group once."""
    positive = np.unique(score_M[truth_M])
    if len(positive) > MOST_THRESHOLDS:
        positive = np.unique(np.quantile(positive, np.linspace(0, 1, MOST_THRESHOLDS), method="nearest"))
    # Negatives above a positive and those tied with it fall apart.
    edges = np.unique(np.concatenate([positive, np.nextafter(positive, np.inf, dtype=positive.dtype)]))
    place_M = 1 + len(edges) - np.searchsorted(edges, score_M, side="right")  # 0 is left free: curves begin at (0, 0)
    shape = (weights_RG.shape[1], len(edges) + 2)
    cell_M = group_M * shape[1] + place_M

    def above(weight_M: NDArray[Any] | None) -> Floats:
        counts_GT = np.bincount(cell_M, weight_M, shape[0] * shape[1]).reshape(shape).astype(np.float32)
        summed: Floats = (weights_RG @ counts_GT).cumsum(axis=1, dtype=np.float64)
        return summed

    true_RT, all_RT = above(truth_M), above(None)
    false_RT = all_RT - true_RT
    with np.errstate(invalid="ignore", divide="ignore"):
        rates = zip(false_RT / false_RT[:, -1:], true_RT / true_RT[:, -1:], true_RT / all_RT, strict=True)
    return np.stack([(_rising(false, true), _stepped(true, right)) for false, true, right in rates], axis=1)


def _rising(false_T: Floats, true_T: Floats) -> Floats:
    """A ROC curve; at a place where it rises upright, its upper end."""
    if np.isnan(false_T[-1] + true_T[-1]):
        return np.full(len(RATES), np.nan)
    return np.asarray(np.interp(RATES, false_T, true_T))


def _stepped(recall_T: Floats, precision_T: Floats) -> Floats:
    """The precision at the first threshold that reaches a recall: what average precision adds up."""
    if np.isnan(recall_T[-1]):
        return np.full(len(RATES), np.nan)
    return np.asarray(precision_T[np.searchsorted(recall_T, np.maximum(RATES - CLOSE, CLOSE))])
