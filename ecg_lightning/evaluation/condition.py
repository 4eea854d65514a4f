"""What is done to signals before anybody reads them: the noise, the lost leads, the coarse sampling of a test."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ecg_lightning.signal import TYPICAL_SPREAD_MV

CONDITION_SEED = 0xC0
"""Every method meets the same noise."""

BLOCK = 64
"""Windows whose random numbers are drawn together, from a seed of their own."""


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
    _read: list[int] = field(default_factory=list, init=False, repr=False, compare=False)
    """Windows read so far, in each pass that is under way."""

    @contextmanager
    def drawing(self) -> Iterator[None]:
        """One pass over a data set: what is random is window by window the same in every pass, however it is batched.

        Nothing outside notices.
        """
        self._read.append(0)
        try:
            with torch.random.fork_rng():  # a loader draws too, be it only a seed for workers that it has not
                yield
        finally:
            self._read.pop()

    @torch.no_grad()
    def __call__(self, x_BLT: Tensor, valid_BT: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Change signals.

        Args:
            x_BLT: (B, L, T) float32, mV, 0 outside the recording; within `drawing` the next ones of the data set.
            valid_BT: (B, T) bool, the samples inside the recording; None where all are.

        Returns:
            The same, changed.
        """
        if self.change is None:
            return x_BLT, valid_BT
        change, x_BLT = self.change.to(x_BLT.device), x_BLT / TYPICAL_SPREAD_MV
        if not self._read:
            changed, inside = change(x_BLT, valid_BT)
            return changed * TYPICAL_SPREAD_MV, inside
        begin = self._read[-1]
        self._read[-1] += len(x_BLT)
        parts = [_in_block(change, number, x_BLT, valid_BT, begin)
                 for number in range(begin // BLOCK, -(-(begin + len(x_BLT)) // BLOCK))]  # fmt: skip
        changed = torch.cat([part for part, _ in parts])
        masks = [mask for _, mask in parts if mask is not None]
        return changed * TYPICAL_SPREAD_MV, torch.cat(masks) if masks else None


def _in_block(
    change: nn.Module, number: int, x_BLT: Tensor, valid_BT: Tensor | None, begin: int
) -> tuple[Tensor, Tensor | None]:
    """The windows of a batch that belong to one block, changed; the block is filled up, so that its draws are whole."""
    first, end = number * BLOCK, begin + len(x_BLT)
    before, after = max(begin - first, 0), max(first + BLOCK - end, 0)
    rows = slice(first + before - begin, first + BLOCK - after - begin)
    x_BLT = F.pad(x_BLT[rows], (0, 0, 0, 0, before, after))
    if valid_BT is not None:
        valid_BT = F.pad(valid_BT[rows], (0, 0, before, after), value=True)
    with torch.random.fork_rng():
        torch.manual_seed((CONDITION_SEED << 32) + number)
        changed, inside = change(x_BLT, valid_BT)
    mine = slice(before, BLOCK - after)
    return changed[mine], None if inside is None else inside[mine]


CLEAN = Condition()
