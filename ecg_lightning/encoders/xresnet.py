"""XResNet1d of the PTB-XL benchmark: ResNet with the tricks of He et al. 2019 ("Bag of Tricks"), on signals."""

from __future__ import annotations

from torch import Tensor, nn

from ecg_lightning.encoders.convolution import ConvNorm, ConvolutionalEncoder, Residual
from ecg_lightning.encoders.initialisation import he_normal
from ecg_lightning.errors import UserError
from ecg_lightning.signal import SignalSpec

WIDTH, EXPANSION, KERNEL = 64, 4, 5
"""Of every stage: unlike a ResNet for images, it does not widen."""


class XResNet(ConvolutionalEncoder):
    """Three small convolutions for a stem, then four stages of bottlenecks (Strodthoff et al. 2021).

    A token covers 32 samples, 0.32 s at 100 Hz; D is 256.

    Args:
        spec: the signal, of any length.
        blocks: bottlenecks of each stage.

    Raises:
        UserError: a stage has none.
    """

    def __init__(self, spec: SignalSpec, blocks: tuple[int, int, int, int]) -> None:
        super().__init__(spec, EXPANSION * WIDTH)
        if min(blocks) < 1:
            raise UserError(f"encoder.blocks={list(blocks)} must be at least 1 each")
        self.stem = nn.Sequential(
            ConvNorm(len(spec.leads), 32, KERNEL, stride=2),
            ConvNorm(32, 32, KERNEL),
            ConvNorm(32, WIDTH, KERNEL),
            nn.MaxPool1d(3, stride=2, padding=1),
        )
        self.stages = nn.Sequential(*(stage(number, count) for number, count in enumerate(blocks)))
        self.apply(he_normal)

    def channels(self, x_BLT: Tensor) -> Tensor:
        """See `ConvolutionalEncoder.channels`; N is T / 32, rounded up."""
        out: Tensor = self.stages(self.stem(x_BLT))
        return out


def stage(number: int, blocks: int) -> nn.Sequential:
    """The bottlenecks of a stage; in all stages but the first, the first bottleneck halves the length."""
    first = bottleneck(WIDTH, stride=1) if number == 0 else bottleneck(EXPANSION * WIDTH, stride=2)
    return nn.Sequential(first, *(bottleneck(EXPANSION * WIDTH, stride=1) for _ in range(blocks - 1)))


def bottleneck(inputs: int, stride: int) -> Residual:
    """A residual block that starts as its shortcut alone: the last scale of its path is 0 at first.

    Args:
        inputs: channels that come in; `EXPANSION * WIDTH` go out.
        stride: of the middle convolution; the shortcut takes means instead, so that it skips no sample.
    """
    outputs = EXPANSION * WIDTH
    last = ConvNorm(WIDTH, outputs, 1, activate=False)
    nn.init.zeros_(last.norm.weight)
    shortcut = nn.Sequential()
    if stride > 1:
        shortcut.append(nn.AvgPool1d(stride, ceil_mode=True))
    if inputs != outputs:
        shortcut.append(ConvNorm(inputs, outputs, 1, activate=False))
    return Residual(nn.Sequential(ConvNorm(inputs, WIDTH, 1), ConvNorm(WIDTH, WIDTH, KERNEL, stride), last), shortcut)
