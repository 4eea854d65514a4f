"""What augmentations share that are about a part of the recording."""

from __future__ import annotations

import torch
from torch import Tensor

from ecg_lightning.augment.base import Augmentation, Drawn
from ecg_lightning.errors import UserError


class OfAPart(Augmentation):
    """Base of those that draw a part of each recording, at random in length and place; an author writes `change`.

    Args:
        share: smallest and largest share of the recording that the part may be.
        p: see `Augmentation`.

    Raises:
        UserError: the shares are none.
    """

    def __init__(self, share: tuple[float, float], p: float = 1.0) -> None:
        super().__init__(p)
        if not 0 < share[0] <= share[1] <= 1:
            raise UserError(f"augment {type(self).__name__}: share={list(share)} must be two rising numbers in (0, 1]")
        self.share = share

    def draw(self, x_BLT: Tensor, valid_BT: Tensor | None = None) -> Drawn:
        """`share` (B,) that the part is, and `place` (B,) of its beginning among the possible ones, in [0, 1)."""
        low, high = self.share
        share, place = torch.rand(2, len(x_BLT), device=x_BLT.device)
        return {"share": low + (high - low) * share, "place": place}
