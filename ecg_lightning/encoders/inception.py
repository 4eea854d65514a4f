"""InceptionTime (Ismail Fawaz et al. 2020), in the form of the PTB-XL benchmark."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ecg_lightning.encoders.convolution import ConvNorm, ConvolutionalEncoder, Residual
from ecg_lightning.encoders.initialisation import he_normal
from ecg_lightning.encoders.norm import BatchNorm
from ecg_lightning.signal import SignalSpec

WIDTH = 32
KERNELS = (39, 19, 9)
"""40, 20 and 10 in the paper; odd ones lie evenly around their sample."""

CHANNELS = WIDTH * (len(KERNELS) + 1)


class Inception(ConvolutionalEncoder):
    """Six inception modules, with a shortcut around every three (inception1d of Strodthoff et al. 2021).

    No stride: a token for every sample. D is 128.

    Args:
        spec: the signal, of any length.
    """

    def __init__(self, spec: SignalSpec) -> None:
        super().__init__(spec, CHANNELS)
        self.blocks = nn.Sequential(block(len(spec.leads)), block(CHANNELS))
        self.apply(he_normal)

    def channels(self, x_BLT: Tensor) -> Tensor:
        """See `ConvolutionalEncoder.channels`; N is T."""
        out: Tensor = self.blocks(x_BLT)
        return out


def block(inputs: int) -> Residual:
    """Three modules beside a shortcut."""
    path = nn.Sequential(InceptionModule(inputs), InceptionModule(CHANNELS), InceptionModule(CHANNELS))
    return Residual(path, ConvNorm(inputs, CHANNELS, 1, activate=False))


class InceptionModule(nn.Module):
    """Convolutions of several lengths side by side, behind a bottleneck, and one behind a maximum of three samples.

    Args:
        inputs: channels that come in; `CHANNELS` go out.
    """

    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.bottleneck = nn.Conv1d(inputs, WIDTH, 1, bias=False)
        self.convolutions = nn.ModuleList(
            nn.Conv1d(WIDTH, WIDTH, kernel, padding=kernel // 2, bias=False) for kernel in KERNELS
        )
        self.pooled = nn.Sequential(nn.MaxPool1d(3, stride=1, padding=1), nn.Conv1d(inputs, WIDTH, 1, bias=False))
        self.norm = BatchNorm(CHANNELS)

    def forward(self, x_BCN: Tensor) -> Tensor:
        """(B, inputs, N) to (B, CHANNELS, N)."""
        narrow = self.bottleneck(x_BCN)
        parts = [convolution(narrow) for convolution in self.convolutions]
        return F.relu(self.norm(torch.cat([*parts, self.pooled(x_BCN)], dim=1)))
