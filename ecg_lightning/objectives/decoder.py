"""What guesses the hidden tokens from the visible ones."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ecg_lightning.encoders.transformer import Transformer, initialise, sincos_positions
from ecg_lightning.errors import UserError
from ecg_lightning.objectives.masking import Mask


class MaskedDecoder(nn.Module):
    """A narrow transformer over visible tokens and, where the others were, a learnt mask token (He et al. 2022).

    Lanes are decoded one by one: a lane sees no other but through what the encoder made of the visible tokens.

    Args:
        name: of its arguments in the configuration, for messages, as in `objective.NAME_dim`.
        encoder_dim: width of the visible tokens.
        out_dim: width of a guess.
        dim: `E`, its own width.
        depth: its blocks.
        heads: its attention heads.

    Raises:
        UserError: a size is below 1, or `dim` no multiple of `heads`.
    """

    def __init__(self, name: str, encoder_dim: int, out_dim: int, dim: int, depth: int, heads: int) -> None:
        super().__init__()
        for key, value in (("dim", dim), ("depth", depth), ("heads", heads)):
            if value < 1:
                raise UserError(f"objective.{name}_{key}={value} must be at least 1")
        if dim % heads:
            raise UserError(f"objective.{name}_dim={dim} is no multiple of objective.{name}_heads={heads}")
        self.widen = nn.Linear(encoder_dim, dim)
        self.mask_token = nn.Parameter(torch.empty(dim).normal_(std=0.02))
        self.transformer = Transformer(dim, depth, heads)
        self.guess = nn.Linear(dim, out_dim)
        for part in (self.widen, self.transformer, self.guess):
            part.apply(initialise)

    def forward(self, seen_BKD: Tensor, mask: Mask, lanes: int, valid_BM: Tensor | None = None) -> Tensor:
        """Guess every token from the visible ones.

        Args:
            seen_BKD: (B, K, D) what the encoder made of the visible tokens.
            mask: which ones these are.
            lanes: number of lanes that the M tokens lie in.
            valid_BM: (B, M) bool, the tokens inside the recording, None for all.

        Returns:
            (B, M, out_dim).
        """
        full = self._fill(self.widen(seen_BKD), mask)
        B, M, E = full.shape
        rows = full.reshape(B * lanes, M // lanes, E)
        valid = None if valid_BM is None else valid_BM.reshape(B * lanes, M // lanes)
        decoded = self.transformer(rows + sincos_positions(M // lanes, E).to(rows), valid)
        out: Tensor = self.guess(decoded).view(B, M, -1)
        return out

    def _fill(self, seen_BKE: Tensor, mask: Mask) -> Tensor:
        """The visible tokens back in their places, mask tokens in the others."""
        E = seen_BKE.shape[-1]
        token = self.mask_token.to(seen_BKE.dtype)
        if mask.shown is not None:
            seen_BKE = torch.where(mask.shown[..., None], seen_BKE, token)
        return token.expand(*mask.masked.shape, E).scatter(1, mask.visible[..., None].expand(-1, -1, E), seen_BKE)
