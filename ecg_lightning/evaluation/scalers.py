"""Scalers: maps of probabilities towards what was observed where they were fitted."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ecg_lightning.evaluation.calibration import EDGE
from ecg_lightning.evaluation.cell import Labels, Probability

Floats = NDArray[np.float64]

SCALES = (0.05, 20.0)
"""Of logits; 1 / temperature. Where the validation split is told apart without a fault, the best has no end."""


@dataclass(frozen=True)
class Scaler:
    """A map of probabilities, fitted.

    Attributes:
        details: plain values for `result.json`: what was found, and the classes that are left as they were.
        apply: see `__call__`.
    """

    details: Mapping[str, Any]
    apply: Callable[[Probability], Probability]

    def __call__(self, probability: Probability) -> Probability:
        """(N, C) probabilities to (N, C) probabilities."""
        return self.apply(probability)


def temperature(probability: Probability, y: Labels, classes: Sequence[str]) -> Scaler:
    """Logits divided by one number, that of the least log-loss (Guo et al. 2017).

    The most probable of exclusive classes stays the most probable. Labels that do not exclude one another keep their
    order of the rows, and with it AUROC and average precision, as do two exclusive classes. Those of three or more
    need not stay: each class is ranked against the rest by a probability in which all logits of a row have a part.

    Args:
        probability: (N, C) said of what is learned from.
        y: (N,) class numbers, or (N, C) zeros and ones.
        classes: the C names.
    """
    from scipy.optimize import minimize_scalar

    multi_label = y.ndim == 2
    link = _sigmoid if multi_label else _softmax
    z_NC, target_NC = _logits(probability, multi_label), _targets(y, len(classes))

    def loss(log_scale: float) -> float:
        return _loss(np.exp(log_scale) * z_NC, target_NC, link)[0]

    low, high = np.log(SCALES).tolist()
    scale = float(np.exp(minimize_scalar(loss, bounds=(low, high), method="bounded", options={"xatol": 1e-9}).x))
    return Scaler({"temperature": 1 / scale, "unscaled": []}, lambda p_NC: link(scale * _logits(p_NC, multi_label))[1])


def vector(probability: Probability, y: Labels, classes: Sequence[str]) -> Scaler:
    """Each class's logit times a number plus another, those of the least log-loss (Guo et al. 2017).

    The factors are positive: labels that do not exclude one another keep their order of the rows. Arguments as in
    `temperature`; see `_classwise` for classes that cannot be scaled.
    """
    multi_label = y.ndim == 2

    def learn(p_NK: Probability, target_NK: Floats) -> _Learned:
        return _affine(p_NK, target_NK, _sigmoid if multi_label else _softmax, SCALES)

    return _classwise(probability, y, classes, learn)


def platt(probability: Probability, y: Labels, classes: Sequence[str]) -> Scaler:
    """Each class against the rest: its log-odds times a number plus another, through a sigmoid (Platt 1999).

    As in the paper, the targets lie a little inside 0 and 1, the more so the fewer examples there are; and a class that
    is ranked the wrong way round is turned round. Arguments as in `temperature`; see `_classwise` for classes that
    cannot be scaled.
    """

    def learn(p_NK: Probability, target_NK: Floats) -> _Learned:
        positive_K = target_NK.sum(axis=0)
        high_K, low_K = (positive_K + 1) / (positive_K + 2), 1 / (len(target_NK) - positive_K + 2)
        return _affine(p_NK, np.where(target_NK > 0, high_K, low_K), _sigmoid, (None, None))

    return _classwise(probability, y, classes, learn)


def isotonic(probability: Probability, y: Labels, classes: Sequence[str]) -> Scaler:
    """Each class against the rest: the rising steps nearest to the labels (Zadrozny & Elkan 2002).

    Rows on one step become equal, which changes AUROC a little. Arguments as in `temperature`; see `_classwise` for
    classes that cannot be scaled.
    """

    def learn(p_NK: Probability, target_NK: Floats) -> _Learned:
        from sklearn.isotonic import IsotonicRegression

        steps = [IsotonicRegression(out_of_bounds="clip").fit(p_N, target_N)
                 for p_N, target_N in zip(p_NK.T, target_NK.T, strict=True)]  # fmt: skip
        levels = np.array([len(np.unique(step.y_thresholds_)) for step in steps])

        def apply(p_NK: Probability) -> Probability:
            return np.stack([step.predict(p_N) for step, p_N in zip(steps, p_NK.T, strict=True)], axis=1)

        return _Learned({"levels": levels}, apply)

    return _classwise(probability, y, classes, learn)


SCALERS: Mapping[str, Callable[[Probability, Labels, Sequence[str]], Scaler]] = {
    "temperature": temperature,
    "vector": vector,
    "platt": platt,
    "isotonic": isotonic,
}
"""By the name that `calibration` has for them in `conf/evaluate.yaml`."""


class _Learned(NamedTuple):
    """A map of K classes, (N, K) to (N, K), and what it consists of, (K,) by name."""

    details: Mapping[str, NDArray[Any]]
    apply: Callable[[Probability], Probability]


def _classwise(
    probability: Probability, y: Labels, classes: Sequence[str], learn: Callable[[Probability, Floats], _Learned]
) -> Scaler:
    """A scaler of those classes of which the labels hold positives and negatives; the others keep their probability.

    Exclusive classes share out anew what the kept ones leave.
    """
    target_NC = _targets(y, len(classes))
    fit_C = np.asarray(target_NC.any(axis=0) & ~target_NC.all(axis=0))
    names = [name for name, fit in zip(classes, fit_C.tolist(), strict=True) if fit]
    details: dict[str, Any] = {"unscaled": [name for name in classes if name not in names]}
    if not names:
        return Scaler(details, lambda p_NC: p_NC)
    learned = learn(probability[:, fit_C], target_NC[:, fit_C])
    details |= {key: dict(zip(names, value.tolist(), strict=True)) for key, value in learned.details.items()}

    def apply(p_NC: Probability) -> Probability:
        scaled_NC, part_NK = p_NC.astype(np.float64), learned.apply(p_NC[:, fit_C])
        if y.ndim == 1:
            total_N1 = part_NK.sum(axis=1, keepdims=True)
            rest_NK = scaled_NC[:, fit_C]
            share_NK = np.divide(part_NK, total_N1, out=np.full_like(part_NK, 1 / len(names)), where=total_N1 > 0)
            part_NK = rest_NK.sum(axis=1, keepdims=True) * share_NK
        scaled_NC[:, fit_C] = part_NK
        return scaled_NC

    return Scaler(details, apply)


Link = Callable[[Floats], tuple[Floats, Floats]]
"""(N, K) logits to their log-normaliser, (N,), and its gradient: (N, K) probabilities."""


def _sigmoid(z_NK: Floats) -> tuple[Floats, Floats]:
    from scipy.special import expit

    return np.logaddexp(0, z_NK).sum(axis=1), expit(z_NK)


def _softmax(z_NK: Floats) -> tuple[Floats, Floats]:
    from scipy.special import logsumexp, softmax

    return logsumexp(z_NK, axis=1), softmax(z_NK, axis=1)


def _loss(z_NK: Floats, target_NK: Floats, link: Link) -> tuple[float, Floats]:
    """The mean log-loss of logits, and its gradient, (N, K)."""
    normaliser_N, p_NK = link(z_NK)
    return float((normaliser_N - (target_NK * z_NK).sum(axis=1)).mean()), (p_NK - target_NK) / len(z_NK)


def _affine(
    probability: Probability, target_NK: Floats, link: Link, scales: tuple[float | None, float | None]
) -> _Learned:
    """The factors and summands of the logits that have the least log-loss, a convex problem."""
    from scipy.optimize import minimize

    def solve(z_NB: Floats, target_NB: Floats) -> Floats:
        def loss(parameters: Floats) -> tuple[float, Floats]:
            scale_B, bias_B = parameters.reshape(2, -1)
            value, slope_NB = _loss(scale_B * z_NB + bias_B, target_NB, link)
            return value, np.concatenate([(slope_NB * z_NB).sum(axis=0), slope_NB.sum(axis=0)])

        size = z_NB.shape[1]
        bounds = [scales] * size + [(None, None)] * size
        start = np.repeat([1.0, 0.0], size).astype(np.float64)
        found = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds,
                         options={"gtol": 1e-10, "ftol": 1e-15, "maxiter": 1000})  # fmt: skip
        return np.asarray(found.x).reshape(2, -1)

    z_NK = _logits(probability, link is _sigmoid)
    together = [slice(None)] if link is _softmax else [slice(k, k + 1) for k in range(z_NK.shape[1])]
    scale_K, bias_K = np.concatenate([solve(z_NK[:, part], target_NK[:, part]) for part in together], axis=1)
    return _Learned({"scale": scale_K, "bias": bias_K},
                    lambda p_NK: link(scale_K * _logits(p_NK, link is _sigmoid) + bias_K)[1])  # fmt: skip


def _logits(probability: Probability, odds: bool) -> Floats:
    """Log-odds or logarithms of probabilities moved off 0 and 1, their order kept."""
    inside = EDGE + (1 - 2 * EDGE) * np.clip(probability, 0, 1).astype(np.float64)
    return np.log(inside) - (np.log1p(-inside) if odds else 0.0)


def _targets(y: Labels, classes: int) -> Floats:
    """(N, C) zeros and ones."""
    return (y if y.ndim == 2 else y[:, None] == np.arange(classes)).astype(np.float64)
