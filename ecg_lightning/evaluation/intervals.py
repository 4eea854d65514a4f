"""How sure a mean over seeds is."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np
from numpy.typing import NDArray


def seed_interval(values: Sequence[float] | NDArray[np.floating]) -> tuple[float, float | None, float | None]:
    """The mean over seeds and its 95 % confidence interval by Student's t (Student 1908).

    Args:
        values: one value of a metric for each seed.

    Returns:
        Mean, lower and upper end. One seed says nothing about the spread: both ends are then None.

    Raises:
        ValueError: there is no value, or one is not finite.
    """
    values = np.asarray(values, dtype=float)
    if values.ndim != 1 or not values.size or not np.isfinite(values).all():
        raise ValueError(f"values={values.tolist()} must be finite numbers, one for each seed")
    mean = float(values.mean())
    if values.size == 1:
        return mean, None, None
    half = float(_quantile(values.size - 1) * values.std(ddof=1) / np.sqrt(values.size))
    return mean, mean - half, mean + half


@cache
def _quantile(degrees: int) -> float:
    """Student's t beyond which 2.5 % lie; a report asks for few of them ten thousand times."""
    from scipy.special import stdtrit  # which `scipy.stats.t.ppf` is, without half a second of imports

    return float(stdtrit(degrees, 0.975))
