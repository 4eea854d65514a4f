"""Which tokens of a window are hidden: one by one, lane by lane, or in contiguous blocks."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor


class Mask(NamedTuple):
    """A division of the M tokens of each window.

    Attributes:
        visible: (B, K) numbers of the tokens that the encoder sees.
        shown: (B, K) bool, which of these it really sees, where windows have different numbers of tokens; None for all.
        masked: (B, M) bool, the tokens to reconstruct.
    """

    visible: Tensor
    shown: Tensor | None
    masked: Tensor


def random_mask(noise_BN: Tensor, ratio: float, valid_BN: Tensor | None = None) -> Mask:
    """Mask a share of each window's tokens, those with the largest noise.

    Args:
        noise_BN: (B, N) uniform random numbers.
        ratio: share of the tokens to mask; at least one token stays visible and, of two or more, one is masked.
        valid_BN: (B, N) bool, the tokens inside the recording: of these alone a share is masked; None for all.
    """
    B, N = noise_BN.shape
    if valid_BN is None:
        visible = noise_BN.argsort(dim=1)[:, : _visible(N, ratio)].sort(dim=1).values
        masked = torch.ones(B, N, dtype=torch.bool, device=noise_BN.device).scatter(1, visible, False)
        return Mask(visible, None, masked)
    keep_of_count = torch.tensor([_visible(n, ratio) for n in range(N + 1)], device=noise_BN.device)
    keep_B1 = keep_of_count[valid_BN.sum(dim=1, keepdim=True)]
    order = noise_BN.masked_fill(~valid_BN, torch.inf).argsort(dim=1)
    rank = order.argsort(dim=1)
    visible = order[:, : int(keep_B1.max())]
    shown = torch.arange(visible.shape[1], device=visible.device) < keep_B1
    return Mask(visible, shown, valid_BN & (rank >= keep_B1))


def mask_lanes(noise_BM: Tensor, lanes: int, ratio: float, valid_BM: Tensor | None = None) -> Mask:
    """Mask the same share of each lane's tokens, as ST-MEM does of each lead's; see `random_mask`."""
    B, M = noise_BM.shape
    by_lane = [None if part is None else part.reshape(B * lanes, M // lanes) for part in (noise_BM, valid_BM)]
    assert by_lane[0] is not None
    mask = random_mask(by_lane[0], ratio, by_lane[1])
    first = torch.arange(lanes, device=noise_BM.device).repeat(B)[:, None] * (M // lanes)
    shown = None if mask.shown is None else mask.shown.reshape(B, -1)
    return Mask((mask.visible + first).view(B, -1), shown, mask.masked.view(B, M))


def _visible(count: int, ratio: float) -> int:
    """How many of a window's tokens stay visible."""
    return max(1, min(round(count * (1 - ratio)), count - 1))


def block_mask(noise_B2N: Tensor, share: float, block: int | None = None, valid_BN: Tensor | None = None) -> Mask:
    """Hide all but a share of each window's tokens in long stretches, so that no neighbour gives them away.

    The same number is hidden in every window of one length.

    Visible tokens and blocks lie in an order that is drawn; blocks that come to lie side by side are one longer block.
    Their sizes are drawn one after the other, each uniformly from `block` to all that is still to be hidden, as Weimann
    and Conrad (2024) do.

    Args:
        noise_B2N: (B, 2, N) uniform random numbers in [0, 1): the places and the sizes.
        share: of the tokens to leave visible; at least one is visible and, of two or more, one hidden.
        block: fewest tokens of a block, where that many are to be hidden; None hides tokens one by one.
        valid_BN: (B, N) bool, the tokens inside the recording: the others are neither visible nor hidden; None for all.
    """
    place_BN, size_BN = noise_B2N.unbind(1)
    N = place_BN.shape[1]
    t_N = torch.arange(N, device=place_BN.device)
    inside_BN = torch.ones_like(place_BN, dtype=torch.bool) if valid_BN is None else valid_BN
    count_B1 = inside_BN.sum(dim=1, keepdim=True)
    keep_B1 = torch.tensor([visible_tokens(n, share) for n in range(N + 1)], device=place_BN.device)[count_B1]

    # Visible tokens come first, each with a place of its own, then the hidden ones, each with that of its block.
    hidden_BN, hidden_B1 = t_N - keep_B1, count_B1 - keep_B1
    block_BN = hidden_BN if block is None else _block_of(hidden_BN, size_BN, hidden_B1, block)
    place_BN = place_BN.gather(1, torch.where(t_N < keep_B1, t_N, (keep_B1 + block_BN).clamp(max=N - 1)))
    order_BN = place_BN.masked_fill(t_N >= count_B1, torch.inf).argsort(dim=1, stable=True)
    rank_BN = (inside_BN.cumsum(dim=1) - 1).clamp(min=0)
    masked_BN = inside_BN & (order_BN >= keep_B1).gather(1, rank_BN)

    most = visible_tokens(N, share) if valid_BN is None else int(keep_B1.max())
    visible_BK = (masked_BN | ~inside_BN).byte().argsort(dim=1, stable=True)[:, :most]
    return Mask(visible_BK, None if valid_BN is None else t_N[:most] < keep_B1, masked_BN)


def visible_tokens(count: int, share: float) -> int:
    """How many of a window's tokens stay visible."""
    return max(1, min(math.ceil(count * share), count - 1))


def over_lanes(mask: Mask, lanes: int) -> Mask:
    """The same mask along time for every lane of tokens, as Kim (2024) does for every lead."""
    N = mask.masked.shape[1]
    first = torch.arange(lanes, device=mask.visible.device)[:, None] * N
    visible = (mask.visible[:, None] + first).flatten(1)
    shown = None if mask.shown is None else mask.shown.repeat(1, lanes)
    return Mask(visible, shown, mask.masked.repeat(1, lanes))


def take(t_BND: Tensor, index_BK: Tensor) -> Tensor:
    """(B, K, D) those of (B, N, D) tokens that are numbered by `index_BK`."""
    return t_BND.gather(1, index_BK[..., None].expand(-1, -1, t_BND.shape[-1]))


def _block_of(h_BN: Tensor, size_BN: Tensor, hidden_B1: Tensor, block: int) -> Tensor:
    """The number of the block that each hidden token is in, of `hidden_B1` tokens in each window."""
    rest_B1, number_BN = hidden_B1, torch.zeros_like(h_BN)
    for noise_B1 in size_BN[:, : size_BN.shape[1] // block, None].unbind(1):
        size_B1 = block + (noise_B1 * (rest_B1 - block + 1)).floor().long()
        rest_B1 = rest_B1 - size_B1
        rest_B1 = torch.where(rest_B1 < block, 0, rest_B1)  # what is too little for a block goes with this one
        number_BN = number_BN + (h_BN >= hidden_B1 - rest_B1)
    return number_BN
