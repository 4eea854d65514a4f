"""The convolutional network for single heartbeats of Acharya et al. 2017."""

from __future__ import annotations

from torch import Tensor, nn

from ecg_lightning.encoders.initialisation import he_normal
from ecg_lightning.encoders.whole_window import WholeWindowEncoder, remaining_length
from ecg_lightning.errors import UserError
from ecg_lightning.signal import SignalSpec

KERNELS = (3, 4, 4)
POOL = 2


class CNN(WholeWindowEncoder):
    """Three times a convolution and a maximum of two samples, then two fully connected layers, all with LeakyReLU.

    The third fully connected layer of the paper is the classifier. Nothing is padded.

    Args:
        spec: the signal; the encoder takes windows of its length alone.
        channels: of the convolutions.
        hidden: widths of the fully connected layers; the last is `D`.

    Raises:
        UserError: a size is not positive, or the window is too short to be pooled three times.
    """

    def __init__(self, spec: SignalSpec, channels: tuple[int, int, int], hidden: tuple[int, int]) -> None:
        super().__init__(spec, hidden[-1])
        for key, sizes in (("channels", channels), ("hidden", hidden)):
            if min(sizes) < 1:
                raise UserError(f"encoder.{key}={list(sizes)} must be at least 1 each")
        length = remaining_length(spec.samples, [layer for kernel in KERNELS for layer in ((kernel, 1), (POOL, POOL))])
        inputs = (len(spec.leads), *channels)
        self.convolutions = nn.Sequential(
            *(
                nn.Sequential(nn.Conv1d(before, after, kernel), nn.LeakyReLU(), nn.MaxPool1d(POOL))
                for before, after, kernel in zip(inputs, channels, KERNELS, strict=False)
            )
        )
        self.connected = nn.Sequential(
            nn.Flatten(),
            nn.Linear(channels[-1] * length, hidden[0]),
            nn.LeakyReLU(),
            nn.Linear(hidden[0], hidden[1]),
            nn.LeakyReLU(),
        )
        self.apply(he_normal)

    def describe(self, x_BLT: Tensor) -> Tensor:
        """See `WholeWindowEncoder.describe`."""
        out: Tensor = self.connected(self.convolutions(x_BLT))
        return out
