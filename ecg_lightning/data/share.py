"""A share of the patients: what pretraining sees when it is asked how much data it takes."""

from __future__ import annotations

from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

from ecg_lightning.errors import UserError


def check_share(share: float) -> None:
    """Say that a number is no share.

    Raises:
        UserError: it is not above 0 and at most 1.
    """
    if not 0 < share <= 1:
        raise UserError(f"data.share={share} must be above 0 and at most 1")


def share_of_patients(patients: NDArray[np.str_], share: float, seed: int) -> NDArray[np.str_]:
    """Some of the patients: whoever is in a share is in every larger one, and in that of any data set of theirs.

    Args:
        patients: (N,) all of them, each once.
        share: of them, above 0; somebody is always kept.
        seed: of the draw.

    Returns:
        The names that are kept, in the order of the draw.
    """
    luck = [blake2b(f"{seed}:{name}".encode(), digest_size=8).digest() for name in patients.tolist()]
    return patients[np.argsort(luck)[: max(1, round(share * len(patients)))]]
