"""The small ResNet for time series of Wang et al. 2017, in the form of the PTB-XL benchmark."""

from __future__ import annotations

from torch import Tensor, nn

from ecg_lightning.encoders.convolution import ConvNorm, ConvolutionalEncoder, Residual
from ecg_lightning.encoders.initialisation import he_normal
from ecg_lightning.signal import SignalSpec

WIDTH = 128


class ResNetWang(ConvolutionalEncoder):
    """A wide convolution and three residual blocks of two (resnet1d_wang of Strodthoff et al. 2021).

    Wang et al. have three convolutions in a block, of 8, 5 and 3 samples, 64 channels at first and no strides. A token
    covers 4 samples; D is 128.

    Args:
        spec: the signal, of any length.
    """

    def __init__(self, spec: SignalSpec) -> None:
        super().__init__(spec, WIDTH)
        self.stem = ConvNorm(len(spec.leads), WIDTH, 7)
        self.blocks = nn.Sequential(block(stride=1), block(stride=2), block(stride=2))
        self.apply(he_normal)

    def channels(self, x_BLT: Tensor) -> Tensor:
        """See `ConvolutionalEncoder.channels`; N is T / 4, rounded up."""
        out: Tensor = self.blocks(self.stem(x_BLT))
        return out


def block(stride: int) -> Residual:
    """Two convolutions, the first with the stride, beside a shortcut with the same."""
    path = nn.Sequential(ConvNorm(WIDTH, WIDTH, 5, stride), ConvNorm(WIDTH, WIDTH, 3, activate=False))
    return Residual(path, ConvNorm(WIDTH, WIDTH, 1, stride, activate=False) if stride > 1 else None)
