"""The score of the PhysioNet/CinC Challenges 2020 and 2021."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ecg_lightning.data.snomed import ChallengeWeights
from ecg_lightning.evaluation.bootstrap import Floats, Samples


def challenge_metric(
    truth_NC: NDArray[np.bool_],
    decision_NC: NDArray[np.bool_],
    classes: Sequence[str],
    weights: ChallengeWeights,
    samples: Samples,
) -> Floats:
    """The challenge metric of each sample (Perez Alday et al. 2020): mistakes that matter less cost less.

    Each recording earns the weights of every pair of a label that it carries and one that it is given, divided by the
    number of labels that it carries or is given. The sum is scaled: 1 is what the labels themselves earn, 0 what it
    earns to give everybody the normal class. Labels that the challenge did not score are not looked at.

    Args:
        truth_NC: (N, C).
        decision_NC: (N, C).
        classes: the C names; some of the scored diagnoses may be missing.
        weights: of the challenge.
        samples: R of these rows.

    Returns:
        (R,), NaN where the normal class earns as much as the truth (the challenges' own code says 0).
    """
    carried_NK, given_NK = (_of_scored(side, classes, weights.names) for side in (truth_NC, decision_NC))
    normal_NK = np.zeros_like(carried_NK)
    normal_NK[:, weights.names.index(weights.normal)] = True
    earned_N3 = np.stack(
        [_earned(carried_NK, each, weights.credit) for each in (given_NK, normal_NK, carried_NK)], axis=1
    )
    observed_R, inactive_R, correct_R = samples.totals(earned_N3).T
    best_R = correct_R - inactive_R
    metric_R: Floats = np.divide(observed_R - inactive_R, best_R, out=np.full_like(best_R, np.nan), where=best_R != 0)
    return metric_R


def _of_scored(labels_NC: NDArray[np.bool_], classes: Sequence[str], names: Sequence[str]) -> NDArray[np.bool_]:
    """(N, K) the scored diagnoses of each row."""
    labels_NK = np.zeros((len(labels_NC), len(names)), dtype=bool)
    for c, name in enumerate(classes):
        if name in names:
            labels_NK[:, names.index(name)] = labels_NC[:, c]
    return labels_NK


def _earned(carried_NK: NDArray[np.bool_], given_NK: NDArray[np.bool_], credit_KK: Floats) -> Floats:
    """(N,) what each recording earns."""
    earned_N: Floats = ((carried_NK @ credit_KK) * given_NK).sum(axis=1) / (carried_NK | given_NK).sum(axis=1).clip(1)
    return earned_N
