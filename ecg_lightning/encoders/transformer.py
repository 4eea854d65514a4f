"""The pre-norm transformer that vision transformers and their decoders are made of."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Block(nn.Module):
    """Self-attention and MLP, each behind a LayerNorm and beside a residual path (Dosovitskiy et al. 2021).

    Args:
        dim: `D`.
        heads: attention heads; divides `dim`.
    """

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm_attention = nn.LayerNorm(dim)
        self.qkv = nn.Linear(dim, 3 * dim)
        self.project = nn.Linear(dim, dim)
        self.norm_mlp = nn.LayerNorm(dim)
        self.mlp = nn.Sequential(nn.Linear(dim, 4 * dim), nn.GELU(), nn.Linear(4 * dim, dim))

    def forward(self, t_BND: Tensor, valid_BN: Tensor | None = None) -> Tensor:
        """(B, N, D) to (B, N, D); tokens that are not valid are seen by none."""
        t_BND = t_BND + self._attend(self.norm_attention(t_BND), valid_BN)
        out: Tensor = t_BND + self.mlp(self.norm_mlp(t_BND))
        return out

    def _attend(self, t_BND: Tensor, valid_BN: Tensor | None) -> Tensor:
        B, N, D = t_BND.shape
        q, k, v = self.qkv(t_BND).view(B, N, 3, self.heads, D // self.heads).permute(2, 0, 3, 1, 4)
        seen = None if valid_BN is None else valid_BN[:, None, None, :]
        mixed: Tensor = F.scaled_dot_product_attention(q, k, v, attn_mask=seen)
        out: Tensor = self.project(mixed.transpose(1, 2).reshape(B, N, D))
        return out


class Transformer(nn.Module):
    """A stack of blocks with a LayerNorm at its end.

    Args:
        dim: `D`.
        depth: number of blocks.
        heads: attention heads of each.
    """

    def __init__(self, dim: int, depth: int, heads: int) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(Block(dim, heads) for _ in range(depth))
        self.norm = nn.LayerNorm(dim)

    def forward(self, t_BND: Tensor, valid_BN: Tensor | None = None) -> Tensor:
        """(B, N, D) to (B, N, D); tokens that are not valid, (B, N) bool, are seen by none."""
        for block in self.blocks:
            t_BND = block(t_BND, valid_BN)
        out: Tensor = self.norm(t_BND)
        return out


def sincos_positions(count: int, dim: int) -> Tensor:
    """Fixed sine-cosine positions (Vaswani et al. 2017), (count, dim) float32."""
    frequency = torch.exp(torch.arange(0, dim, 2) * (-math.log(10_000.0) / dim))
    angle = torch.arange(count)[:, None] * frequency
    return torch.cat([angle.sin(), angle.cos()], dim=1)[:, :dim]


def initialise(module: nn.Module) -> None:
    """Xavier for matrices, zero for biases, as MAE (He et al. 2022) does; for `nn.Module.apply`."""
    if isinstance(module, nn.Linear):
        nn.init.xavier_uniform_(module.weight)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
