"""What a network can be asked to recognise of a signal: how its values were changed, or that it runs backwards.

The transformations of Sarkar and Etemad (2020), with those of time in `retiming`; each has one strength, the same for
all windows.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ecg_lightning.augment.base import Augmentation, Drawn, Windows, centred, extent
from ecg_lightning.errors import UserError


class Unchanged(Augmentation):
    """Leaves the windows as they are."""

    def draw(self, x_BLT: Tensor, valid_BT: Tensor | None = None) -> Drawn:
        """Nothing."""
        return {}

    def change(self, x_BLT: Tensor, drawn: Drawn, valid_BT: Tensor | None = None) -> Windows:
        """See `Augmentation.change`."""
        return x_BLT, valid_BT


class Scaling(Augmentation):
    """Multiplies all samples by one number; -1 turns the signal upside down.

    Windows are standardised before, so that the amplitude alone gives it away.

    Args:
        factor: the number.
        p: see `Augmentation`.

    Raises:
        UserError: nothing would be left.
    """

    def __init__(self, factor: float, p: float = 1.0) -> None:
        super().__init__(p)
        if factor == 0:
            raise UserError("augment Scaling: factor=0 leaves no signal; take another number")
        self.factor = factor

    def draw(self, x_BLT: Tensor, valid_BT: Tensor | None = None) -> Drawn:
        """Nothing."""
        return {}

    def change(self, x_BLT: Tensor, drawn: Drawn, valid_BT: Tensor | None = None) -> Windows:
        """See `Augmentation.change`."""
        return self.factor * x_BLT, valid_BT


class NoiseAtSNR(Augmentation):
    """Adds white Gaussian noise whose power is a share of each lead's own.

    Args:
        snr_db: power of the lead, without its mean, over that of the noise, in dB.
        p: see `Augmentation`.
    """

    def __init__(self, snr_db: float, p: float = 1.0) -> None:
        super().__init__(p)
        self.snr_db = snr_db

    def draw(self, x_BLT: Tensor, valid_BT: Tensor | None = None) -> Drawn:
        """`noise` (B, L, T) of standard deviation 1."""
        return {"noise": torch.randn_like(x_BLT)}

    def change(self, x_BLT: Tensor, drawn: Drawn, valid_BT: Tensor | None = None) -> Windows:
        """See `Augmentation.change`."""
        length = extent(x_BLT, valid_BT)[1][:, None, None]
        power = centred(x_BLT, valid_BT).square().sum(dim=2, keepdim=True) / length
        noisy = x_BLT + drawn["noise"] * (power * 10 ** (-self.snr_db / 10)).sqrt()
        return (noisy, None) if valid_BT is None else (noisy * valid_BT[:, None], valid_BT)


class TimeReversal(Augmentation):
    """Plays the recording backwards, in the place where it lies in its window."""

    def draw(self, x_BLT: Tensor, valid_BT: Tensor | None = None) -> Drawn:
        """Nothing."""
        return {}

    def change(self, x_BLT: Tensor, drawn: Drawn, valid_BT: Tensor | None = None) -> Windows:
        """See `Augmentation.change`."""
        if valid_BT is None:
            return x_BLT.flip(2), None
        begin, length = (part[:, None] for part in extent(x_BLT, valid_BT))
        t_T = torch.arange(x_BLT.shape[-1], device=x_BLT.device)
        mirrored_BT = (2 * begin + length - 1 - t_T).clamp(0, len(t_T) - 1)
        return x_BLT.take_along_dim(mirrored_BT[:, None], dim=2) * valid_BT[:, None], valid_BT
