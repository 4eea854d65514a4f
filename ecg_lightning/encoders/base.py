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

    def fit_length(self, samples: int) -> int:
        """The length nearest to `samples`, and not above it where there is one, that the encoder takes.

        Objectives that look at a part of a window ask for it; an encoder of one length alone answers with that.
        """
        return samples

    def depth_order(self) -> list[nn.Module]:
        """Its layers from the input to the output, to be trained at rates of their own.

        They are its children in the order in which they were made, a stack's members one by one, unless the encoder
        knows better. Every parameter lies in one of them, but for the encoder's own, which stand at the input.
        """
        stacks = nn.Sequential | nn.ModuleList
        return [layer for child in self.children() for layer in (child if isinstance(child, stacks) else [child])]

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

    Its patches lie in lanes along time: one lane of patches that span all leads, or one lane for each lead. `M = lanes
    * N` patches are numbered lane by lane.

    Attributes:
        patch: `P`, samples of one patch; `N = T / P`.
        lanes: number of lanes, 1 or L.
    """

    patch: int
    lanes: int = 1

    @abstractmethod
    def embed(self, x_BLT: Tensor) -> Tensor:
        """(B, L, T) to (B, M, D): patches with their positions, each of which knows no other."""

    @abstractmethod
    def encode(self, t_BKD: Tensor, valid_BK: Tensor | None = None) -> Tensor:
        """(B, K, D) to (B, K, D), for any K of the M tokens, in any order, blind to those that are not valid."""

    def patchify(self, x_BLT: Tensor) -> Tensor:
        """(B, L, T) to (B, M, L / lanes * P): the samples of each patch, lead by lead."""
        B, L, T = x_BLT.shape
        cut = x_BLT.reshape(B, self.lanes, L // self.lanes, T // self.patch, self.patch).transpose(2, 3)
        return cut.reshape(B, self.lanes * (T // self.patch), -1)

    def unpatchify(self, p_BMP: Tensor) -> Tensor:
        """The inverse of `patchify`."""
        B, M, P = p_BMP.shape
        N, leads = M // self.lanes, P // self.patch
        pieces = p_BMP.reshape(B, self.lanes, N, leads, self.patch).transpose(2, 3)
        return pieces.reshape(B, self.lanes * leads, N * self.patch)

    def patch_validity(self, valid_BT: Tensor | None, M: int) -> Tensor | None:
        """Which of the M patches hold a sample inside the recording, (B, M) bool, or None where all do."""
        valid_BN = token_validity(valid_BT, M // self.lanes)
        return None if valid_BN is None else valid_BN.repeat(1, self.lanes)

    def tokens(self, x_BLT: Tensor, valid_BT: Tensor | None = None) -> Tensor:
        """See `Encoder.tokens`; the mean over the lanes."""
        embedded = self.embed(x_BLT)
        B, M, D = embedded.shape
        encoded = self.encode(embedded, self.patch_validity(valid_BT, M))
        return encoded.view(B, self.lanes, M // self.lanes, D).mean(dim=1)

    def fit_length(self, samples: int) -> int:
        """See `Encoder.fit_length`; whole patches."""
        return max(1, samples // self.patch) * self.patch


class CausalEncoder(Encoder):
    """An encoder in two halves, of which the second looks back in time alone: CPC predicts the first from it.

    Attributes:
        local_dim: `E`, width of the first half's tokens.
        stride: samples of one token's share; `N = ceil(T / stride)`.
    """

    local_dim: int
    stride: int

    @abstractmethod
    def local(self, x_BLT: Tensor, valid_BT: Tensor | None = None) -> Tensor:
        """(B, L, T) to (B, N, E): each token knows a short stretch of the signal, up to the end of its share."""

    @abstractmethod
    def context(self, z_BNE: Tensor, valid_BN: Tensor | None = None) -> Tensor:
        """(B, N, E) to (B, N, D): token n knows local tokens 0 to n, those that are valid, and no later one."""

    def tokens(self, x_BLT: Tensor, valid_BT: Tensor | None = None) -> Tensor:
        """See `Encoder.tokens`; what lies outside the recording is seen by no token inside it."""
        z_BNE = self.local(x_BLT, valid_BT)
        return self.context(z_BNE, token_validity(valid_BT, z_BNE.shape[1]))

    def fit_length(self, samples: int) -> int:
        """See `Encoder.fit_length`; whole shares."""
        return max(1, samples // self.stride) * self.stride
