"""Batches of windows: one fancy index into the store, standardised on the batch's device."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from ecg_lightning import processes
from ecg_lightning.data.store import Store
from ecg_lightning.errors import UserError
from ecg_lightning.signal import SignalSpec, standardise


class RawBatch(NamedTuple):
    """What the loader hands over: small, to be moved to the device as it is.

    Attributes:
        steps: (B, T, L) int16, 0 outside the recording.
        scale: (B,) float32, steps in one mV.
        valid: (B, T) bool, the samples inside the recording; None where all are.
        which: (B,) int64, the number of each example.
        y: (B,) int64 or (B, C) float32 labels, None for unlabelled windows.
        span: (B, 2) int64, first and one-past-last sample that the label is about; None for the whole window.
        patient: (B,) int64, windows of the same number are of one patient.
    """

    steps: Tensor
    scale: Tensor
    valid: Tensor | None
    which: Tensor
    y: Tensor | None = None
    span: Tensor | None = None
    patient: Tensor | None = None

    def to(self, device: torch.device, non_blocking: bool = False) -> RawBatch:
        """The same batch on another device; what the Trainer calls too."""
        move = partial(torch.Tensor.to, device=device, non_blocking=non_blocking)
        parts: dict[str, Any] = {name: None if part is None else move(part) for name, part in self._asdict().items()}
        return RawBatch(**parts)


class Batch(NamedTuple):
    """What a model sees.

    Attributes:
        x: (B, L, T) float32, standardised as the spec says.
        which: (B,) int64, the number of each example.
        y: see `RawBatch`.
        span: see `RawBatch`.
        valid: see `RawBatch`.
        patient: see `RawBatch`.
    """

    x: Tensor
    which: Tensor
    y: Tensor | None = None
    span: Tensor | None = None
    valid: Tensor | None = None
    patient: Tensor | None = None


Change = Callable[[Tensor, Tensor | None], tuple[Tensor, Tensor | None]]
"""From signals (B, L, T) in mV and which of their samples are valid, to others."""


def to_signal(batch: RawBatch, spec: SignalSpec, change: Change | None = None) -> Batch:
    """Steps to the encoder's units, on the device the batch is on; a change of the signals comes before."""
    x_BLT = batch.steps.transpose(1, 2).to(torch.float32) / batch.scale[:, None, None]
    x_BLT, valid = x_BLT.contiguous(), batch.valid
    if change is not None:
        x_BLT, valid = change(x_BLT, valid)
    x_BLT = standardise(x_BLT, spec.standardise, valid)
    return Batch(x_BLT, batch.which, batch.y, batch.span, valid, batch.patient)


@dataclass(frozen=True)
class Windows:
    """Windows of a store by recording and offset.

    Attributes:
        store: where they lie.
        row: (N,) recording of each window.
        offset: (N,) its first sample, counted from the recording's; may lie outside the recording.
        samples: `T`.
    """

    store: Store
    row: NDArray[np.int64]
    offset: NDArray[np.int64]
    samples: int

    def __len__(self) -> int:
        return len(self.row)

    def gather(self, index: NDArray[np.int64], signals: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor | None]:
        """Fetch some of the windows.

        Args:
            index: (B,) which ones.
            signals: (S, L) int16 the store's signals where they already lie on another device.

        Returns:
            Steps, scale and valid samples as in `RawBatch`.
        """
        signals = torch.from_numpy(self.store.signals) if signals is None else signals
        device = signals.device
        row = self.row[index]
        low = torch.from_numpy(self.store.start[row]).to(device)[:, None]
        high = low + torch.from_numpy(self.store.length[row]).to(device)[:, None]
        t_BT = (
            low + torch.from_numpy(self.offset[index]).to(device)[:, None] + torch.arange(self.samples, device=device)
        )
        valid = (t_BT >= low) & (t_BT < high)
        steps = signals[t_BT.clamp(min=low, max=high - 1)]
        scale = torch.full((len(index),), self.store.scale, device=device)
        if bool(valid.all()):
            return steps, scale, None
        return steps.masked_fill(~valid[..., None], 0), scale, valid

    def patient(self, index: NDArray[np.int64] | slice = slice(None)) -> Tensor:
        """(B,) int64 whose some of the windows are, see `RawBatch`."""
        return torch.from_numpy(self.store.person[self.row[index]])


