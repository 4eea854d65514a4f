"""Choosing among candidates within a label budget: folds of whole patients, compared by log-loss."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecg_lightning.evaluation.cell import Labels, Probability

FOLDS = 5

CERTAIN = 1e-4
"""Probabilities nearer to 0 or 1 count as this far from it: a single sure mistake decides nothing by itself."""

Floats = NDArray[np.floating[Any]]


def deal_folds(y: Labels, patient: NDArray[np.str_], seed: int) -> NDArray[np.int64] | None:
    """Folds of whole patients: those who show the rarest class are dealt out in turn first, and so on.

    Which of a class's patients comes into which fold is drawn; every fold has as many patients as any other or one
    less.

    Args:
        y: (n,) class numbers, or (n, C) zeros and ones.
        patient: (n,) whose each is.
        seed: of the draw.

    Returns:
        (n,) numbers of the folds, `FOLDS` of them, fewer where there are fewer patients or, of exclusive classes, no
        class has as many labels. None where that leaves a single one.
    """
    _, who = np.unique(patient, return_inverse=True)
    truth_nC = y if y.ndim == 2 else np.eye(y.max() + 1, dtype=np.int64)[y]
    per_class = truth_nC.sum(axis=0)
    most = len(y) if y.ndim == 2 else per_class.max()
    folds = int(min(FOLDS, most, who.max() + 1))
    if folds < 2:
        return None
    rank_C = np.argsort(np.argsort(per_class, kind="stable"))
    rarest = np.full(who.max() + 1, truth_nC.shape[1])
    np.minimum.at(rarest, who, np.where(truth_nC > 0, rank_C, truth_nC.shape[1]).min(axis=1))
    order = np.lexsort((np.random.default_rng((0xF01D, seed)).random(len(rarest)), rarest))
    fold = np.empty(len(rarest), np.int64)
    fold[order] = np.arange(len(rarest)) % folds
    return fold[who]


def log_losses(probability: Probability, y: Labels) -> Floats:
    """Of every example.

    Args:
        probability: (..., n, C), whatever stands in front.
        y: (n,) class numbers, or (n, C) zeros and ones.

    Returns:
        (..., n), of several labels their sum.
    """
    p = np.clip(probability, CERTAIN, 1 - CERTAIN)
    if y.ndim == 2:
        several: Floats = -np.log(np.where(y > 0, p, 1 - p)).sum(axis=-1)
        return several
    single: Floats = -np.log(p[..., np.arange(len(y)), y])
    return single
