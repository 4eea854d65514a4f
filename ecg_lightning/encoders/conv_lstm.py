"""The encoder of contrastive predictive coding on ECG: convolutions, then an LSTM (Mehari & Strodthoff 2022)."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from ecg_lightning.encoders.base import CausalEncoder
from ecg_lightning.encoders.conv_stem import ConvStem
from ecg_lightning.encoders.recurrent import read_from_start
from ecg_lightning.errors import UserError
from ecg_lightning.signal import SignalSpec


class ConvLSTM(CausalEncoder):
    """Convolutions with BatchNorm and ReLU, and an LSTM that reads their tokens from the recording's first on.

    Args:
        spec: the signal; any length.
        dim: `D` and `E`, width of convolutions and LSTM.
        depth: layers of the LSTM.
        kernels: taps of each convolution; four of one tap are the paper's "4FC".
        strides: steps of each convolution.

    Raises:
        UserError: kernels and strides do not fit, or a size is not positive.
    """

    def __init__(self, spec: SignalSpec, dim: int, depth: int, kernels: Sequence[int], strides: Sequence[int]) -> None:
        super().__init__(spec, dim)
        for key, value in (("dim", dim), ("depth", depth)):
            if value < 1:
                raise UserError(f"encoder.{key}={value} must be at least 1")
        self.local_dim = dim
        self.stem = ConvStem(len(spec.leads), dim, kernels, strides)
        self.stride = self.stem.stride
        self.lstm = nn.LSTM(dim, dim, depth, batch_first=True)

    def local(self, x_BLT: Tensor, valid_BT: Tensor | None = None) -> Tensor:
        """See `CausalEncoder.local`."""
        out: Tensor = self.stem(x_BLT, valid_BT)
        return out

    def context(self, z_BNE: Tensor, valid_BN: Tensor | None = None) -> Tensor:
        """See `CausalEncoder.context`."""
        return read_from_start(self.lstm, z_BNE, valid_BN)
