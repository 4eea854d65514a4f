"""The optimum of many regularised logistic regressions on the same rows, all at once.

A truncated Newton method (Nocedal and Wright 2006, section 7.1): the Newton step of every regression is found by
conjugate gradients, whose products with all Hessians are two matrix products for all of them together. No Hessian is
ever formed, so ten labels and fifty thousand are solved in one way.

Shapes: n rows, R directions that they span (one more for the intercept), P regressions of W outputs each: one for a
label by itself, C for exclusive classes.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import softplus

STEPS = 100
"""Newton steps at most; 5 to 10 are usual, the more the nearer labels are to being separable by a weak penalty."""

HALVINGS = 40
"""Of a Newton step at most."""


def minimise(x_nR: Tensor, truth_nPW: Tensor, scale_nP: Tensor, offset_PW: Tensor, tolerance: float) -> Tensor:
    """Minimise `sum over n of scale * loss + |weight|^2 / 2` for each regression, its intercept free.

    Args:
        x_nR: the rows; the fewer steps, the less their columns interact.
        truth_nPW: zeros and ones.
        scale_nP: of each row's loss in each regression; 0 leaves it out.
        offset_PW: added to the scores; a very negative one takes a class out of the softmax.
        tolerance: of the Newton decrement, twice what the objective can still fall by; the step that it belongs to is
            still taken.

    Returns:
        (R + 1, P, W) weights, the intercepts' row last. Those of exclusive classes are known up to a constant.
    """
    x = torch.cat([x_nR.double(), torch.ones(len(x_nR), 1, dtype=torch.float64)], dim=1)
    penalty = torch.ones(x.shape[1], 1, 1, dtype=torch.float64)
    penalty[-1] = 0
    live = _Live.start(truth_nPW, scale_nP[..., None], offset_PW, penalty)
    solution, index = torch.empty_like(live.w), torch.arange(truth_nPW.shape[1])
    for _ in range(STEPS):
        if not len(index):
            break
        hessian = _Hessian.at(x, penalty, live)
        gradient = penalty * live.w + _times(x.T, live.scale * (hessian.p - live.truth))
        step = -_solve(hessian, gradient)
        decrement = -_dot(gradient, step)
        live = _line_search(live, penalty, step, _times(x, step), decrement)
        done = decrement <= tolerance
        if done.any():
            solution[:, index[done]] = live.w[:, done]
            live, index = live.keep(~done), index[~done]
    solution[:, index] = live.w
    return solution


class _Live(NamedTuple):
    """The regressions that are not solved yet, and how far they are.

    Attributes:
        truth: (n, P, W).
        scale: (n, P, 1) of the losses.
        offset: (P, W).
        w: (R + 1, P, W) weights, the intercepts' row last.
        score: (n, P, W) of the rows.
        value: (P,) the objective.
    """

    truth: Tensor
    scale: Tensor
    offset: Tensor
    w: Tensor
    score: Tensor
    value: Tensor

    @classmethod
    def start(cls, truth: Tensor, scale: Tensor, offset: Tensor, penalty: Tensor) -> _Live:
        """With weights of 0 and intercepts that give every class its share."""
        share = (scale * truth).sum(dim=0) / scale.sum(dim=0)
        usual = share.logit() if share.shape[1] == 1 else share.clamp(min=1e-12).log()
        w = torch.cat([torch.zeros(len(penalty) - 1, *usual.shape, dtype=torch.float64), usual[None]])
        nowhere = torch.empty(0, dtype=torch.float64)
        return cls(truth, scale, offset.double(), w, nowhere, nowhere).at(w, usual.expand_as(truth), penalty)

    def probability(self) -> Tensor:
        """(n, P, W)."""
        shifted = self.score + self.offset
        return shifted.sigmoid() if shifted.shape[2] == 1 else shifted.softmax(dim=2)

    def at(self, w: Tensor, score: Tensor, penalty: Tensor) -> _Live:
        """Elsewhere."""
        shifted = score + self.offset
        free = softplus(shifted[..., 0]) if score.shape[2] == 1 else shifted.logsumexp(dim=2)
        loss = free - (self.truth * score).sum(dim=2)
        value = (self.scale[..., 0] * loss).sum(dim=0) + _dot(penalty * w, w) / 2
        return self._replace(w=w, score=score, value=value)

    def keep(self, which: Tensor) -> _Live:
        """Some of the regressions."""
        truth, scale, w, score = (each[:, which] for each in (self.truth, self.scale, self.w, self.score))
        return _Live(truth, scale, self.offset[which], w, score, self.value[which])


class _Hessian(NamedTuple):
    """The Hessians of all regressions, as far as their products need them.

    Attributes:
        x: (n, R + 1) rows, a one at the end of each.
        penalty: (R + 1, 1, 1).
        p: (n, P, W) probabilities.
        curvature: (n, P, W) of the losses; of exclusive classes without what these have in common.
        inverse_diagonal: (R + 1, P, W).
    """

    x: Tensor
    penalty: Tensor
    p: Tensor
    curvature: Tensor
    inverse_diagonal: Tensor

    @classmethod
    def at(cls, x: Tensor, penalty: Tensor, live: _Live) -> _Hessian:
        """Where the regressions are."""
        p = live.probability()
        scaled = live.scale * p
        own = scaled * (1 - p)
        diagonal = penalty + _times(x.square().T, own)
        return cls(x, penalty, p, own if p.shape[2] == 1 else scaled, 1 / diagonal.clamp(min=1e-12))

    def times(self, direction: Tensor) -> Tensor:
        """(R + 1, P, W) to the same."""
        u = _times(self.x, direction)
        if u.shape[2] > 1:
            u -= (self.p * u).sum(dim=2, keepdim=True)
        u *= self.curvature
        return _times(self.x.T, u).addcmul_(self.penalty, direction)


def _solve(hessian: _Hessian, gradient: Tensor) -> Tensor:
    """Solve `hessian @ step = gradient` for every regression, the more exactly the nearer it is to its optimum."""
    step, residual = torch.zeros_like(gradient), gradient.clone()
    direction = hessian.inverse_diagonal * residual
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
        conditioned = hessian.inverse_diagonal * residual
        before, size = size, torch.where(going, _dot(residual, conditioned), size)
        direction = conditioned.addcmul_((size / before.clamp(min=1e-300))[:, None], direction)
    return step


def _line_search(live: _Live, penalty: Tensor, step: Tensor, slope: Tensor, decrement: Tensor) -> _Live:
    """Halve each step until it lowers the objective enough (Armijo's rule), but for what rounding hides."""
    length = torch.ones_like(decrement)
    slack = 1e-12 * (1 + live.value.abs())
    for _ in range(HALVINGS):
        there = live.at(live.w + length[:, None] * step, live.score + length[:, None] * slope, penalty)
        short = there.value > live.value - 1e-4 * length * decrement + slack
        if not short.any():
            break
        length = torch.where(short, length / 2, length)
    return there


def _times(matrix: Tensor, many: Tensor) -> Tensor:
    """(a, n) times (n, P, W)."""
    return (matrix @ many.reshape(len(many), -1)).reshape(len(matrix), *many.shape[1:])


def _dot(a: Tensor, b: Tensor) -> Tensor:
    return (a * b).sum(dim=(0, 2))
