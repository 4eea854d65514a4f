"""How much faster two views of a whole batch are than those of a loop over its windows.

The loop is what published code does in its data loader: each window, (T, L), is cropped and stretched by `np.interp`
lead by lead, a stretch of it silenced, and the views stacked to a batch. It spends nothing on anything else.

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
BATCH, ROUNDS, RUNS = 64, 12, 8
Signal = NDArray[np.float32]


def crop(x_TL: Signal, rng: np.random.Generator) -> Signal:
    """Of one window."""
    samples, leads = x_TL.shape
    length = int(rng.uniform(0.5, 1.0) * samples)
    start = rng.integers(samples - length + 1)
    at, there = np.linspace(0, length - 1, samples), np.arange(length)
    out_TL = np.empty_like(x_TL)
    for lead in range(leads):
        out_TL[:, lead] = np.interp(at, there, x_TL[start : start + length, lead])
    return out_TL


def silence(x_TL: Signal, rng: np.random.Generator) -> Signal:
    """Of one window."""
    samples = len(x_TL)
    length = int(rng.uniform(0.2, 0.4) * samples)
    start = rng.integers(samples - length + 1)
    out_TL = x_TL.copy()
    out_TL[start : start + length] = 0
    return out_TL


def loop(x_BTL: Signal, rng: np.random.Generator) -> Tensor:
    """A view of each window, one after the other: (B, L, T)."""
    return torch.stack([torch.from_numpy(silence(crop(x_TL, rng), rng).T) for x_TL in x_BTL])


def seconds(*jobs: Callable[[], object]) -> list[float]:
    """The fastest of many runs of each, which take turns so that what else the machine does meets all alike."""
    times: list[list[float]] = [[] for _ in jobs]
    for _ in range(ROUNDS):
        for job, taken in zip(jobs, times, strict=True):
            for _ in range(RUNS):
                start = perf_counter()
                job()
                taken.append(perf_counter() - start)
    return [min(taken) for taken in times]


def main() -> None:
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    x_BLT = torch.randn(BATCH, len(SPEC.leads), SPEC.samples)
    x_BTL = np.ascontiguousarray(x_BLT.transpose(1, 2).numpy())
    view = View([RandomResizedCrop((0.5, 1.0)), TimeOut((0.2, 0.4))])
    view.prepare(SPEC)
    ours, theirs = seconds(lambda: (view(x_BLT), view(x_BLT)), lambda: (loop(x_BTL, rng), loop(x_BTL, rng)))
    print(f"`python benchmarks/augment.py`, commit {commit()}, {device()}\n")
    print(f"| two views of {BATCH} windows of 12 leads and 1000 samples | |\n|---|---|")
    print(f"| window by window in numpy | {1000 * theirs:.1f} ms |")
    print(f"| the whole batch | {1000 * ours:.1f} ms, {theirs / ours:.0f} x as fast |")


if __name__ == "__main__":
    main()
