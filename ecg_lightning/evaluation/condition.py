"""What is done to signals before anybody reads them: the noise, the lost leads, the coarse sampling of a test."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ecg_lightning.signal import TYPICAL_SPREAD_MV

CONDITION_SEED = 0xC0
"""Every method meets the same noise."""


@dataclass(frozen=True)
class Condition:
    """A change of signals in mV, before they are standardised: a recorder's fault, not a view's.

    Attributes:
        name: says all that the change depends on, for the names of cached features; empty for none.
        change: a `View` or an augmentation, its `prepare` called; it is given signals in units of 0.2 mV, about one
            standard deviation, as in pretraining. None leaves signals as they are.
    """

    name: str = ""
    change: nn.Module | None = None

    @contextmanager
    def drawing(self) -> Iterator[None]:
        """What is random in one pass over a data set is the same in every pass; nothing else notices."""
        with torch.random.fork_rng():
            torch.manual_seed(CONDITION_SEED)
            yield

    @torch.no_grad()
    def __call__(self, x_BLT: Tensor, valid_BT: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Change signals.

        Args:
            x_BLT: (B, L, T) float32, mV, 0 outside the recording.
            valid_BT: (B, T) bool, the samples inside the recording; None where all are.

        Returns:
            The same, changed.
        """
        if self.change is None:
            return x_BLT, valid_BT
        changed, inside = self.change.to(x_BLT.device)(x_BLT / TYPICAL_SPREAD_MV, valid_BT)
        return changed * TYPICAL_SPREAD_MV, inside


CLEAN = Condition()
