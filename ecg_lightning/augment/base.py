"""The contract of every augmentation, and how several of them make a view."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ecg_lightning.errors import UserError
from ecg_lightning.signal import SignalSpec

Drawn = dict[str, Tensor]
"""The random numbers of a batch by name, each (B, ...): a row for every window."""

Windows = tuple[Tensor, Tensor | None]
"""(B, L, T) float32 signals and (B, T) bool, the samples inside their recording, None where all are."""


class Augmentation(nn.Module):
    """Changes each window of a batch by random numbers of its own.

    An author writes `draw` and `change`. All that is random is drawn first, from torch's generator of the batch's
    device, so that a seed fixes it and a naive version can be given the same numbers. Amplitudes are in what the
    encoder reads, of which one standard deviation of an ECG is about 1.

    Args:
        p: share of the windows that are changed.

    Attributes:
        spec: the signal to augment, once `prepare` has told it.

    Raises:
        UserError: `p` is no share.
    """

    spec: SignalSpec

    def __init__(self, p: float = 1.0) -> None:
        super().__init__()
        if not 0 <= p <= 1:
            raise UserError(f"augment {type(self).__name__}: p={p} must lie between 0 and 1")
        self.p = p

    def prepare(self, spec: SignalSpec) -> None:
        """Learn which signal is augmented, before any work.

        Raises:
            UserError: this augmentation cannot be, at this rate or with these leads.
        """
        self.spec = spec

    @abstractmethod
    def draw(self, x_BLT: Tensor, valid_BT: Tensor | None = None) -> Drawn:
        """Random numbers for each window of a batch, on its device."""

    @abstractmethod
    def change(self, x_BLT: Tensor, drawn: Drawn, valid_BT: Tensor | None = None) -> Windows:
        """Change every window by its numbers; what lies outside the recording is 0 before and after.

        Args:
            x_BLT: (B, L, T) float32; not changed in place.
            drawn: what `draw` gave.
            valid_BT: (B, T) bool, the samples inside the recording, one stretch of each window; None where all are.

        Returns:
            The changed signals, and which of their samples lie inside.
        """

    def forward(self, x_BLT: Tensor, valid_BT: Tensor | None = None) -> Windows:
        """Draw, and change a share `p` of the windows."""
        changed, inside = self.change(x_BLT, self.draw(x_BLT, valid_BT), valid_BT)
        if self.p == 1:
            return changed, inside
        chosen_B = torch.rand(len(x_BLT), device=x_BLT.device) < self.p
        if inside is not None:
            before = torch.ones_like(inside) if valid_BT is None else valid_BT
            inside = torch.where(chosen_B[:, None], inside, before)
        return torch.where(chosen_B[:, None, None], changed, x_BLT), inside


class View(nn.Module):
    """Augmentations one after the other: what makes a view of each window.

    Args:
        steps: the augmentations, in order.
    """

    def __init__(self, steps: Sequence[Augmentation]) -> None:
        super().__init__()
        self.steps = nn.ModuleList(steps)

    def prepare(self, spec: SignalSpec) -> None:
        """See `Augmentation.prepare`."""
        for step in self.steps:
            assert isinstance(step, Augmentation)
            step.prepare(spec)

    @torch.no_grad()
    def forward(self, x_BLT: Tensor, valid_BT: Tensor | None = None) -> Windows:
        """(B, L, T) and which samples lie inside, to a view of the same shape."""
        for step in self.steps:
            x_BLT, valid_BT = step(x_BLT, valid_BT)
        return x_BLT, valid_BT


def extent(x_BLT: Tensor, valid_BT: Tensor | None) -> tuple[Tensor, Tensor]:
    """Where each recording begins in its window and how many samples it has there, (B,) int64 each.

    Args:
        x_BLT: (B, L, T).
        valid_BT: (B, T) bool, one stretch of each window, or None for all.
    """
    B, _, T = x_BLT.shape
    if valid_BT is None:
        return (torch.zeros(B, dtype=torch.int64, device=x_BLT.device),
                torch.full((B,), T, dtype=torch.int64, device=x_BLT.device))  # fmt: skip
    return valid_BT.int().argmax(dim=1), valid_BT.sum(dim=1)


def sample_at(x_BLT: Tensor, position_BK: Tensor) -> Tensor:
    """The signals between their samples, by linear interpolation, as exactly as float32 holds a position.

    Args:
        x_BLT: (B, L, T).
        position_BK: (B, K) where, in samples; beyond either end the last sample stands.

    Returns:
        (B, L, K).
    """
    # To torch a signal is an image of one line; its sampler finds a place once for all leads, twice as fast as gather.
    across_BK = position_BK * (2 / max(x_BLT.shape[-1] - 1, 1)) - 1
    place_B1K2 = F.pad(across_BK[:, None, :, None], (0, 1)).to(x_BLT.dtype)
    line = F.grid_sample(x_BLT[:, :, None], place_B1K2, padding_mode="border", align_corners=True)
    return line[:, :, 0]


def centred(x_BLT: Tensor, valid_BT: Tensor | None) -> Tensor:
    """Each lead without its mean over the valid samples; 0 elsewhere."""
    if valid_BT is None:
        return x_BLT - x_BLT.mean(dim=-1, keepdim=True)
    inside = valid_BT[:, None]
    count = inside.sum(dim=-1, keepdim=True).clamp(min=1)
    return (x_BLT - (x_BLT * inside).sum(dim=-1, keepdim=True) / count) * inside
