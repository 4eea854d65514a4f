"""Blur: a short smoothing along time."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from ecg_lightning.augment.base import Augmentation, Drawn, Windows
from ecg_lightning.errors import UserError


class Blur(Augmentation):
    """Replaces each sample by a weighted mean of its neighbours within the recording.

    At the recording's ends the weights of the neighbours that are there count alone, so that nothing fades to 0.

    Args:
        kernel: the weights, an odd number of them, the middle one the sample's own; .1, .2, .4, .2, .1 in Mehari and
            Strodthoff (2022).
        p: see `Augmentation`.

    Raises:
        UserError: the weights are even in number, or negative, or the middle one is 0.
    """

    def __init__(self, kernel: tuple[float, ...] = (0.1, 0.2, 0.4, 0.2, 0.1), p: float = 1.0) -> None:
        super().__init__(p)
        if len(kernel) % 2 == 0 or min(kernel) < 0 or kernel[len(kernel) // 2] == 0:
            raise UserError(
                f"augment Blur: kernel={list(kernel)} must be an odd number of weights, none below 0, the middle above"
            )
        self.kernel = tuple(kernel)

    def draw(self, x_BLT: Tensor, valid_BT: Tensor | None = None) -> Drawn:
        """Nothing: it is random in whom it meets alone."""
        return {}

    def change(self, x_BLT: Tensor, drawn: Drawn, valid_BT: Tensor | None = None) -> Windows:
        """See `Augmentation.change`."""
        inside = torch.ones_like(x_BLT[:1, 0]) if valid_BT is None else valid_BT.to(x_BLT)
        weight_BT = self._neighbours(inside[:, None])[:, 0].clamp(min=min(filter(None, self.kernel)))
        blurred = self._neighbours(x_BLT) / weight_BT[:, None]
        return (blurred if valid_BT is None else blurred * inside[:, None]), valid_BT

    def _neighbours(self, x_BLT: Tensor) -> Tensor:
        """(B, L, T) weighted sums, as if there were 0 beyond the ends."""
        reach, samples = len(self.kernel) // 2, x_BLT.shape[-1]
        padded = F.pad(x_BLT, (reach, reach))
        total = self.kernel[0] * padded[..., :samples]
        for begin, weight in enumerate(self.kernel[1:], start=1):  # many times faster than a convolution of one channel
            total.add_(padded[..., begin : begin + samples], alpha=weight)
        return total
