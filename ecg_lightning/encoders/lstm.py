"""A recurrent encoder (Hochreiter and Schmidhuber 1997), of which the last state is the feature."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from ecg_lightning.encoders.base import CausalEncoder
from ecg_lightning.encoders.initialisation import he_normal
from ecg_lightning.encoders.recurrent import read_from_start
from ecg_lightning.errors import UserError
from ecg_lightning.signal import SignalSpec


class LSTM(CausalEncoder):
    """One LSTM and one fully connected layer with ReLU.

    After Cartwright, Fumoto and McIntosh (University of Surrey), whose second fully connected layer is the classifier.
    They read a sample at each step, 187 for a beat; here a step takes several samples, so that windows of seconds are
    about as many steps. The features are those of the last step inside the recording, which has seen all of it; steps
    outside are seen by none inside.

    Args:
        spec: the signal, of any length; a last step that the window does not fill is filled with zeros.
        dim: `D`, units of both layers.
        step_seconds: how much of the signal one step reads, in seconds; a sample where it is less.

    Raises:
        UserError: a size is not positive.
    """

    def __init__(self, spec: SignalSpec, dim: int, step_seconds: float) -> None:
        super().__init__(spec, dim)
        if dim < 1:
            raise UserError(f"encoder.dim={dim} must be at least 1")
        if not step_seconds > 0:
            raise UserError(f"encoder.step_seconds={step_seconds} must be above 0")
        self.stride = max(1, round(step_seconds * spec.fs))
        self.local_dim = len(spec.leads) * self.stride
        self.recurrent = nn.LSTM(self.local_dim, dim, batch_first=True)
        self.connected = nn.Linear(dim, dim)
        self.apply(he_normal)
        remember_at_first(self.recurrent)

    def local(self, x_BLT: Tensor, valid_BT: Tensor | None = None) -> Tensor:
        """See `CausalEncoder.local`; the samples of each step as they are, lead by lead."""
        del valid_BT
        B, L, T = x_BLT.shape
        whole = F.pad(x_BLT, (0, -T % self.stride))
        return whole.reshape(B, L, -1, self.stride).transpose(1, 2).flatten(2)

    def context(self, z_BNE: Tensor, valid_BN: Tensor | None = None) -> Tensor:
        """See `CausalEncoder.context`; every recording is read from its own first step on."""
        return F.relu(self.connected(read_from_start(self.recurrent, z_BNE, valid_BN)))

    def pool(self, t_BND: Tensor, valid_BN: Tensor | None = None) -> Tensor:
        """See `Encoder.pool`; the last token that counts."""
        if valid_BN is None:
            return t_BND[:, -1]
        last_B = valid_BN.shape[1] - 1 - valid_BN.flip(1).int().argmax(dim=1)
        return t_BND.take_along_dim(last_B[:, None, None], dim=1)[:, 0]


def remember_at_first(recurrent: nn.LSTM) -> None:
    """Keras' initial weights, with open forget gates: else little is left of the beginning at the end."""
    state = dict(recurrent.named_parameters())
    nn.init.xavier_uniform_(state["weight_ih_l0"])
    for gate in state["weight_hh_l0"].chunk(4):
        nn.init.orthogonal_(gate)
    nn.init.zeros_(state["bias_ih_l0"])
    nn.init.zeros_(state["bias_hh_l0"])
    nn.init.ones_(state["bias_ih_l0"].chunk(4)[1])  # of input, forget, cell and output
