"""How many decisions are right and wrong, class by class, in a test set and in many resamples of it."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ecg_lightning.evaluation.bootstrap import Floats, Samples


class Decided(NamedTuple):
    """How many rows each of R resamples holds, are of each class, were decided to be of it, and both.

    Its metrics are (R, C), NaN where undefined. A class without a row has none but specificity, even where others are
    taken for it.

    Attributes:
        rows: (R, 1).
        true: (R, C).
        decided: (R, C).
        hit: (R, C).
    """

    rows: Floats
    true: Floats
    decided: Floats
    hit: Floats

    @property
    def rejected(self) -> Floats:
        """(R, C) rows that are not of the class and were not decided to be."""
        return self.rows - self.true - self.decided + self.hit

    @property
    def f1(self) -> Floats:
        """Harmonic mean of sensitivity and positive predictive value, 0 where no decision is right."""
        return np.where(self.true > 0, ratio(2 * self.hit, self.true + self.decided), np.nan)

    @property
    def sensitivity(self) -> Floats:
        """Also recall: share of the class that was decided to be of it."""
        return ratio(self.hit, self.true)

    @property
    def specificity(self) -> Floats:
        """Share of the others that were not."""
        return ratio(self.rejected, self.rows - self.true)

    @property
    def ppv(self) -> Floats:
        """Also precision: share of the decisions for the class that are right; undefined where there are none."""
        return np.where(self.true > 0, ratio(self.hit, self.decided), np.nan)


def ratio(part: Floats, whole: Floats) -> Floats:
    """The part of the whole, NaN where the whole is nothing."""
    of_whole: Floats = np.divide(part, whole, out=np.full_like(part, np.nan), where=whole > 0)
    return of_whole


def decided_by_label(truth_NC: NDArray[np.bool_], decision_NC: NDArray[np.bool_], samples: Samples) -> Decided:
    """Where each label is decided by itself.

    Args:
        truth_NC: (N, C).
        decision_NC: (N, C).
        samples: R of these rows.
    """
    sides = (np.ones_like(truth_NC[:, :1]), truth_NC, decision_NC, truth_NC & decision_NC)
    return Decided(*map(samples.totals, sides))


def decided_by_class(confusion_RCC: Floats) -> Decided:
    """Where classes exclude one another: what confusion matrices say of each class against the others.

    Args:
        confusion_RCC: (R, C, C) the truth in rows.
    """
    rows_R1 = confusion_RCC.sum(axis=(1, 2))[:, None]
    hit_RC = np.diagonal(confusion_RCC, axis1=1, axis2=2)
    return Decided(rows_R1, confusion_RCC.sum(axis=2), confusion_RCC.sum(axis=1), hit_RC)
