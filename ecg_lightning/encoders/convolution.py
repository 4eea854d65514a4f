"""What convolutional networks are made of."""

from __future__ import annotations

from abc import abstractmethod

from torch import Tensor, nn
from torch.nn import functional as F

from ecg_lightning.encoders.base import Encoder
from ecg_lightning.encoders.norm import BatchNorm


class ConvolutionalEncoder(Encoder):
    """An encoder whose tokens are the channels of a network of padded convolutions, of any length.

    The networks of the PTB-XL benchmark (Strodthoff et al. 2021) hand the mean and the maximum over time, side by
    side, to a classifier. Here the mean is `pool`, as wide as a token, and `read_out` sets the maximum beside it, so
    a probe reads what the published classifier reads.
    """

    @abstractmethod
    def channels(self, x_BLT: Tensor) -> Tensor:
        """(B, L, T) to (B, D, N)."""

    def tokens(self, x_BLT: Tensor, valid_BT: Tensor | None = None) -> Tensor:
        """See `Encoder.tokens`; what lies outside the recording is 0, as beyond the edges of the window."""
        del valid_BT
        return self.channels(x_BLT).transpose(1, 2)


class ConvNorm(nn.Module):
    """Convolution, batch normalisation, ReLU.

    Args:
        inputs: channels that come in.
        outputs: channels that go out.
        kernel: odd; zeros at both ends keep the length.
        stride: N becomes `ceil(N / stride)`.
        activate: whether the ReLU is there.
    """

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1, activate: bool = True) -> None:
        super().__init__()
        self.convolution = nn.Conv1d(inputs, outputs, kernel, stride, padding=kernel // 2, bias=False)
        self.norm = BatchNorm(outputs)
        self.activate = activate

    def forward(self, x_BCN: Tensor) -> Tensor:
        """(B, inputs, N) to (B, outputs, ceil(N / stride))."""
        out: Tensor = self.norm(self.convolution(x_BCN))
        return F.relu(out) if self.activate else out


class Residual(nn.Module):
    """The ReLU of the sum of a path and a shortcut around it (He et al. 2016).

    Args:
        path: any network.
        shortcut: to the same shape; None leaves its input as it is.
    """

    def __init__(self, path: nn.Module, shortcut: nn.Module | None = None) -> None:
        super().__init__()
        self.path = path
        self.shortcut = nn.Identity() if shortcut is None else shortcut

    def forward(self, x_BCN: Tensor) -> Tensor:
        """(B, C, N) to what both parts make of it."""
        return F.relu(self.path(x_BCN) + self.shortcut(x_BCN))
