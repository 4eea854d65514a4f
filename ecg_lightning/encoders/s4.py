"""Structured state space encoders (Gu et al. 2022), for ECG after Mehari & Strodthoff 2023 and Al-Masud et al. 2025."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from ecg_lightning.encoders.base import CausalEncoder, Encoder, token_validity
from ecg_lightning.encoders.conv_stem import ConvStem
from ecg_lightning.encoders.state_space import StateSpaces
from ecg_lightning.signal import SignalSpec


class S4(Encoder):
    """A convolutional stem and state spaces that look in both directions.

    Args:
        spec: the signal; any length.
        dim: `D`, width of stem and state spaces.
        depth: blocks of state spaces.
        state: states of each channel; even.
        kernels: taps of each convolution of the stem.
        strides: steps of each convolution.

    Raises:
        UserError: a size does not fit.
    """

    def __init__(
        self, spec: SignalSpec, dim: int, depth: int, state: int, kernels: Sequence[int], strides: Sequence[int]
    ) -> None:
        super().__init__(spec, dim)
        self.state_spaces = StateSpaces(dim, depth, state, both=True)
        self.stem = ConvStem(len(spec.leads), dim, kernels, strides)

    def tokens(self, x_BLT: Tensor, valid_BT: Tensor | None = None) -> Tensor:
        """See `Encoder.tokens`; what lies outside the recording is seen by no token inside it."""
        z_BND = self.stem(x_BLT, valid_BT)
        out: Tensor = self.state_spaces(z_BND, token_validity(valid_BT, z_BND.shape[1]))
        return out

    def depth_order(self) -> list[nn.Module]:
        """See `Encoder.depth_order`."""
        return [self.stem, *self.state_spaces.blocks, self.state_spaces.norm]

    def fit_length(self, samples: int) -> int:
        """See `Encoder.fit_length`; whole shares."""
        return max(1, samples // self.stem.stride) * self.stem.stride


class S4Causal(CausalEncoder):
    """A convolutional stem and state spaces that look back alone: the encoder of ECG-CPC (Al-Masud et al. 2025).

    Args:
        spec: the signal; any length.
        dim: `D` and `E`, width of stem and state spaces.
        depth: blocks of state spaces.
        state: states of each channel; even.
        kernels: taps of each convolution of the stem.
        strides: steps of each convolution.

    Raises:
        UserError: a size does not fit.
    """

    def __init__(
        self, spec: SignalSpec, dim: int, depth: int, state: int, kernels: Sequence[int], strides: Sequence[int]
    ) -> None:
        super().__init__(spec, dim)
        self.local_dim = dim
        self.state_spaces = StateSpaces(dim, depth, state, both=False)
        self.stem = ConvStem(len(spec.leads), dim, kernels, strides)
        self.stride = self.stem.stride

    def local(self, x_BLT: Tensor, valid_BT: Tensor | None = None) -> Tensor:
        """See `CausalEncoder.local`."""
        out: Tensor = self.stem(x_BLT, valid_BT)
        return out

    def context(self, z_BNE: Tensor, valid_BN: Tensor | None = None) -> Tensor:
        """See `CausalEncoder.context`."""
        out: Tensor = self.state_spaces(z_BNE, valid_BN)
        return out

    def depth_order(self) -> list[nn.Module]:
        """See `Encoder.depth_order`."""
        return [self.stem, *self.state_spaces.blocks, self.state_spaces.norm]
