"""Linear probe: logistic regression on frozen features, its regularisation chosen within the label budget."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ecg_lightning.evaluation.features import FeatureSpace
from ecg_lightning.evaluation.frozen import Classifier, FrozenMethod, Problem

STRENGTHS = (1.0, 10.0, 100.0)
"""Candidate inverse regularisation strengths `C`, for features of total variance 1 a block. Weaker ones win the
comparison by log-loss when a fold lacks a class, and then say nothing."""

DEFAULT_STRENGTH = 10.0
"""Where there are too few labels to compare candidates."""

FOLDS = 5
MANY = 2000
"""Labels from which one held-out fold is enough to compare candidates."""

TOLERANCE = 1e-7
"""Of the final optimum; scikit-learn's own 1e-4 leaves probabilities up to 0.07 away where the penalty is weak."""

COARSE = 1e-4
"""Enough to compare candidates."""

Matrix = NDArray[np.floating[Any]]
Labels = NDArray[np.integer[Any]]


class LinearProbe(FrozenMethod):
    """Logistic regression, multinomial for one label an example, one per class for several."""

    def solve(self, space: FeatureSpace, problems: Sequence[Problem]) -> Sequence[Classifier]:
        """See `FrozenMethod.solve`."""
        return [probe(space.train[problem.index], problem) for problem in problems]


@dataclass(frozen=True)
class Linear:
    """See `Classifier`.

    Attributes:
        weight: (F, C).
        bias: (C,).
        multi_label: whether the classes do not exclude one another.
        details: see `Classifier`.
    """

    weight: Matrix
    bias: Matrix
    multi_label: bool
    details: Mapping[str, Any]

    def __call__(self, features: Matrix) -> Matrix:
        """See `Classifier`."""
        return to_probability(_times(features, self.weight) + self.bias, self.multi_label)


def probe(labelled: Matrix, problem: Problem) -> Linear:
    """Fit a probe.

    Args:
        labelled: (n, F) features of the labelled examples.
        problem: their labels; its seed draws the folds in which the regularisation is chosen.
    """
    # An L2 penalty does not see rotations: in the space that the labelled rows span, the same problem has n unknowns
    # a class instead of F.
    basis, triangle = np.linalg.qr(labelled.T.astype(np.float64))
    y, classes = problem.y, problem.classes
    strength = choose_strength(triangle.T, y, problem.patient, classes, problem.seed)
    weight, bias = fit_logistic(triangle.T, y, classes, strength)
    return Linear(basis @ weight, bias, y.ndim == 2, {"C": strength})


def _times(features: Matrix, weight: Matrix) -> Matrix:
    """(N, F) features times (F, C) weights by torch, which is faster than numpy at a product so tall and narrow."""
    product: Matrix = (torch.from_numpy(weight.T.astype(np.float32)) @ torch.from_numpy(features).T).T.numpy()
    return product


def choose_strength(x: Matrix, y: Labels, patient: NDArray[np.str_], classes: int, seed: int) -> float:
    """Compare the candidates by log-loss in folds of whole patients, within these labels alone.

    Args:
        x: (n, F) features.
        y: (n,) or (n, C) labels.
        patient: (n,) whose each is.
        classes: `C`.
        seed: of the folds.
    """
    from sklearn.model_selection import GroupKFold, StratifiedGroupKFold
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    single_label = y.ndim == 1
    most = np.bincount(y).max() if single_label else len(y)
    folds = int(min(FOLDS, most, len(np.unique(patient))))
    if folds < 2:
        return DEFAULT_STRENGTH
    kind = StratifiedGroupKFold if single_label else GroupKFold
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The least populated class")
        parts = list(kind(folds, shuffle=True, random_state=seed).split(x, y, patient))
    parts = [part for part in parts if len(part[0]) and len(part[1])][: 1 if len(y) > MANY else None]
    with threadpool_limits(1):  # threads cost such small problems more than they give
        losses = [sum(_held_out_loss(x, y, classes, c, *part) for part in parts) for c in STRENGTHS]
    return STRENGTHS[int(np.argmin(losses))]


def _held_out_loss(
    x: Matrix, y: Labels, classes: int, strength: float, fit: NDArray[np.int64], held: NDArray[np.int64]
) -> float:
    weight, bias = fit_logistic(x[fit], y[fit], classes, strength, COARSE)
    p = np.clip(to_probability(x[held] @ weight + bias, y.ndim == 2), 1e-4, 1 - 1e-4)
    if y.ndim == 1:
        return float(-np.log(p[np.arange(len(held)), y[held]]).sum())
    return float(-(y[held] * np.log(p) + (1 - y[held]) * np.log(1 - p)).sum())


def fit_logistic(
    x: Matrix, y: Labels, classes: int, strength: float, tolerance: float = TOLERANCE
) -> tuple[Matrix, Matrix]:
    """L2-regularised logistic regression.

    Args:
        x: (n, F) features.
        y: (n,) class numbers: one multinomial problem; or (n, C) zeros and ones: C problems.
        classes: `C`.
        strength: inverse regularisation strength.
        tolerance: of the optimum.

    Returns:
        (F, C) weights and (C,) biases. A class without examples, or without others, has weight 0 and the bias of its
        smoothed share.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    def solve(target: Labels) -> Any:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            return LogisticRegression(C=strength, max_iter=300, tol=tolerance).fit(x, target)

    weight = np.zeros((x.shape[1], classes))
    bias = np.full(classes, -8.0)
    if y.ndim == 2:
        for c in range(classes):
            if 0 < y[:, c].sum() < len(y):
                model = solve(y[:, c])
                weight[:, c], bias[c] = model.coef_[0], model.intercept_[0]
            else:
                share = (y[:, c].sum() + 0.5) / (len(y) + 1)
                bias[c] = np.log(share / (1 - share))
        return weight, bias
    present = np.unique(y)
    if len(present) == 1:
        bias[present] = 0.0
        return weight, bias
    model = solve(y)
    if len(present) == 2:  # scikit-learn then gives the log-odds of the second
        weight[:, present[1]], bias[present] = model.coef_[0], [0.0, model.intercept_[0]]
    else:
        weight[:, present], bias[present] = model.coef_.T, model.intercept_
    return weight, bias


def to_probability(score: Matrix, multi_label: bool) -> Matrix:
    """Softmax over classes, or one sigmoid a label; (N, C)."""
    if multi_label:
        from scipy.special import expit

        return np.asarray(expit(score))
    from scipy.special import softmax

    return np.asarray(softmax(score, axis=1))
