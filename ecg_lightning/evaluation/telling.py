"""Which predictions are worth looking at: the most certain right one of each class, and the most certain wrong one."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ecg_lightning.evaluation.cell import Labels, Probability


class Telling(NamedTuple):
    """A prediction to look at.

    Attributes:
        row: of the test examples.
        target: number of the class that is predicted.
        right: whether it is.
    """

    row: int
    target: int
    right: bool


def telling_predictions(y: Labels, probability: Probability, number: int) -> list[Telling]:
    """The most certain right prediction of each class, frequent classes first, and the most certain wrong one last.

    Args:
        y: (M,) class numbers, or (M, C) zeros and ones.
        probability: (M, C); the most probable class is predicted, or every label above 0.5.
        number: how many at most; the wrong one takes the place of the last where there are more classes.

    Returns:
        Each of another row; fewer where a class has no right prediction, or none is wrong.
    """
    classes = np.arange(probability.shape[1])
    truth_MC = y[:, None] == classes if y.ndim == 1 else y.astype(bool)
    predicted_MC = probability.argmax(axis=1)[:, None] == classes if y.ndim == 1 else probability > 0.5
    wrong_MC = np.where(predicted_MC & ~truth_MC, probability, 0.0)
    right_MC = np.where(predicted_MC & truth_MC, probability, 0.0)
    chosen: list[Telling] = []
    if number > 1 and wrong_MC.any():
        row, target = np.unravel_index(wrong_MC.argmax(), wrong_MC.shape)
        chosen.append(Telling(int(row), int(target), False))
        right_MC[row] = 0.0
    for c in np.argsort(-truth_MC.sum(axis=0), kind="stable"):
        row = right_MC[:, c].argmax()
        if len(chosen) < number and right_MC[row, c] > 0:
            chosen.append(Telling(int(row), int(c), True))
            right_MC[row] = 0.0
    return sorted(chosen, key=lambda each: not each.right)
