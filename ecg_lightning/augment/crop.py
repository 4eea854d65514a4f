"""Random resized crop (Szegedy et al. 2015), on time: the augmentation that contrastive ECG models gain most from."""

from __future__ import annotations

import torch
from torch import Tensor

from ecg_lightning.augment.base import Drawn, Windows, extent, sample_at
from ecg_lightning.augment.part import OfAPart


class RandomResizedCrop(OfAPart):
    """Cuts a stretch out of the recording and stretches it to the recording's length in the window.

    Args:
        share: smallest and largest share that is cut out; Mehari and Strodthoff (2022) take .5 to 1.
        p: see `Augmentation`.

    Raises:
        UserError: the shares are none.
    """

    def __init__(self, share: tuple[float, float] = (0.5, 1.0), p: float = 1.0) -> None:
        super().__init__(share, p)

    def change(self, x_BLT: Tensor, drawn: Drawn, valid_BT: Tensor | None = None) -> Windows:
        """See `Augmentation.change`."""
        begin, length = (part[:, None] for part in extent(x_BLT, valid_BT))
        last = length - 1
        share, place = drawn["share"][:, None], drawn["place"][:, None]
        t_T = torch.arange(x_BLT.shape[-1], device=x_BLT.device)
        cut = sample_at(x_BLT, (begin + last * place) * (1 - share) + share * t_T)
        return (cut, None) if valid_BT is None else (cut * valid_BT[:, None], valid_BT)
