"""Many L2-regularised logistic regressions on the same rows, solved at once.

Each minimises what scikit-learn's `LogisticRegression` does, `strength * sum of losses + |weight|^2 / 2` with a free
intercept, by a truncated Newton method (Nocedal and Wright 2006, section 7.1): the Newton step of every regression is
found by conjugate gradients, whose products with all Hessians are two matrix products for all of them together. No
Hessian is ever formed, so ten labels and fifty thousand are solved in one way.

Shapes: n rows, R directions that they span (one more for the intercept), P regressions of W outputs each: one for a
label by itself, C for exclusive classes.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Matrix = NDArray[np.floating[Any]]
Labels = NDArray[np.integer[Any]]

TOLERANCE = 1e-9
"""Of the Newton decrement, twice what the objective can still fall by; the step that it belongs to is still taken."""

COARSE = 1e-2
"""Enough to compare candidates."""

ABSENT = -8.0
"""Bias of a class without an example."""

STEPS = 100
"""Newton steps at most; 5 to 10 are usual, the more the nearer labels are to being separable by a weak penalty."""

NEVER = -1e30
"""Score of a class that a regression has no example of."""


class Basis(NamedTuple):
    """The principal directions of some rows about their mean: an L2 penalty does not see rotations, and the free
    intercept takes up the mean, so that the same problem has `min(n, F)` unknowns an output that hardly interact.

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
    weight, bias = fit_together(basis.rows, y, classes, torch.ones(1, len(y)), torch.tensor([strength]), tolerance)
    return basis.outwards(weight[0], bias[0])


def fit_together(
    x_nR: Tensor, y: Labels, classes: int, share_Jn: Tensor, strength_J: Tensor, tolerance: float = TOLERANCE
) -> tuple[Tensor, Tensor]:
    """J fits to the same rows.

    Args:
        x_nR: rows of a `Basis`; any others take longer.
        y: (n,) class numbers: multinomial problems; or (n, C) zeros and ones: C problems each.
        classes: `C`.
        share_Jn: how much each row counts in each fit, 0 to leave it out.
        strength_J: inverse regularisation strengths. As with scikit-learn two classes are one binary problem.
        tolerance: see `TOLERANCE`.

    Returns:
        (J, R, C) weights and (J, C) biases. A class without examples has weight 0 and the bias `ABSENT`, a label that
        all or none carry has weight 0 and the bias of its smoothed share.
    """
    share, strength = share_Jn.double(), strength_J.double()
    truth_nC = torch.from_numpy(y if y.ndim == 2 else np.eye(classes)[y]).double()
    count_JC, total_J1 = share @ truth_nC, share.sum(dim=1, keepdim=True)
    weight = torch.zeros(len(share), x_nR.shape[1], classes, dtype=torch.float64)
    if y.ndim == 2:
        smoothed = (count_JC + 0.5) / (total_J1 + 1)
        bias = torch.logit(smoothed)
        fit, label = torch.nonzero((count_JC > 0) & (count_JC < total_J1), as_tuple=True)
        scale_Pn = share[fit] * strength[fit, None]
        found = _minimise(x_nR, truth_nC.T[label].T[..., None], scale_Pn.T, torch.zeros(len(fit), 1), tolerance)
        weight[fit, :, label], bias[fit, label] = found[:-1, :, 0].T, found[-1, :, 0]
        return weight, bias
    present_JC = count_JC > 0
    # The softmax over two classes has two opposite weights to share the penalty of scikit-learn's one.
    halved = torch.where(present_JC.sum(dim=1) == 2, strength / 2, strength)
    offset_JC = torch.where(present_JC, 0.0, NEVER)
    every = truth_nC[:, None].expand(-1, len(share), -1)
    found = _minimise(x_nR, every, (share * halved[:, None]).T, offset_JC, tolerance)
    weight = found[:-1].permute(1, 0, 2)
    bias = torch.where(present_JC, found[-1], torch.nan)
    return weight, torch.where(present_JC, bias - bias.nanmean(dim=1, keepdim=True), ABSENT)


class _Live(NamedTuple):
    """The regressions that are not solved yet, and how far they are."""

    truth_nPW: Tensor
    scale_nP1: Tensor
    offset_PW: Tensor
    w_RPW: Tensor
    score_nPW: Tensor = torch.zeros(0)
    value_P: Tensor = torch.zeros(0)

    def usual(self) -> Tensor:
        """Intercepts by which weights of 0 give every class its share."""
        share = (self.scale_nP1 * self.truth_nPW).sum(dim=0) / self.scale_nP1.sum(dim=0)
        return share.logit() if share.shape[1] == 1 else share.clamp(min=1e-12).log()

    def probability(self) -> Tensor:
        """(n, P, W)."""
        shifted = self.score_nPW + self.offset_PW
        return shifted.sigmoid() if shifted.shape[2] == 1 else shifted.softmax(dim=2)

    def at(self, w: Tensor, score: Tensor, penalty: Tensor) -> _Live:
        """Elsewhere, with the objective there."""
        shifted = score + self.offset_PW
        free = torch.nn.functional.softplus(shifted[..., 0]) if score.shape[2] == 1 else shifted.logsumexp(dim=2)
        loss = free - (self.truth_nPW * score).sum(dim=2)
        value = (self.scale_nP1[..., 0] * loss).sum(dim=0) + (penalty * w.square()).sum(dim=(0, 2)) / 2
        return self._replace(w_RPW=w, score_nPW=score, value_P=value)

    def keep(self, which: Tensor) -> _Live:
        """Some of the regressions."""
        by_row = (self.truth_nPW, self.scale_nP1, self.w_RPW, self.score_nPW)
        truth, scale, w, score = (each[:, which] for each in by_row)
        return _Live(truth, scale, self.offset_PW[which], w, score, self.value_P[which])


