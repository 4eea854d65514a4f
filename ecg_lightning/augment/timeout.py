"""Time out: a stretch of the recording falls silent."""

from __future__ import annotations

import torch
from torch import Tensor

from ecg_lightning.augment.base import Drawn, Windows, extent
from ecg_lightning.augment.part import OfAPart
from ecg_lightning.errors import UserError


class TimeOut(OfAPart):
    """Sets a stretch of all leads to 0.

    Args:
        share: smallest and largest share of the recording that falls silent; .2 to .4 in Mehari and Strodthoff (2022).
        p: see `Augmentation`.

    Raises:
        UserError: the shares are none, or nothing would be left.
    """

    def __init__(self, share: tuple[float, float] = (0.2, 0.4), p: float = 1.0) -> None:
        super().__init__(share, p)
        if share[1] == 1:
            raise UserError(f"augment TimeOut: share={list(share)} would leave nothing; the larger must be below 1")

    def change(self, x_BLT: Tensor, drawn: Drawn, valid_BT: Tensor | None = None) -> Windows:
        """See `Augmentation.change`."""
        begin, length = extent(x_BLT, valid_BT)
        silent = (drawn["share"] * length).long()
        first = begin + (drawn["place"] * (length - silent + 1)).long()
        t_T = torch.arange(x_BLT.shape[-1], device=x_BLT.device)
        heard = (t_T < first[:, None]) | (t_T >= (first + silent)[:, None])
        return x_BLT * heard.to(x_BLT)[:, None], valid_BT
