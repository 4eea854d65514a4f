"""Linear probe: logistic regression on frozen features, its regularisation chosen within the label budget."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ecg_lightning.evaluation.choice import deal_folds, log_losses
from ecg_lightning.evaluation.features import FeatureSpace
from ecg_lightning.evaluation.frozen import Classifier, FrozenMethod, Problem
from ecg_lightning.evaluation.logistic import COARSE, Basis, fit_together

STRENGTHS = (1.0, 10.0, 100.0)
"""Candidate inverse regularisation strengths `C`, for features of total variance 1 a block. Weaker ones win the
comparison by log-loss when a fold lacks a class, and then say nothing."""

DEFAULT_STRENGTH = 10.0
"""Where there are too few labels to compare candidates."""

MANY = 2000
"""Labels from which one held-out fold is enough to compare candidates."""

Matrix = NDArray[np.floating[Any]]
Labels = NDArray[np.integer[Any]]


class LinearProbe(FrozenMethod):
    """Logistic regression, multinomial for one label an example, one per class for several."""

    def solve(self, space: FeatureSpace, problems: Sequence[Problem]) -> Sequence[Classifier]:
        """See `FrozenMethod.solve`."""
        train = space.train
        return in_threads(lambda problem: probe(train[problem.index], problem), problems)


def in_threads(solve: Callable[[Problem], Classifier], problems: Sequence[Problem]) -> list[Classifier]:
    """Solve each problem on one thread, as many at a time as torch has: what few labels ask for is too small to share.

    A single problem has all threads.
    """
    threads = torch.get_num_threads()
    if len(problems) == 1:
        return [solve(problems[0])]
    try:
        with ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            return list(pool.map(solve, problems))
    finally:
        torch.set_num_threads(threads)  # also what threads that torch starts later will have


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
    basis = Basis.of(labelled)
    strength = choose_strength(basis.rows.numpy(), problem.y, problem.patient, problem.classes, problem.seed)
    every, chosen = torch.ones(1, len(problem.y), 1), torch.tensor([strength])
    weight, bias = basis.outwards(*fit_together(basis.rows, problem.y, problem.classes, every, chosen))
    return Linear(weight[0], bias[0], problem.y.ndim == 2, {"C": strength})


def _times(features: Matrix, weight: Matrix) -> Matrix:
    """(N, F) features times (F, C) weights by torch, which is faster than numpy at a product so tall and narrow."""
    product: Matrix = (torch.from_numpy(weight.T.astype(np.float32)) @ torch.from_numpy(features).T).T.numpy()
    return product


def choose_strength(x: Matrix, y: Labels, patient: NDArray[np.str_], classes: int, seed: int) -> float:
    """Compare the candidates by log-loss in folds of whole patients, within these labels alone.

    Args:
        x: (n, F) features, best in their `Basis`.
        y: (n,) or (n, C) labels.
        patient: (n,) whose each is.
        classes: `C`.
        seed: of the folds.
    """
    fold = deal_folds(y, patient, seed)
    if fold is None:
        return DEFAULT_STRENGTH
    folds = 1 if len(y) > MANY else fold.max() + 1
    held = np.repeat(fold == np.arange(folds)[:, None], len(STRENGTHS), axis=0)
    strength = torch.tensor(STRENGTHS).repeat(folds)
    rows = torch.from_numpy(x)
    weight, bias = fit_together(rows, y, classes, torch.from_numpy(~held[..., None]), strength, COARSE)
    p = to_probability((rows.double() @ weight + bias[:, None]).numpy(), y.ndim == 2)
    losses = (log_losses(p, y) * held).sum(axis=1).reshape(folds, -1).sum(axis=0)
    return STRENGTHS[int(np.argmin(losses))]


def to_probability(score: Matrix, multi_label: bool) -> Matrix:
    """Softmax over classes, the last axis, or one sigmoid a label."""
    if multi_label:
        from scipy.special import expit

        return np.asarray(expit(score))
    from scipy.special import softmax

    return np.asarray(softmax(score, axis=-1))
