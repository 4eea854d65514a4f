"""Who was taken for whom, where classes exclude one another: confusion matrices and what they say of all classes."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecg_lightning.evaluation.bootstrap import Floats, Samples
from ecg_lightning.evaluation.decisions import decided_by_class, ratio

Array = NDArray[Any]


def counts(y: Array, decision: Array, classes: int) -> list[Any]:
    """The confusion matrix of a test set, by torchmetrics.

    Args:
        y: (N,) class numbers, or (N, C) zeros and ones.
        decision: the same.
        classes: C.

    Returns:
        Plain lists: (C, C), the truth in rows and decisions in columns, or (C, 2, 2) where y is, no before yes.
    """
    from torchmetrics.functional.classification import multiclass_confusion_matrix, multilabel_confusion_matrix

    count = multiclass_confusion_matrix if y.ndim == 1 else multilabel_confusion_matrix
    matrix: list[Any] = count(_tensor(decision), _tensor(y), classes, validate_args=False).tolist()
    return matrix


def measured_kappa(y_N: Array, decision_N: Array, classes: int) -> float:
    """Agreement beyond chance (Cohen 1960) of a test set, by torchmetrics, good to 1e-6; see `kappa`."""
    from torchmetrics.functional.classification import multiclass_cohen_kappa

    return float(multiclass_cohen_kappa(_tensor(decision_N), _tensor(y_N), classes, validate_args=False))


def resampled(y_N: Array, decision_N: Array, classes: int, samples: Samples) -> Floats:
    """The confusion matrix of each sample, (R, C, C), the truth in rows.

    Args:
        y_N: (N,) class numbers.
        decision_N: (N,) class numbers.
        classes: C.
        samples: R of these rows.
    """
    groups, cells = samples.counts.shape[1], classes**2
    cell_N = (samples.group * classes + y_N) * classes + decision_N
    of_groups = np.bincount(cell_N, minlength=groups * cells).reshape(groups, cells)
    return (samples.counts @ of_groups).reshape(-1, classes, classes)


def kappa(confusion_RCC: Floats) -> Floats:
    """Cohen's kappa of each matrix, (R,); NaN where truth and decisions are all of one class."""
    rows, true, decided, hit = decided_by_class(confusion_RCC)
    chance_R = (true * decided).sum(axis=1) / rows[:, 0]
    return ratio(hit.sum(axis=1) - chance_R, rows[:, 0] - chance_R)


def mcc(confusion_RCC: Floats) -> Floats:
    """Matthews' correlation for several classes (Gorodkin 2004), (R,); NaN where either side is all of one class.

    Ours, in float64, for the test set too: torchmetrics squares counts in float32, which leaves three digits where a
    class is rare, and says 0 or 1 where it is undefined.
    """
    rows, true, decided, hit = decided_by_class(confusion_RCC)
    covariance_R = rows[:, 0] * hit.sum(axis=1) - (true * decided).sum(axis=1)
    variance_R, its_variance_R = (rows[:, 0] ** 2 - (side**2).sum(axis=1) for side in (true, decided))
    return ratio(covariance_R, np.sqrt(variance_R * its_variance_R))


def _tensor(numbers: Array) -> Any:
    import torch

    return torch.from_numpy(np.ascontiguousarray(numbers, dtype=np.int64))
