"""Who is near whom, among any number of examples."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from ecg_lightning.evaluation.features import Matrix

BLOCK = 2048
"""Rows compared with all others at a time."""

T = TypeVar("T")


def nearest(of: Matrix, among: Matrix, count: int) -> NDArray[np.int64]:
    """The nearest of some examples, in order: all are compared with all, block by block.

    Args:
        of: (N, F) whose neighbours are sought.
        among: (n, F) who may be one.
        count: `K`, how many; at most n.

    Returns:
        (N, K) rows of `among`.
    """
    others = torch.from_numpy(among)
    length = others.square().sum(dim=1)
    blocks = torch.split(torch.from_numpy(of), BLOCK)
    # Squared distances, but for what is the same for all neighbours of an example.
    found = [torch.addmm(length, block, others.T, alpha=-2).topk(count, largest=False).indices for block in blocks]
    which: NDArray[np.int64] = torch.cat(found).numpy()
    return which


class Once(Generic[T]):
    """Remembers what was made of the last matrix: many classifiers read the same features one after the other.

    Args:
        make: what to do with a matrix.
    """

    def __init__(self, make: Callable[[Matrix], T]) -> None:
        self.make = make
        self._last: tuple[Matrix, T] | None = None

    def __call__(self, features: Matrix) -> T:
        """What `make` says of the features."""
        last = self._last
        if last is None or last[0] is not features:
            last = self._last = (features, self.make(features))
        return last[1]
