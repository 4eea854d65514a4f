"""How much of its space an encoder uses: a collapsed one says the same of every window."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class Spread(NamedTuple):
    """How features of different windows differ.

    Attributes:
        effective_rank: number of directions in which they differ, from 1 to `min(N - 1, D)`: the exponential of the
            entropy of their singular values (Roy and Vetterli 2007; RankMe, Garrido et al. 2023).
        deviation: their standard deviation as a share of their size, 0 where all are the same.
    """

    effective_rank: float
    deviation: float


def measure_spread(features_ND: Tensor) -> Spread:
    """Measure it, in float64.

    Args:
        features_ND: (N, D), of two windows or more.
    """
    features = features_ND.double()
    centred = features - features.mean(dim=0)
    size = features.square().mean().sqrt()
    deviation = centred.square().mean().sqrt() / size.clamp(min=1e-12)
    values = torch.linalg.svdvals(centred)
    share = values / values.sum().clamp(min=1e-300)
    entropy = torch.special.entr(share).sum()
    return Spread(float(entropy.exp()), float(deviation))
