"""Diagonal state spaces as long convolutions (S4D, Gu et al. 2022)."""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ecg_lightning.errors import UserError


class StateSpace(nn.Module):
    """Every channel is a linear system of its own, x' = A x + B u, y = C x + D u, with a diagonal A and B = 1.

    The states come in conjugate pairs, of which one each is kept. A begins as S4D-Lin, -1/2 + i pi n, and its logarithm
    keeps it stable; a step's length is drawn log-uniformly between .001 and .1; zero-order hold makes time discrete. A
    second C reads the window from its end where both directions are asked for.

    Args:
        dim: `H`, number of channels.
        state: states of each channel; even.
        both: whether to look into the future too; else no output knows a later input.

    Raises:
        UserError: `state` is no even number above 0.
    """

    undecayed: ClassVar[tuple[str, ...]] = ("log_decay", "frequency")
    """Weight decay would pull these towards other time scales, not towards less."""

    def __init__(self, dim: int, state: int, both: bool) -> None:
        super().__init__()
        if state < 2 or state % 2:
            raise UserError(f"encoder.state={state} must be an even number, 2 or more: states come in conjugate pairs")
        pairs = state // 2
        self.log_step = nn.Parameter(torch.empty(dim).uniform_(math.log(0.001), math.log(0.1)))
        self.log_decay = nn.Parameter(torch.full((dim, pairs), math.log(0.5)))
        self.frequency = nn.Parameter(math.pi * torch.arange(pairs).float().expand(dim, -1).clone())
        self.readout = nn.Parameter(torch.randn(2 if both else 1, dim, pairs, 2) * math.sqrt(0.5))
        self.skip = nn.Parameter(torch.randn(dim))

    def forward(self, u_BHT: Tensor) -> Tensor:
        """(B, H, T) to (B, H, T) float32, in O(T log T)."""
        T = u_BHT.shape[-1]
        wave = u_BHT.float()  # a Fourier transform in half precision is none
        spectrum = torch.fft.rfft(wave, n=2 * T) * torch.fft.rfft(self._around(self.kernel(T)))
        filtered: Tensor = torch.fft.irfft(spectrum, n=2 * T)
        return filtered[..., :T]

    def kernel(self, length: int) -> Tensor:
        """(directions, H, length): what an impulse leaves at each later sample, or earlier one, all at once."""
        rate = torch.complex(-self.log_decay.exp(), self.frequency)
        exponent = rate * self.log_step.exp()[:, None]
        gain = torch.view_as_complex(self.readout) * (torch.expm1(exponent) / rate)
        powers = torch.exp(exponent[..., None] * torch.arange(length, device=rate.device))
        return 2 * (gain[..., None] * powers).sum(dim=-2).real

    def _around(self, kernel_KHT: Tensor) -> Tensor:
        """(H, 2T): kernel and skip on a circle, on which later inputs lie to the left of 0."""
        T = kernel_KHT.shape[-1]
        padded = F.pad(kernel_KHT, (0, T))
        both = padded[0] if len(padded) == 1 else padded[0] + padded[1].flip(-1).roll(1, dims=-1)
        return both + F.pad(self.skip[:, None], (0, 2 * T - 1))


class Block(nn.Module):
    """A state space and a gated linear layer that mixes channels, behind a LayerNorm and beside a residual path."""

    def __init__(self, dim: int, state: int, both: bool) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(dim)
        self.state_space = StateSpace(dim, state, both)
        self.mix = nn.Linear(dim, 2 * dim)

    def forward(self, t_BND: Tensor, valid_BN: Tensor | None = None) -> Tensor:
        """(B, N, D) to (B, N, D); tokens that are not valid are seen by none."""
        u_BND = self.norm(t_BND)
        if valid_BN is not None:
            u_BND = u_BND * valid_BN[..., None]
        filtered = self.state_space(u_BND.transpose(1, 2)).transpose(1, 2)
        out: Tensor = t_BND + F.glu(self.mix(F.gelu(filtered)))
        return out


class StateSpaces(nn.Module):
    """A stack of blocks with a LayerNorm at its end.

    Args:
        dim: `D`.
        depth: number of blocks.
        state: see `StateSpace`.
        both: see `StateSpace`.

    Raises:
        UserError: a size is not positive, or `state` no even number.
    """

    def __init__(self, dim: int, depth: int, state: int, both: bool) -> None:
        super().__init__()
        for key, value in (("dim", dim), ("depth", depth)):
            if value < 1:
                raise UserError(f"encoder.{key}={value} must be at least 1")
        self.blocks = nn.ModuleList(Block(dim, state, both) for _ in range(depth))
        self.norm = nn.LayerNorm(dim)

    def forward(self, t_BND: Tensor, valid_BN: Tensor | None = None) -> Tensor:
        """(B, N, D) to (B, N, D); tokens that are not valid, (B, N) bool, are seen by none."""
        for block in self.blocks:
            t_BND = block(t_BND, valid_BN)
        out: Tensor = self.norm(t_BND)
        return out
