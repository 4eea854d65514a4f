"""The convolutional network of Sarkar and Etemad (2020)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ecg_lightning.encoders.base import Encoder, token_validity
from ecg_lightning.errors import UserError
from ecg_lightning.signal import SignalSpec

KERNELS = (32, 16, 8)
"""Of the two convolutions of each block."""

POOL, STRIDE = 8, 2


class SarkarCNN(Encoder):
    """Three blocks of two convolutions, max-pooling after the first two, and the maximum over time at the end.

    Padding stays silent through all layers: a recording looks the same however long the window that it is padded to.

    Args:
        spec: the signal; a token is about 4 samples of it.
        dim: `D`, channels of the last block; the first has a quarter and the second half of them. 128 as published.

    Raises:
        UserError: `dim` cannot be divided so, or the window is shorter than a token.
    """

    def __init__(self, spec: SignalSpec, dim: int) -> None:
        super().__init__(spec, dim)
        if dim < 4 or dim % 4:
            raise UserError(f"encoder.dim={dim} must be a multiple of 4")
        if spec.samples < STRIDE**2:
            raise UserError(f"encoder SarkarCNN needs windows of {STRIDE**2} samples or more; raise data.spec.seconds")
        widths = (len(spec.leads), dim // 4, dim // 2, dim)
        self.blocks = nn.ModuleList(_Block(*sizes) for sizes in zip(widths[:-1], widths[1:], KERNELS, strict=True))

    def tokens(self, x_BLT: Tensor, valid_BT: Tensor | None = None) -> Tensor:
        """See `Encoder.tokens`."""
        h_BCN, valid_BN = x_BLT, valid_BT
        for number, block in enumerate(self.blocks):
            if number:
                h_BCN = F.max_pool1d(_filled(h_BCN, valid_BN, -torch.inf), POOL, STRIDE, padding=POOL // 2 - 1)
                valid_BN = token_validity(valid_BN, h_BCN.shape[2])
            h_BCN = block(h_BCN, valid_BN)
        return _filled(h_BCN, valid_BN, 0.0).transpose(1, 2)

    def pool(self, t_BND: Tensor, valid_BN: Tensor | None = None) -> Tensor:
        """See `Encoder.pool`; the maximum over the tokens."""
        return _filled(t_BND.transpose(1, 2), valid_BN, -torch.inf).amax(dim=2)

    def fit_length(self, samples: int) -> int:
        """See `Encoder.fit_length`; whole tokens."""
        return max(1, samples // STRIDE**2) * STRIDE**2


class _Block(nn.Module):
    """Two convolutions, (B, C, N) to (B, C', N)."""

    def __init__(self, channels: int, out: int, kernel: int) -> None:
        super().__init__()
        self.convolutions = nn.ModuleList([_SameConv(channels, out, kernel), _SameConv(out, out, kernel)])

    def forward(self, h_BCN: Tensor, valid_BN: Tensor | None) -> Tensor:
        for convolution in self.convolutions:
            h_BCN = F.leaky_relu(convolution(_filled(h_BCN, valid_BN, 0.0)))
        return h_BCN


class _SameConv(nn.Sequential):
    """A convolution that keeps the length, also with a kernel of even size."""

    def __init__(self, channels: int, out: int, kernel: int) -> None:
        super().__init__(nn.ZeroPad1d(((kernel - 1) // 2, kernel // 2)), nn.Conv1d(channels, out, kernel))


def _filled(h_BCN: Tensor, valid_BN: Tensor | None, value: float) -> Tensor:
    """With one value wherever nothing is of the recording."""
    return h_BCN if valid_BN is None else h_BCN.masked_fill(~valid_BN[:, None], value)
