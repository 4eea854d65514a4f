"""The contract of every encoder."""

from __future__ import annotations

from abc import abstractmethod

from torch import Tensor, nn

from ecg_lightning.signal import SignalSpec


class Encoder(nn.Module):
    """A signal becomes tokens along time, and tokens become one feature vector.

    Attributes:
        spec: the signal it expects.
        dim: `D`, width of tokens and features.
    """

    def __init__(self, spec: SignalSpec, dim: int) -> None:
        super().__init__()
        self.spec = spec
        self.dim = dim

    @abstractmethod
    def tokens(self, x_BLT: Tensor) -> Tensor:
        """Features along time.

        Args:
            x_BLT: (B, L, T) float32 as `spec` says; T may differ from `spec.samples` where the encoder allows it.

        Returns:
            (B, N, D); token n describes the n-th of N equal shares of the window.
        """

    def pool(self, t_BND: Tensor) -> Tensor:
        """(B, N, D) tokens to (B, D) features: their mean, unless the encoder knows better."""
        return t_BND.mean(dim=1)

    def forward(self, x_BLT: Tensor) -> Tensor:
        """(B, L, T) to (B, D) features."""
        return self.pool(self.tokens(x_BLT))


class PatchEncoder(Encoder):
    """An encoder in two halves, between which MAE and JEPA drop tokens.

    Attributes:
        patch: `P`, samples of one patch; `N = T / P`.
    """

    patch: int

    @abstractmethod
    def embed(self, x_BLT: Tensor) -> Tensor:
        """(B, L, T) to (B, N, D): patches with their positions."""

    @abstractmethod
    def encode(self, t_BKD: Tensor) -> Tensor:
        """(B, K, D) to (B, K, D), for any K of the N tokens, in any order."""

    def tokens(self, x_BLT: Tensor) -> Tensor:
        """See `Encoder.tokens`."""
        return self.encode(self.embed(x_BLT))
