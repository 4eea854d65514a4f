"""Whether a classifier has given up: it says the same of everybody, or knows less than a guess."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ecg_lightning.evaluation.cell import Probability

SHARE = 0.99
"""Share of the examples that one class must be given to."""

CHANCE = 0.5
"""Macro AUROC of a guess."""


def has_collapsed(probability: Probability, multi_label: bool, metrics: Mapping[str, Any]) -> bool:
    """Whether exclusive classes come down to one, or the ranking is no better than a guess.

    Args:
        probability: (N, C).
        multi_label: whether the classes do not exclude one another.
        metrics: the report of `metrics.judge`.
    """
    auroc = metrics["macro_auroc"]["value"]
    if auroc is not None and auroc <= CHANCE:
        return True
    most = np.bincount(probability.argmax(axis=1), minlength=probability.shape[1]).max()
    return bool(not multi_label and most >= SHARE * len(probability))
