"""Whether neighbours among features are alike: does an encoder tell diagnoses apart, or people?"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

NEIGHBOURS = 10


class Purity(NamedTuple):
    """How alike neighbours are.

    Attributes:
        share: of each point's `NEIGHBOURS` nearest others, those of its own group, the mean over points.
        chance: the same of others drawn at random.
    """

    share: float
    chance: float


def purity(
    features_NF: NDArray[np.floating[Any]], group_N: NDArray[Any], apart_N: NDArray[Any] | None = None
) -> Purity | None:
    """Share of nearest neighbours in the feature space (Euclidean) that belong to the same group.

    Args:
        features_NF: (N, F) standardised features.
        group_N: (N,) class or patient of each.
        apart_N: (N,) points of the same number are no neighbours of one another, such as those of one patient.

    Returns:
        None where no point has enough neighbours; points that have too few are left out.
    """
    from sklearn.metrics import pairwise_distances

    distance_NN = pairwise_distances(features_NF)
    allowed_NN = ~np.eye(len(group_N), dtype=bool)
    if apart_N is not None:
        allowed_NN &= apart_N[:, None] != apart_N
    enough_N = allowed_NN.sum(axis=1) >= NEIGHBOURS
    if not enough_N.any():
        return None
    distance_NN[~allowed_NN] = np.inf
    nearest_NK = np.argpartition(distance_NN[enough_N], NEIGHBOURS - 1, axis=1)[:, :NEIGHBOURS]
    same_NN = (group_N[:, None] == group_N)[enough_N]
    allowed_NN = allowed_NN[enough_N]
    chance_N = (same_NN & allowed_NN).sum(axis=1) / allowed_NN.sum(axis=1)
    return Purity(float(np.take_along_axis(same_NN, nearest_NK, axis=1).mean()), float(chance_N.mean()))
