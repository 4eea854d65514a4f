"""From an encoder's tokens to the features that a probe or a head reads."""

from __future__ import annotations

import torch
from torch import Tensor

from ecg_lightning.encoders.base import Encoder

BEAT_PARTS = 4
"""Equal parts of a beat's span, described one after the other: their mean alone would lose the order of the waves."""

WINDOW_PARTS = 4
"""Ways to describe a whole window. On PTB-XL's validation fold they are worth .03 of macro AUROC with 100 labels, and
more than that to a random encoder."""


def read_out(encoder: Encoder, x_BLT: Tensor, span_B2: Tensor | None) -> Tensor:
    """Features of windows, or of the beat within each beside those of its window.

    A beat is described by the tokens that cover it, part by part and each weighted by its overlap with the part, so
    that the rhythm around it, which the window's features tell, helps and does not drown it. A whole window is
    described by its features and by how its tokens vary (statistics pooling, Snyder et al. 2018): what one beat or
    one wave shows leaves little trace in a mean.

    Args:
        encoder: any encoder.
        x_BLT: (B, L, T) standardised windows.
        span_B2: (B, 2) first and one-past-last sample of the beat; None where the whole window is meant.

    Returns:
        (B, WINDOW_PARTS D): the window's features, then its tokens' standard deviation, maximum and minimum; or
        (B, (BEAT_PARTS + 1) D) with the beat first and the window's features last.
    """
    tokens = encoder.tokens(x_BLT)
    window = encoder.pool(tokens)
    if span_B2 is None:
        deviation = (tokens.var(dim=1, unbiased=False) + 1e-6).sqrt()  # whose gradient is finite at 0
        return torch.cat([window, deviation, tokens.amax(dim=1), tokens.amin(dim=1)], dim=-1)
    weight = coverage(split_span(span_B2, BEAT_PARTS), tokens.shape[1], x_BLT.shape[-1]).to(tokens)
    beat = torch.einsum("bkn,bnd->bkd", weight, tokens).flatten(1)
    return torch.cat([beat, window], dim=-1)


def width(encoder: Encoder, beats: bool) -> int:
    """How many features `read_out` gives."""
    return encoder.dim * (BEAT_PARTS + 1 if beats else WINDOW_PARTS)


def split_span(span_B2: Tensor, parts: int) -> Tensor:
    """Cut spans into equal parts, (B, parts, 2)."""
    share = torch.arange(parts + 1, device=span_B2.device) / parts
    edge = span_B2[:, :1] + (span_B2[:, 1:] - span_B2[:, :1]) * share
    return torch.stack([edge[:, :-1], edge[:, 1:]], dim=-1)


def coverage(span_BK2: Tensor, N: int, T: int) -> Tensor:
    """How much of each span each of N equal shares of T samples covers, (B, K, N), adding up to 1 over N."""
    edge = torch.arange(N + 1, device=span_BK2.device) * (T / N)
    overlap = torch.minimum(edge[1:], span_BK2[..., 1:]) - torch.maximum(edge[:-1], span_BK2[..., :1])
    overlap = overlap.clamp(min=0)
    return overlap / overlap.sum(dim=-1, keepdim=True).clamp(min=1e-12)
