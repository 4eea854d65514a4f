"""Many L2-regularised logistic regressions on the same rows, solved at once.

Each minimises what scikit-learn's `LogisticRegression` does: `strength * sum of losses + |weight|^2 / 2`, its intercept
free.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ecg_lightning.evaluation.newton import minimise

Matrix = NDArray[np.floating[Any]]
Labels = NDArray[np.integer[Any]]

TOLERANCE = 1e-9
"""See `newton.minimise`. Probabilities are then as near to the optimum's as scikit-learn's with `tol=1e-8`."""

COARSE = 1e-2
"""Enough to compare candidates."""

ABSENT = -8.0
"""Bias of a class without an example."""

NEVER = -1e30
"""Score of a class that a regression has no example of."""


class Basis(NamedTuple):
    """The principal directions of some rows about their mean.

    An L2 penalty does not see rotations, and the free intercept takes up the mean: the same problem has `min(n, F)`
    unknowns an output here, which hardly interact.

    Attributes:
        rows: (n, R) the rows in it.
        directions: (F, R) orthonormal.
        mean: (F,).
    """

    rows: Tensor
    directions: Tensor
    mean: Tensor

    @classmethod
    def of(cls, x: Matrix) -> Basis:
        """Of (n, F) rows."""
        features = torch.from_numpy(np.asarray(x, np.float64))
        mean = features.mean(dim=0)
        centred = features - mean
        if len(x) < x.shape[1]:
            span, triangle = torch.linalg.qr(centred.T)
            turn = torch.linalg.eigh(triangle @ triangle.T)[1]
            return cls(triangle.T @ turn, span @ turn, mean)
        turn = torch.linalg.eigh(centred.T @ centred)[1]
        return cls(centred @ turn, turn, mean)

    def outwards(self, weight: Tensor, bias: Tensor) -> tuple[Matrix, Matrix]:
        """From (..., R, C) weights here to (..., F, C) in the features' own space; biases (..., C)."""
        whole = self.directions @ weight
        return whole.numpy(), (bias - self.mean @ whole).numpy()


def fit_logistic(
    x: Matrix, y: Labels, classes: int, strength: float, tolerance: float = TOLERANCE
) -> tuple[Matrix, Matrix]:
    """One fit to all rows.

    Args:
        x: (n, F) features.
        y: (n,) class numbers: one multinomial problem; or (n, C) zeros and ones: C problems.
        classes: `C`.
        strength: inverse regularisation strength.
        tolerance: see `TOLERANCE`.

    Returns:
        (F, C) weights and (C,) biases; see `fit_together`.
    """
    basis = Basis.of(x)
    weight, bias = fit_together(basis.rows, y, classes, torch.ones(1, len(y), 1), torch.tensor([strength]), tolerance)
    return basis.outwards(weight[0], bias[0])


def fit_together(
    x_nR: Tensor, y: Labels, classes: int, share_JnK: Tensor, strength_J: Tensor, tolerance: float = TOLERANCE
) -> tuple[Tensor, Tensor]:
    """J fits to the same rows.

    Args:
        x_nR: rows of a `Basis`; any others take longer.
        y: (n,) class numbers: multinomial problems; or (n, C) zeros and ones: C problems each.
        classes: `C`.
        share_JnK: how much each row counts in each fit, 0 to leave it out; K is 1, or C where labels differ in it.
        strength_J: inverse regularisation strengths. As with scikit-learn two classes are one binary problem.
        tolerance: see `TOLERANCE`.

    Returns:
        (J, R, C) weights and (J, C) biases. A class without examples has weight 0 and the bias `ABSENT`, a label that
        all or none carry has weight 0 and the bias of its smoothed share.
    """
    share, strength = share_JnK.double(), strength_J.double()
    truth_nC = torch.from_numpy(y if y.ndim == 2 else np.eye(classes)[y]).double()
    count_JC, others_JC = (share * truth_nC).sum(dim=1), (share * (1 - truth_nC)).sum(dim=1)
    weight = torch.zeros(len(share), x_nR.shape[1], classes, dtype=torch.float64)
    if y.ndim == 2:
        bias = torch.log((count_JC + 0.5) / (others_JC + 0.5))
        fit, label = torch.nonzero((count_JC > 0) & (others_JC > 0), as_tuple=True)
        scale_Pn = share.expand(-1, -1, classes)[fit, :, label] * strength[fit, None]
        found = minimise(x_nR, truth_nC[:, label, None], scale_Pn.T, torch.zeros(len(fit), 1), tolerance)
        weight[fit, :, label], bias[fit, label] = found[:-1, :, 0].T, found[-1, :, 0]
        return weight, bias
    present_JC = count_JC > 0
    # The softmax over two classes has two opposite weights to share the penalty of scikit-learn's one.
    halved = torch.where(present_JC.sum(dim=1) == 2, strength / 2, strength)
    offset_JC = torch.where(present_JC, 0.0, NEVER)
    every = truth_nC[:, None].expand(-1, len(share), -1)
    found = minimise(x_nR, every, (share[..., 0] * halved[:, None]).T, offset_JC, tolerance)
    bias = torch.where(present_JC, found[-1], torch.nan)
    return found[:-1].permute(1, 0, 2), torch.where(present_JC, bias - bias.nanmean(dim=1, keepdim=True), ABSENT)
