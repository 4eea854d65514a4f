"""What can be judged: probabilities beside the truth."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecg_lightning.errors import UserError

Array = NDArray[Any]


def check_predictions(y: Array, probability: Array, classes: Sequence[str], groups: Array) -> None:
    """Whether they can be judged.

    Args:
        y: (N,) integers in [0, C), or (N, C) of 0 and 1.
        probability: (N, C) real numbers in [0, 1].
        classes: the C names.
        groups: (N,) the patient (or record) of each row.

    Raises:
        UserError: they cannot; it names what is wrong and its remedy.
    """
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
