"""From an encoder's tokens to the features that a probe or a head reads, and the head."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ecg_lightning.data.windows import Batch
from ecg_lightning.encoders.base import Encoder, token_validity

BEAT_PARTS = 4
"""Equal parts of a beat's span, described one after the other: their mean alone would lose the order of the waves."""

WINDOW_PARTS = 4
"""Ways to describe a whole window. On PTB-XL's validation fold they are worth .03 of macro AUROC with 100 labels, and
more than that to a random encoder."""


def read_out(encoder: Encoder, batch: Batch) -> Tensor:
    """Features of windows, or of the beat within each beside those of its window.

    A beat is described by the tokens that cover it, part by part and each weighted by its overlap with the part, so
    that the rhythm around it, which the window's features tell, helps and does not drown it. A whole window is
    described by its features and by how its tokens vary (statistics pooling, Snyder et al. 2018): what one beat or
    one wave shows leaves little trace in a mean. What lies outside a recording is left out of all of it.

    Args:
        encoder: any encoder.
        batch: standardised windows; their `span` says where the beat lies, None where the whole window is meant.

    Returns:
        (B, WINDOW_PARTS D): the window's features, then its tokens' standard deviation, maximum and minimum; or
        (B, (BEAT_PARTS + 1) D) with the beat first and the window's features last.
    """
    tokens = encoder.tokens(batch.x, batch.valid)
    valid_BN = token_validity(batch.valid, tokens.shape[1])
    window = encoder.pool(tokens, valid_BN)
    if batch.span is None:
        return torch.cat([window, *_variation(tokens, valid_BN)], dim=-1)
    weight = coverage(split_span(batch.span, BEAT_PARTS), tokens.shape[1], batch.x.shape[-1]).to(tokens)
    if valid_BN is not None:
        weight = weight * valid_BN[:, None]
        weight = weight / weight.sum(dim=-1, keepdim=True).clamp(min=1e-12)
    beat = torch.einsum("bkn,bnd->bkd", weight, tokens).flatten(1)
    return torch.cat([beat, window], dim=-1)


def _variation(t_BND: Tensor, valid_BN: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
    """Standard deviation, maximum and minimum of the tokens that count, (B, D) each."""
    if valid_BN is None:
        variance, high, low = t_BND.var(dim=1, unbiased=False), t_BND, t_BND
    else:
        inside, count = valid_BN[..., None], valid_BN.sum(dim=1)[:, None, None]
        mean = (t_BND * inside).sum(dim=1, keepdim=True) / count
        variance = ((t_BND - mean).square() * inside / count).sum(dim=1)
        high, low = t_BND.masked_fill(~inside, -torch.inf), t_BND.masked_fill(~inside, torch.inf)
    return (variance + 1e-6).sqrt(), high.amax(dim=1), low.amin(dim=1)  # a root whose gradient is finite at 0


def width(encoder: Encoder, beats: bool) -> int:
    """How many features `read_out` gives."""
    return encoder.dim * (BEAT_PARTS + 1 if beats else WINDOW_PARTS)


class Head(nn.Sequential):
    """A norm and a linear layer on what `read_out` gives: (B, `width`) to (B, C) logits.

    Args:
        encoder: whose features are read.
        beats: whether examples are beats within their windows.
        classes: `C`.
    """

    def __init__(self, encoder: Encoder, beats: bool, classes: int) -> None:
        features = width(encoder, beats)
        super().__init__(nn.LayerNorm(features), nn.Linear(features, classes))


def classification_loss(logits_BC: Tensor, y: Tensor) -> Tensor:
    """Mean cross-entropy, binary where an example may carry several labels.

    Args:
        logits_BC: (B, C).
        y: (B,) int64 class numbers, or (B, C) float zeros and ones.
    """
    return F.cross_entropy(logits_BC, y) if y.ndim == 1 else F.binary_cross_entropy_with_logits(logits_BC, y)


def classification_probability(logits_BC: Tensor, multi_label: bool) -> Tensor:
    """(B, C) probabilities: rows add up to 1 but where an example may carry several labels."""
    return logits_BC.sigmoid() if multi_label else logits_BC.softmax(dim=-1)


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
