"""How classifiers of beats are compared: j-kappa (Mar et al. 2011)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ecg_lightning.evaluation.bootstrap import Floats
from ecg_lightning.evaluation.confusion import kappa
from ecg_lightning.evaluation.decisions import decided_by_class, ratio

EXCUSED = {"S": ("Q",), "V": ("F", "Q")}
"""Beats that may be taken for ectopic ones without counting as false: unknown ones for S, fused or unknown ones for V
(AAMI EC57, as de Chazal et al. 2004 read it)."""


def is_aami(classes: Sequence[str]) -> bool:
    """Whether the classes are those of beats, S and V among them."""
    return EXCUSED.keys() <= set(classes)


def j_kappa(confusion_RCC: Floats, classes: Sequence[str]) -> Floats:
    """Half of kappa and an eighth of the j index: the sensitivities and predictive values of S and V, added up.

    Args:
        confusion_RCC: (R, C, C) the truth in rows.
        classes: the C names, see `is_aami`.

    Returns:
        (R,), NaN where a part of it is undefined.
    """
    decided = decided_by_class(confusion_RCC)
    j_R = np.zeros(len(confusion_RCC))
    for name, others in EXCUSED.items():
        c, excused = classes.index(name), [classes.index(other) for other in others if other in classes]
        counted_R = decided.decided[:, c] - confusion_RCC[:, excused, c].sum(axis=1)
        j_R += ratio(decided.hit[:, c], decided.true[:, c]) + ratio(decided.hit[:, c], counted_R)
    return kappa(confusion_RCC) / 2 + j_R / 8
