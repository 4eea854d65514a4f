"""Annotators err: a share of the budget's labels is wrong."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecg_lightning.data.budget import SealedLabels
from ecg_lightning.errors import UserError
from ecg_lightning.evaluation.cell import Cell, Labels
from ecg_lightning.evaluation.robustness.base import Stress, Stressed
from ecg_lightning.signal import SignalSpec

WRONG_SEED = 0x3B


class WrongLabels(Stress):
    """A share of the budget's labels is replaced by wrong ones; the test labels are as they were.

    Whose labels are wrong depends on the model's seed, and is the same for every method; who is wrong at one level is
    so at every higher one. An example of one label gets another class, drawn evenly. One of several labels gets all
    those of another example of the budget, drawn evenly among those that carry others, so that they make sense
    together. Windows of one recording err together.

    Attributes:
        levels: percentages.
    """

    axis = "wrong labels (%)"
    applies_to = "labels"

    def prepare(self, spec: SignalSpec) -> None:
        """See `Stress.prepare`; it fits every signal.

        Raises:
            UserError: a level is no percentage.
        """
        del spec
        if not (min(self.levels) >= 0 and max(self.levels) <= 100):
            raise UserError(f"robustness.levels={list(self.levels)} must be percentages")
        self.levels = tuple(sorted(self.levels))

    def at(self, level: float, cell: Cell) -> Stressed:
        """See `Stress.at`.

        Raises:
            UserError: all labels are the same, so that nobody can tell what a wrong one would be.
        """
        if level == 0:
            return Stressed(cell, cell.part("test"))
        unit = cell.train.examples.unit
        own = np.arange(len(cell.budget)) if unit is None else unit[cell.budget]
        _, first, place = np.unique(own, return_index=True, return_inverse=True)
        right = cell.labels[cell.budget]
        wrong = err(right[first], level / 100, len(cell.data.classes), (WRONG_SEED, cell.model_seed))
        # The labels outside the budget are sealed, here too: nobody can read what stands in their place.
        y = np.zeros((len(cell.labels), *right.shape[1:]), right.dtype)
        y[cell.budget] = wrong[place]
        return Stressed(replace(cell, labels=SealedLabels(y, cell.budget)), cell.part("test"))


def err(y: Labels, share: float, classes: int, seed: Any) -> NDArray[np.integer[Any]]:
    """Replace a share of labels by wrong ones.

    Args:
        y: (n,) class numbers or (n, C) zeros and ones.
        share: of them, 0 to 1.
        classes: `C`.
        seed: of the draw; the smaller shares lie within the larger ones.

    Raises:
        UserError: see `WrongLabels.at`.
    """
    generator, wrong = np.random.default_rng(seed), y.copy()
    order = generator.permutation(len(y))
    luck = generator.random(len(y))
    chosen = order[: round(share * len(y))]
    if y.ndim == 1:
        wrong[chosen] = (y[chosen] + 1 + (luck[chosen] * (classes - 1)).astype(np.int64)) % classes
        return wrong
    _, kind = np.unique(y, axis=0, return_inverse=True)
    by_kind = np.argsort(kind.reshape(-1), kind="stable")
    size = np.bincount(kind.reshape(-1))
    if len(size) == 1 and len(chosen):
        raise UserError("robustness: all labels of the budget are alike, and none can be mistaken for another; raise "
                        "budget")  # fmt: skip
    # Behind the last of its own kind, around the circle of all examples in the order of their kinds.
    end, others = np.cumsum(size)[kind.reshape(-1)], len(y) - size[kind.reshape(-1)]
    donor = by_kind[(end + (luck * others).astype(np.int64)) % len(y)]
    wrong[chosen] = y[donor[chosen]]
    return wrong
