"""Self-training: a linear probe that learns again from what it is surest of."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ecg_lightning.evaluation.cell import Labels, Probability
from ecg_lightning.evaluation.features import Matrix
from ecg_lightning.evaluation.frozen import Problem
from ecg_lightning.evaluation.linear import Linear, probe, to_probability
from ecg_lightning.evaluation.logistic import Basis, fit_together

PORTIONS = (0.2, 0.3, 0.4, 0.5)
"""Of each class's guesses, round by round: as published, but in steps of 10 % where it has 5 %."""

POOL = 4000
"""Unlabelled examples that are guessed, drawn at random."""


def train_again(train: Matrix, problem: Problem) -> Linear:
    """Class-balanced self-training (Zou et al. 2018).

    The probe guesses the labels of unlabelled examples. From each class's guesses it takes the portion that it is
    surest of, whatever their number, learns from them and the labels together, and guesses again. Where an example may
    carry several labels, each has two classes of guesses, to carry it and not to. All guesses together weigh as much
    as all labels do; the strength of the penalty stays the one that the labels chose.

    Args:
        train: (N, F) features of the training split.
        problem: labels of some of its examples; its seed draws whose labels are guessed.
    """
    first, single = probe(train[problem.index], problem), problem.y.ndim == 1
    unlabelled = np.setdiff1d(np.arange(len(train)), problem.index)
    if not len(unlabelled):
        return first
    few = np.random.default_rng((0x5E1F, problem.seed)).permutation(unlabelled)[:POOL]
    basis = Basis.of(train[np.r_[problem.index, few]])
    strength, labels = torch.tensor([first.details["C"]]), len(problem.index)
    probability, weight, bias = first(train[few]), first.weight, first.bias
    for portion in PORTIONS:
        guess = probability.argmax(axis=1) if single else (probability > 0.5).astype(np.int64)
        chosen = surest(probability, guess, portion)
        each = labels / chosen.sum(axis=0, keepdims=True).clip(1)
        own = np.ones((labels, chosen.shape[1]))
        share = torch.from_numpy(np.concatenate([own, chosen * each])[None])
        y = np.concatenate([problem.y, guess])
        found = fit_together(basis.rows, y, problem.classes, share, strength)
        score = basis.rows[labels:] @ found[0][0] + found[1][0]
        probability = to_probability(score.numpy(), not single)
        weight, bias = basis.outwards(found[0][0], found[1][0])
    return Linear(weight, bias, not single, {**first.details, "guessed": len(few)})


def surest(probability: Probability, guess: Labels, portion: float) -> NDArray[np.bool_]:
    """Which guesses are among the surest of their class.

    Args:
        probability: (N, C).
        guess: (N,) class numbers, or (N, C) zeros and ones.
        portion: of the guesses of each class.

    Returns:
        (N, 1) or (N, C).
    """
    single = guess.ndim == 1
    sure: NDArray[Any] = probability.max(axis=1, keepdims=True) if single else np.abs(probability - 0.5)
    kind = guess.reshape(sure.shape)
    chosen = np.zeros(sure.shape, bool)
    for each in np.unique(kind):
        member = kind == each
        place = np.where(member, -sure, np.inf).argsort(axis=0, kind="stable").argsort(axis=0)
        chosen |= place < portion * member.sum(axis=0)
    return chosen
