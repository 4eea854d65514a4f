"""The multilayer perceptron, the simplest network that looks at a heartbeat."""

from __future__ import annotations

from itertools import pairwise

from torch import Tensor, nn

from ecg_lightning.encoders.initialisation import he_normal
from ecg_lightning.encoders.whole_window import WholeWindowEncoder
from ecg_lightning.errors import UserError
from ecg_lightning.signal import SignalSpec


class MLP(WholeWindowEncoder):
    """Fully connected layers with ReLU, and dropout between them, on a window's samples one after the other.

    After Cartwright, Fumoto and McIntosh (University of Surrey), whose seventh layer is the classifier.

    Args:
        spec: the signal; the encoder takes windows of its length alone.
        dim: `D`, width of every layer.
        depth: number of layers.
        dropout: share of each layer's outputs that the next one goes without in training; the features are whole.

    Raises:
        UserError: a size is not positive, or `dropout` no share below 1.
    """

    def __init__(self, spec: SignalSpec, dim: int, depth: int, dropout: float) -> None:
        super().__init__(spec, dim)
        for key, value in (("dim", dim), ("depth", depth)):
            if value < 1:
                raise UserError(f"encoder.{key}={value} must be at least 1")
        if not 0 <= dropout < 1:
            raise UserError(f"encoder.dropout={dropout} must be at least 0 and below 1")
        widths = [len(spec.leads) * spec.samples] + [dim] * depth
        layers = [nn.Sequential(nn.Linear(*sizes), nn.ReLU(), nn.Dropout(dropout)) for sizes in pairwise(widths)]
        self.layers = nn.Sequential(nn.Flatten(), *layers[:-1], layers[-1][:-1])
        self.apply(he_normal)

    def describe(self, x_BLT: Tensor) -> Tensor:
        """See `WholeWindowEncoder.describe`."""
        out: Tensor = self.layers(x_BLT)
        return out
