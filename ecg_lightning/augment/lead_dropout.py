"""Lead dropout: electrodes that came off."""

from __future__ import annotations

import torch
from torch import Tensor

from ecg_lightning.augment.base import Augmentation, Drawn, Windows
from ecg_lightning.errors import UserError


class LeadDropout(Augmentation):
    """Silences leads at random, never all of a window: one, drawn at random, is always spared.

    Args:
        share: how likely each of the other leads falls silent; .5 is the random lead masking of Oh et al. (2022).
        p: see `Augmentation`.

    Raises:
        UserError: the share is none.
    """

    def __init__(self, share: float = 0.5, p: float = 1.0) -> None:
        super().__init__(p)
        if not 0 < share <= 1:
            raise UserError(f"augment LeadDropout: share={share} must lie above 0 and be at most 1")
        self.share = share

    def draw(self, x_BLT: Tensor, valid_BT: Tensor | None = None) -> Drawn:
        """`luck` (B, L) in [0, 1), below the share for leads that fall silent; `spared` (B,), the one that cannot."""
        B, L, _ = x_BLT.shape
        return {
            "luck": torch.rand(B, L, device=x_BLT.device),
            "spared": torch.randint(L, (B,), device=x_BLT.device),
        }

    def change(self, x_BLT: Tensor, drawn: Drawn, valid_BT: Tensor | None = None) -> Windows:
        """See `Augmentation.change`."""
        lead_L = torch.arange(x_BLT.shape[1], device=x_BLT.device)
        heard_BL = (drawn["luck"] >= self.share) | (lead_L == drawn["spared"][:, None])
        return x_BLT * heard_BL[:, :, None], valid_BT
