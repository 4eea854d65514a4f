"""Residual networks on images of the signal: its short-time spectra, or its wavelet transform."""

from __future__ import annotations

from abc import abstractmethod

from torch import Tensor, nn
from torch.nn import functional as F

from ecg_lightning.encoders.base import Encoder
from ecg_lightning.encoders.initialisation import he_normal
from ecg_lightning.encoders.norm import BatchNorm
from ecg_lightning.encoders.time_frequency import STFT, Morlet, hop_samples
from ecg_lightning.errors import UserError
from ecg_lightning.signal import SignalSpec

BLOCKS = 2
"""Of each stage, as in ResNet-18."""


class ImageEncoder(Encoder):
    """A small ResNet (He et al. 2016) on images whose channels are the leads and whose columns are frames in time.

    A convolution of 5 x 5 that halves frequency, three stages of two basic blocks, of which the second and third halve
    frequency and time, and a convolution as tall as what is left: it makes a token of a column, four frames or 0.16 s.
    Columns outside the recording are 0 in all layers, as beyond the ends of the window: a recording looks the same
    however long the window that it is padded to.

    Args:
        spec: the signal, of any length.
        dim: `D`, channels of the last stage; the first has a quarter and the second half of them.
        rows: of the images.

    Raises:
        UserError: `dim` cannot be divided so.
    """

    def __init__(self, spec: SignalSpec, dim: int, rows: int) -> None:
        super().__init__(spec, dim)
        if dim < 4 or dim % 4:
            raise UserError(f"encoder.dim={dim} must be a multiple of 4")
        self.hop = hop_samples(spec.fs)
        self.stem = _ConvNorm(len(spec.leads), dim // 4, 5, (2, 1))
        stages = ((dim // 4, dim // 4, 1), (dim // 4, dim // 2, 2), (dim // 2, dim, 2))
        self.blocks = nn.ModuleList(block for stage in stages for block in _stage(*stage))
        self.column = nn.Conv2d(dim, dim, (-(-rows // 8), 1), bias=False)
        self.norm = BatchNorm(dim)
        self.apply(he_normal)

    @abstractmethod
    def image(self, x_BLT: Tensor) -> Tensor:
        """(B, L, T) to (B, L, rows, N), see `TimeFrequency`."""

    def tokens(self, x_BLT: Tensor, valid_BT: Tensor | None = None) -> Tensor:
        """See `Encoder.tokens`; N is a quarter of the frames, rounded up."""
        image, valid_BN = self.image(_silent(x_BLT, valid_BT)), _shares(valid_BT, self.hop)
        image = F.relu(self.stem(_silent(image, valid_BN)))
        for block in self.blocks:
            image, valid_BN = block(image, valid_BN)
        columns = F.relu(self.norm(self.column(image)[:, :, 0]))
        return _silent(columns, valid_BN).transpose(1, 2)


class STFTNet(ImageEncoder):
    """On short-time spectra of frames of one length.

    Args:
        spec: the signal, of any length but shorter than a frame.
        dim: `D`.
        frame_seconds: length of a frame; longer ones tell more frequencies apart and fewer moments.

    Raises:
        UserError: a size does not fit.
    """

    def __init__(self, spec: SignalSpec, dim: int, frame_seconds: float) -> None:
        front = STFT(spec, frame_seconds)
        super().__init__(spec, dim, len(front.hz))
        self.front = front

    def image(self, x_BLT: Tensor) -> Tensor:
        """See `ImageEncoder.image`."""
        image: Tensor = self.front(x_BLT)
        return image


class WaveletNet(ImageEncoder):
    """On continuous wavelet transforms, whose frames are long for low frequencies and short for high ones.

    Args:
        spec: the signal, of any length.
        dim: `D`.
        rows: frequencies.

    Raises:
        UserError: a size does not fit.
    """

    def __init__(self, spec: SignalSpec, dim: int, rows: int) -> None:
        front = Morlet(spec, rows)
        super().__init__(spec, dim, rows)
        self.front = front

    def image(self, x_BLT: Tensor) -> Tensor:
        """See `ImageEncoder.image`."""
        image: Tensor = self.front(x_BLT)
        return image


class _ConvNorm(nn.Module):
    """Convolution and batch normalisation, (B, C, F, N) to (B, C', F / stride, N / stride), rounded up."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: tuple[int, int] = (1, 1)) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2, bias=False)
        self.norm = BatchNorm(outputs)

    def forward(self, image: Tensor) -> Tensor:
        convolved = self.convolution(image)
        normed: Tensor = self.norm(convolved.flatten(2))
        return normed.view_as(convolved)


class _Block(nn.Module):
    """Two convolutions beside a shortcut (He et al. 2016)."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.stride = stride
        self.first = _ConvNorm(inputs, outputs, 3, (stride, stride))
        self.second = _ConvNorm(outputs, outputs, 3)
        same = inputs == outputs and stride == 1
        self.shortcut = nn.Identity() if same else _ConvNorm(inputs, outputs, 1, (stride, stride))

    def forward(self, image: Tensor, valid_BN: Tensor | None) -> tuple[Tensor, Tensor | None]:
        image, valid_BN = _silent(image, valid_BN), _shares(valid_BN, self.stride)
        inner = _silent(F.relu(self.first(image)), valid_BN)
        return F.relu(self.second(inner) + self.shortcut(image)), valid_BN


def _stage(inputs: int, outputs: int, stride: int) -> list[_Block]:
    return [_Block(inputs, outputs, stride), *(_Block(outputs, outputs, 1) for _ in range(BLOCKS - 1))]


def _silent(x: Tensor, valid_BN: Tensor | None) -> Tensor:
    """(B, ..., N) with 0 wherever nothing is of the recording."""
    if valid_BN is None:
        return x
    return x.masked_fill(~valid_BN.view(len(x), *(1 for _ in x.shape[2:]), -1), 0.0)


def _shares(valid_BN: Tensor | None, stride: int) -> Tensor | None:
    """Which shares of so many samples or columns, the last perhaps smaller, hold one that is valid."""
    if valid_BN is None:
        return None
    return F.max_pool1d(valid_BN[:, None].float(), stride, stride, ceil_mode=True)[:, 0] > 0