class UnlabelledWindows(Dataset[RawBatch]):
    """Windows that tile recordings, each with some freedom to slide: the crops of pretraining.

    A recording of n samples gives `max(1, n // T)` windows; window k starts somewhere in the k-th share of the
    admissible starts, where exactly is the draw of the sampler, so that the epochs together see every sample.

    Args:
        store: the prepared recordings.
        rows: (R,) those to use.
        samples: `T`.
        signals: the store's signals where they already lie on another device.
    """

    def __init__(self, store: Store, rows: NDArray[np.int64], samples: int, signals: Tensor | None = None) -> None:
        tiles = np.maximum(store.length[rows] // samples, 1)
        self.row = np.repeat(rows, tiles)
        self.share = np.concatenate([(np.arange(n) / n) for n in tiles]) if len(tiles) else np.empty(0)
        self.width = np.repeat(1 / tiles, tiles)
        self.slack = np.maximum(store.length[self.row] - samples, 0)
        self.store, self.samples, self.signals = store, samples, signals

    def __len__(self) -> int:
        return len(self.row)

    def __getitem__(self, draw: Draw) -> RawBatch:
        """One batch."""
        where = self.share[draw.which] + draw.slide * self.width[draw.which]
        offset = np.minimum((where * (self.slack[draw.which] + 1)).astype(np.int64), self.slack[draw.which])
        windows = Windows(self.store, self.row[draw.which], offset, self.samples)
        parts = windows.gather(np.arange(len(windows)), self.signals)
        return RawBatch(*parts, torch.from_numpy(draw.which), patient=windows.patient())


class LabelledWindows(Dataset[RawBatch]):
    """Fixed windows with their labels.

    Args:
        windows: where they lie.
        y: (N,) int64 or (N, C) uint8, or None to serve the windows alone.
        span: (N, 2) samples that the label is about, or None for the whole window.
        signals: the store's signals where they already lie on another device.

    Raises:
        UserError: a window holds no sample of its recording.
    """

    def __init__(
        self,
        windows: Windows,
        y: NDArray[np.generic] | None,
        span: NDArray[np.int64] | None,
        signals: Tensor | None = None,
    ) -> None:
        outside = (windows.offset >= windows.store.length[windows.row]) | (windows.offset + windows.samples <= 0)
        if outside.any():
            row = windows.row[outside][0]
            raise UserError(
                f"recording {windows.store.record_id[row]}: a label lies outside its {windows.store.length[row]} "
                f"samples at {windows.store.fs:g} Hz; fetch its annotations again"
            )
        self.windows, self.y, self.span, self.signals = windows, y, span, signals

    def __len__(self) -> int:
        return len(self.windows)

    def __getitem__(self, draw: Draw) -> RawBatch:
        """One batch."""
        y = None if self.y is None else torch.from_numpy(self.y[draw.which])
        span = None if self.span is None else torch.from_numpy(self.span[draw.which])
        y = y.float() if y is not None and y.ndim == 2 else y
        parts = self.windows.gather(draw.which, self.signals)
        return RawBatch(*parts, torch.from_numpy(draw.which), y, span, self.windows.patient(draw.which))


class Draw(NamedTuple):
    """Which examples make a batch, and how far each window slides within its share, (B,) in [0, 1)."""

    which: NDArray[np.int64]
    slide: NDArray[np.float64]


class Batches(Sampler[Draw]):
    """Whole batches of indices; what epoch e draws depends on the seed and e alone, so that a resumed run repeats it.

    Processes that train together take turns at them. A shuffled epoch has equally many batches of one size for each,
    and those that come at the same time are together the batch that one process with as large a batch would see. In
    the natural order they are the very batches of one process; where they do not come out even, the last draw of some
    processes is of no example, so that all have equally many.

    Args:
        n: number of examples.
        batch_size: examples a batch of each process, when training no more than its share of them; the last one is
            smaller, or dropped when training.
        shuffle: a new order and new slides each epoch; else the natural order, each window in the middle of its share.
        seed: of the order.
        at_least: batches a shuffled epoch; few examples are gone through several times to make them.
    """

    def __init__(self, n: int, batch_size: int, shuffle: bool, seed: int = 0, at_least: int = 0) -> None:
        self.n, self.batch_size, self.shuffle, self.seed, self.at_least = n, batch_size, shuffle, seed, at_least
        self.epoch = 0
        self.begun = 0
        """Batches of the next epoch that are left out, having been drawn before a run was killed."""

    # The processes may find one another after the loaders are made: how many there are is asked when it matters.

    @property
    def size(self) -> int:
        """Examples of this process in a batch."""
        return min(self.batch_size, max(1, self.n // processes.count())) if self.shuffle else self.batch_size

    @property
    def together(self) -> int:
        """Examples of all processes in the batches that they have at one time."""
        return self.size * processes.count()

    @property
    def passes(self) -> int:
        """How often an epoch goes through the examples."""
        return -(-max(1, self.at_least) * self.together // max(1, self.n)) if self.shuffle else 1

    def set_epoch(self, epoch: int) -> None:
        """Called by the Trainer at the start of each epoch."""
        self.epoch = epoch

    def __len__(self) -> int:
        drawn = self.passes * self.n
        return drawn // self.together if self.shuffle else -(-drawn // self.together)

    def __iter__(self) -> Iterator[Draw]:
        order, slide = self.draw_epoch()
        begun, self.begun = self.begun, 0
        for turn in range(begun, len(self)):
            begin = turn * self.together + processes.rank() * self.size
            part = slice(begin, begin + self.size)
            yield Draw(order[part], slide[part])

    def draw_epoch(self) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Which examples the epoch goes through, in order, and how far each slides."""
        if not self.shuffle:
            return np.arange(self.n), np.full(self.n, 0.5)
        generator = np.random.default_rng((self.seed, self.epoch))
        order = np.concatenate([generator.permutation(self.n) for _ in range(self.passes)])
        return order, generator.random(len(order))
