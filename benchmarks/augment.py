"""How much faster two views of a whole batch are than those of a loop over its windows.

The loop is what published code does in its data loader: each window is cropped and stretched by `np.interp` lead by
lead, a stretch of it silenced, and the views stacked to a batch. It spends nothing on anything else.

    python benchmarks/augment.py
"""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ecg_lightning.augment.base import View
from ecg_lightning.augment.crop import RandomResizedCrop
from ecg_lightning.augment.timeout import TimeOut
from ecg_lightning.leads import TWELVE_LEADS
from ecg_lightning.provenance import commit, device
from ecg_lightning.signal import SignalSpec

SPEC = SignalSpec(100, TWELVE_LEADS, 1000)
BATCH, TIMED = 64, 100


def crop(x_LT: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    """Of one window."""
    samples = x_LT.shape[1]
    length = int(rng.uniform(0.5, 1.0) * samples)
    start = rng.integers(samples - length + 1)
    piece_LT = x_LT[:, start : start + length]
    at = np.linspace(0, length - 1, samples)
    return np.stack([np.interp(at, np.arange(length), lead) for lead in piece_LT]).astype(np.float32)


def silence(x_LT: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    """Of one window."""
    samples = x_LT.shape[1]
    length = int(rng.uniform(0.2, 0.4) * samples)
    start = rng.integers(samples - length + 1)
    x_LT[:, start : start + length] = 0
    return x_LT


def loop(x_BLT: NDArray[np.float32], rng: np.random.Generator) -> Tensor:
    """A view of each window, one after the other."""
    return torch.stack([torch.from_numpy(silence(crop(x_LT, rng), rng)) for x_LT in x_BLT])


def seconds(*jobs: Callable[[], object]) -> list[float]:
    """The fastest of some runs of each, which take turns so that what else the machine does meets all alike."""
    times: list[list[float]] = [[] for _ in jobs]
    for _ in range(TIMED):
        for job, taken in zip(jobs, times, strict=True):
            start = perf_counter()
            job()
            taken.append(perf_counter() - start)
    return [min(taken) for taken in times]


def main() -> None:
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    x_BLT = torch.randn(BATCH, len(SPEC.leads), SPEC.samples)
    windows = x_BLT.numpy()
    view = View([RandomResizedCrop((0.5, 1.0)), TimeOut((0.2, 0.4))])
    view.prepare(SPEC)
    ours, theirs = seconds(lambda: (view(x_BLT), view(x_BLT)), lambda: (loop(windows, rng), loop(windows, rng)))
    print(f"`python benchmarks/augment.py`, commit {commit()}, {device()}\n")
    print(f"| two views of {BATCH} windows of 12 leads and 1000 samples | |\n|---|---|")
    print(f"| window by window in numpy | {1000 * theirs:.1f} ms |")
    print(f"| the whole batch | {1000 * ours:.1f} ms, {theirs / ours:.0f} x as fast |")


if __name__ == "__main__":
    main()
