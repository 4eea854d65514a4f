"""The convolutions with which sequence encoders turn samples into tokens."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ecg_lightning.encoders.norm import BatchNorm
from ecg_lightning.errors import UserError


class ConvStem(nn.Module):
    """Convolutions, each with BatchNorm and ReLU, that see no sample later than their token's share.

    What a convolution lacks is padded on its left. The published stems pad both sides: theirs are these, that much
    later in time.

    Args:
        leads: `L`.
        dim: `E`, width of every convolution.
        kernels: taps of each.
        strides: steps of each.

    Attributes:
        stride: samples of one token's share, the product of all strides.

    Raises:
        UserError: kernels and strides are not as many, or would skip samples.
    """

    def __init__(self, leads: int, dim: int, kernels: Sequence[int], strides: Sequence[int]) -> None:
        super().__init__()
        fit = len(kernels) == len(strides) > 0 and all(k >= s >= 1 for k, s in zip(kernels, strides, strict=True))
        if not fit:
            raise UserError(
                f"encoder.kernels={list(kernels)} and encoder.strides={list(strides)} must be as many, and no kernel "
                "shorter than its stride"
            )
        self.strides = tuple(strides)
        self.stride = math.prod(strides)
        widths = [leads] + [dim] * len(kernels)
        self.layers = nn.ModuleList(
            nn.Sequential(
                nn.ConstantPad1d((k - s, 0), 0.0), nn.Conv1d(wide, dim, k, s, bias=False), BatchNorm(dim), nn.ReLU()
            )
            for wide, k, s in zip(widths, kernels, strides, strict=False)
        )

    def forward(self, x_BLT: Tensor, valid_BT: Tensor | None = None) -> Tensor:
        """(B, L, T) to (B, ceil(T / stride), E); what lies outside the recording, (B, T) bool, stays 0 throughout."""
        missing = -x_BLT.shape[-1] % self.stride
        if valid_BT is None and missing:
            valid_BT = x_BLT.new_ones(len(x_BLT), x_BLT.shape[-1], dtype=torch.bool)
        features = F.pad(x_BLT, (0, missing))
        inside = None if valid_BT is None else F.pad(valid_BT, (0, missing))
        for layer, stride in zip(self.layers, self.strides, strict=True):
            features = layer(features)
            if inside is not None:
                inside = inside.view(len(inside), -1, stride).any(dim=2)
                features = features * inside[:, None]
        return features.transpose(1, 2)
