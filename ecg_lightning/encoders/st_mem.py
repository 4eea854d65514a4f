"""The lead-wise vision transformer of ST-MEM (Na et al., ICLR 2024)."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from ecg_lightning.encoders.transformer import initialise, sincos_positions
from ecg_lightning.encoders.vit import ViT
from ecg_lightning.signal import SignalSpec


class STMEM(ViT):
    """A ViT whose patch is a fraction of a second of one lead; every token sees those of all leads.

    The leads share what embeds a patch, with a LayerNorm before and after. A token knows when it is by fixed sines, and
    whose by its lead's learned vector. Beside each lead stand two separators that know the lead and no time.

    Args:
        spec: the signal; its length must be whole patches.
        dim: `D`.
        depth: transformer blocks.
        heads: attention heads; must divide `dim`.
        patch_seconds: length of one patch in seconds.

    Raises:
        UserError: see `ViT`.
    """

    undecayed: ClassVar[tuple[str, ...]] = ("leads",)

    def __init__(self, spec: SignalSpec, dim: int, depth: int, heads: int, patch_seconds: float) -> None:
        super().__init__(spec, dim, depth, heads, patch_seconds)
        self.lanes = len(spec.leads)
        self.project = nn.Sequential(nn.LayerNorm(self.patch), nn.Linear(self.patch, dim), nn.LayerNorm(dim))
        self.project.apply(initialise)
        self.leads = nn.Parameter(torch.empty(self.lanes, dim).normal_(std=0.02))
        self.separator = nn.Parameter(torch.empty(dim).normal_(std=0.02))

    def embed(self, x_BLT: Tensor) -> Tensor:
        """See `PatchEncoder.embed`.

        Raises:
            UserError: T is not a whole number of patches.
        """
        self._check(x_BLT.shape[-1])
        patches = self.project(self.patchify(x_BLT))
        positions = sincos_positions(patches.shape[1] // self.lanes, self.dim).to(patches)
        tokens: Tensor = patches + (positions + self.leads[:, None]).flatten(0, 1)
        return tokens

    def encode(self, t_BKD: Tensor, valid_BK: Tensor | None = None) -> Tensor:
        """See `PatchEncoder.encode`; attention knows no order, so the separators may stand at the end."""
        B, K, _ = t_BKD.shape
        separators = (self.leads + self.separator).repeat(2, 1).to(t_BKD).expand(B, -1, -1)
        if valid_BK is not None:
            valid_BK = torch.cat([valid_BK, valid_BK.new_ones(separators.shape[:2])], dim=1)
        return super().encode(torch.cat([t_BKD, separators], dim=1), valid_BK)[:, :K]