def _minimise(x_nR: Tensor, truth_nPW: Tensor, scale_nP: Tensor, offset_PW: Tensor, tolerance: float) -> Tensor:
    """Weights, the intercepts' row last: (R + 1, P, W)."""
    x = torch.cat([x_nR.double(), torch.ones(len(x_nR), 1, dtype=torch.float64)], dim=1)
    penalty = torch.ones(x.shape[1], 1, 1, dtype=torch.float64)
    penalty[-1] = 0
    w = torch.zeros(x.shape[1], *truth_nPW.shape[1:], dtype=torch.float64)
    live = _Live(truth_nPW, scale_nP[..., None], offset_PW.double(), w)
    w[-1] = live.usual()
    live = live.at(w, w[-1].expand_as(truth_nPW), penalty)
    solution, index = torch.empty_like(w), torch.arange(truth_nPW.shape[1])
    for _ in range(STEPS):
        if not len(index):
            break
        hessian = _Hessian.at(x, penalty, live)
        gradient = penalty * live.w_RPW + _times(x.T, live.scale_nP1 * (hessian.p_nPW - live.truth_nPW))
        step = -_solve(hessian, gradient)
        decrement = -_dot(gradient, step)
        live = _line_search(live, penalty, step, _times(x, step), decrement)
        done = decrement <= tolerance
        if done.any():
            solution[:, index[done]] = live.w_RPW[:, done]
            live, index = live.keep(~done), index[~done]
    solution[:, index] = live.w_RPW
    return solution


class _Hessian(NamedTuple):
    """What the products with the Hessians of all regressions need, and their diagonals."""

    x: Tensor
    penalty: Tensor
    p_nPW: Tensor
    curvature_nPW: Tensor
    inverse_diagonal_RPW: Tensor

    @classmethod
    def at(cls, x: Tensor, penalty: Tensor, live: _Live) -> _Hessian:
        p = live.probability()
        scaled = live.scale_nP1 * p
        own = scaled * (1 - p)
        diagonal = penalty + _times(x.square().T, own)
        return cls(x, penalty, p, own if p.shape[2] == 1 else scaled, 1 / diagonal.clamp(min=1e-12))

    def times(self, direction: Tensor) -> Tensor:
        u = _times(self.x, direction)
        if u.shape[2] > 1:
            u -= (self.p_nPW * u).sum(dim=2, keepdim=True)
        u *= self.curvature_nPW
        return _times(self.x.T, u).addcmul_(self.penalty, direction)


def _solve(hessian: _Hessian, gradient: Tensor) -> Tensor:
    """Solve `hessian @ step = gradient` for every regression, the more exactly the nearer it is to its optimum."""
    step, residual = torch.zeros_like(gradient), gradient.clone()
    direction = hessian.inverse_diagonal_RPW * residual
    size = _dot(residual, direction)
    enough = (size * size.clamp(1e-6, 0.05)).clamp(min=1e-16)  # what rounding leaves has no direction
    for _ in range(2 * len(gradient)):
        going = size > enough
        if not going.any():
            break
        product = hessian.times(direction)
        length = torch.where(going, size / _dot(direction, product).clamp(min=1e-300), 0.0)[:, None]
        step.addcmul_(length, direction)
        residual.addcmul_(length, product, value=-1)
        conditioned = hessian.inverse_diagonal_RPW * residual
        before, size = size, torch.where(going, _dot(residual, conditioned), size)
        direction = conditioned.addcmul_((size / before.clamp(min=1e-300))[:, None], direction)
    return step


def _line_search(live: _Live, penalty: Tensor, step: Tensor, slope: Tensor, decrement: Tensor) -> _Live:
    """Halve each step until it lowers the objective enough (Armijo's rule), but for what rounding hides."""
    length = torch.ones_like(decrement)
    slack = 1e-12 * (1 + live.value_P.abs())
    for _ in range(40):
        there = live.at(live.w_RPW + length[:, None] * step, live.score_nPW + length[:, None] * slope, penalty)
        short = there.value_P > live.value_P - 1e-4 * length * decrement + slack
        if not short.any():
            break
        length = torch.where(short, length / 2, length)
    return there


def _times(matrix: Tensor, many: Tensor) -> Tensor:
    """(a, n) times (n, P, W)."""
    return (matrix @ many.reshape(len(many), -1)).reshape(len(matrix), *many.shape[1:])


def _dot(a: Tensor, b: Tensor) -> Tensor:
    return (a * b).sum(dim=(0, 2))
