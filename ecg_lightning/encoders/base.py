"""The contract of every encoder."""

from __future__ import annotations

from abc import abstractmethod

from torch import Tensor, nn
from torch.nn import functional as F

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
    def tokens(self, x_BLT: Tensor, valid_BT: Tensor | None = None) -> Tensor:
        """Features along time.

        Args:
            x_BLT: (B, L, T) float32 as `spec` says; T may differ from `spec.samples` where the encoder allows it.
            valid_BT: (B, T) bool, the samples inside the recording, None where all are; x is 0 at the others. An
                encoder that looks far keeps them out of what it says of the rest.

        Returns:
            (B, N, D); token n describes the n-th of N equal shares of the window.
        """

    def pool(self, t_BND: Tensor, valid_BN: Tensor | None = None) -> Tensor:
        """Features of a window: the mean of its tokens, unless the encoder knows better.

        Args:
            t_BND: (B, N, D) tokens.
            valid_BN: (B, N) bool, those that count, see `token_validity`; None where all do.

        Returns:
            (B, D).
        """
        if valid_BN is None:
            return t_BND.mean(dim=1)
        weight = valid_BN.to(t_BND) / valid_BN.sum(dim=1, keepdim=True)
        return (weight[:, None] @ t_BND)[:, 0]

    def forward(self, x_BLT: Tensor, valid_BT: Tensor | None = None) -> Tensor:
        """(B, L, T) to (B, D) features; `valid_BT` as for `tokens`."""
        tokens = self.tokens(x_BLT, valid_BT)
        return self.pool(tokens, token_validity(valid_BT, tokens.shape[1]))


def token_validity(valid_BT: Tensor | None, N: int) -> Tensor | None:
    """Which of N tokens see a sample inside the recording.

    Args:
        valid_BT: (B, T) bool, at least one sample of each window inside; None where all are.
        N: number of tokens, equal shares of the T samples.

    Returns:
        (B, N) bool, or None.
    """
    return None if valid_BT is None else F.adaptive_max_pool1d(valid_BT[:, None].float(), N)[:, 0] > 0


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
    def encode(self, t_BKD: Tensor, valid_BK: Tensor | None = None) -> Tensor:
        """(B, K, D) to (B, K, D), for any K of the N tokens, in any order, blind to those that are not valid."""

    def tokens(self, x_BLT: Tensor, valid_BT: Tensor | None = None) -> Tensor:
        """See `Encoder.tokens`."""
        embedded = self.embed(x_BLT)
        return self.encode(embedded, token_validity(valid_BT, embedded.shape[1]))
