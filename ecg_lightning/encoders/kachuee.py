"""The residual network for single heartbeats of Kachuee et al. 2018, who made the heartbeat data sets."""

from __future__ import annotations

from torch import Tensor, nn

from ecg_lightning.encoders.convolution import Residual
from ecg_lightning.encoders.initialisation import glorot_uniform
from ecg_lightning.encoders.whole_window import WholeWindowEncoder, remaining_length
from ecg_lightning.signal import SignalSpec

WIDTH, KERNEL, BLOCKS = 32, 5, 5
POOL, STRIDE = 5, 2


class Kachuee(WholeWindowEncoder):
    """A convolution, five residual blocks with a maximum of five samples each, two fully connected layers; D is 32.

    First convolution and maxima are not padded, so that 187 samples, the published length, end as two.

    Args:
        spec: the signal; the encoder takes windows of its length alone.

    Raises:
        UserError: the window is too short to be pooled five times.
    """

    def __init__(self, spec: SignalSpec) -> None:
        super().__init__(spec, WIDTH)
        length = remaining_length(spec.samples, [(KERNEL, 1), *[(POOL, STRIDE)] * BLOCKS])
        self.stem = nn.Conv1d(len(spec.leads), WIDTH, KERNEL)
        self.blocks = nn.Sequential(*(nn.Sequential(block(), nn.MaxPool1d(POOL, STRIDE)) for _ in range(BLOCKS)))
        self.connected = nn.Sequential(
            nn.Flatten(), nn.Linear(WIDTH * length, WIDTH), nn.ReLU(), nn.Linear(WIDTH, WIDTH), nn.ReLU()
        )
        self.apply(glorot_uniform)

    def describe(self, x_BLT: Tensor) -> Tensor:
        """See `WholeWindowEncoder.describe`."""
        out: Tensor = self.connected(self.blocks(self.stem(x_BLT)))
        return out


def block() -> Residual:
    """Two convolutions beside a shortcut."""
    first, second = (nn.Conv1d(WIDTH, WIDTH, KERNEL, padding="same") for _ in range(2))
    return Residual(nn.Sequential(first, nn.ReLU(), second))
