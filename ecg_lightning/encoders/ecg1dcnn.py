"""The small convolutional encoder of SSL-for-ECG-classification (`ECGEncoder1DCNN`), for that project's checkpoints."""

from __future__ import annotations

from torch import Tensor, nn

from ecg_lightning.encoders.base import Encoder
from ecg_lightning.encoders.norm import BatchNorm
from ecg_lightning.errors import UserError
from ecg_lightning.signal import SignalSpec

LAYERS = ((1, 11, 2), (1, 7, 1), (2, 7, 2), (2, 5, 1), (4, 5, 2), (4, 3, 1))
"""Width as a multiple of the first, kernel and stride of each convolution."""


class ECG1DCNN(Encoder):
    """Six convolutions with BatchNorm and ReLU; a token covers 8 samples, and features are their mean, as published.

    Args:
        spec: the signal, of any length; the published checkpoints read 12 leads, 1000 samples.
        width: channels of the first convolution; D is four times that. Published is 64.

    Raises:
        UserError: the width is not positive.
    """

    def __init__(self, spec: SignalSpec, width: int = 64) -> None:
        if width < 1:
            raise UserError(f"encoder.width={width} must be at least 1")
        super().__init__(spec, LAYERS[-1][0] * width)
        self.blocks = nn.Sequential()
        wide = len(spec.leads)
        for multiple, kernel, stride in LAYERS:
            convolution = nn.Conv1d(wide, multiple * width, kernel, stride, padding=kernel // 2, bias=False)
            self.blocks.append(nn.Sequential(convolution, BatchNorm(multiple * width), nn.ReLU()))
            wide = multiple * width

    def tokens(self, x_BLT: Tensor, valid_BT: Tensor | None = None) -> Tensor:
        """See `Encoder.tokens`; N is T / 8, rounded up. What lies outside the recording is 0, as beyond the edges."""
        del valid_BT
        out: Tensor = self.blocks(x_BLT)
        return out.transpose(1, 2)
