"""The best F1 of a recording's labels that any one threshold gives: Fmax, as PTB-XL's benchmark has it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ecg_lightning.evaluation.bootstrap import Floats, Samples
from ecg_lightning.evaluation.decisions import ratio

THRESHOLDS = np.arange(101) / 100


def fmax(truth_NC: NDArray[np.bool_], probability_NC: Floats, samples: Samples) -> Floats:
    """Sample-centric Fmax of each sample (Strodthoff et al. 2020, after the protein function challenge CAFA).

    A label is given where its probability is at least the threshold, one of 0, .01, ..., 1 for all labels alike.
    Precision is that of each row, averaged over the rows that are given a label; recall that of each row, averaged over
    the rows that carry one. Fmax is the largest harmonic mean of the two.

    Args:
        truth_NC: (N, C).
        probability_NC: (N, C).
        samples: R of these rows.

    Returns:
        (R,), NaN where no row of a sample carries a label.
    """
    reached_NC = np.searchsorted(THRESHOLDS, probability_NC, side="right")
    given_NT, right_NT = (_reaching(reached_NC, which_NC) for which_NC in (np.ones_like(truth_NC), truth_NC))
    carried_N1 = truth_NC.sum(axis=1, keepdims=True)
    columns = (right_NT / given_NT.clip(1), given_NT > 0, right_NT / carried_N1.clip(1), carried_N1 > 0)
    precise_RT, speaking_RT, found_RT, carrying_R1 = map(samples.totals, columns)
    precision_RT, recall_RT = ratio(precise_RT, speaking_RT), ratio(found_RT, carrying_R1)
    best_R: Floats = np.fmax.reduce(ratio(2 * precision_RT * recall_RT, precision_RT + recall_RT), axis=1)
    return best_R


def _reaching(reached_NC: NDArray[np.int64], which_NC: NDArray[np.bool_]) -> NDArray[np.int64]:
    """(N, T) how many of the marked labels reach each threshold, from how many thresholds each label reaches."""
    rows, levels = len(reached_NC), len(THRESHOLDS) + 1
    cell_NC = levels * np.arange(rows)[:, None] + reached_NC
    count_NL = np.bincount(cell_NC[which_NC], minlength=rows * levels).reshape(rows, levels)
    at_least_NL: NDArray[np.int64] = count_NL[:, ::-1].cumsum(axis=1)[:, ::-1]
    return at_least_NL[:, 1:]
