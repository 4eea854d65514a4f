"""How much faster two views of a whole batch are than those of a loop over its windows.

The loop is what published code does in its data loader: each window, (T, L), is cropped and stretched, a stretch of it
silenced, and the views stacked to a batch. It stretches as Mehari and Strodthoff (2022) do, who spread the samples
over the window at random and fill the gaps by interpolation, or by `np.interp` lead by lead, as lean as a loop can be.

    python benchmarks/augment.py
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
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
BATCH, ROUNDS, RUNS = 64, 24, 8
Signal = NDArray[np.float32]


def crop(x_TL: Signal, rng: np.random.Generator) -> Signal:
    """A piece of one window."""
    length = int(rng.uniform(0.5, 1.0) * len(x_TL))
    start = rng.integers(len(x_TL) - length + 1)
    return x_TL[start : start + length]


def stretch_lean(piece_TL: Signal, samples: int, rng: np.random.Generator) -> Signal:
    """Each lead interpolated at even distances."""
    at, there = np.linspace(0, len(piece_TL) - 1, samples), np.arange(len(piece_TL))
    out_TL = np.empty((samples, piece_TL.shape[1]), np.float32)
    for lead in range(piece_TL.shape[1]):
        out_TL[:, lead] = np.interp(at, there, piece_TL[:, lead])
    return out_TL


def stretch_published(piece_TL: Signal, samples: int, rng: np.random.Generator) -> Signal:
    """The samples at random places, the first and the last at the ends, and the gaps between them interpolated."""
    inner = 1 + rng.choice(samples - 2, len(piece_TL) - 2, replace=False)
    spread_TL = np.full((samples, piece_TL.shape[1]), np.nan, np.float32)
    spread_TL[np.sort(np.r_[0, inner, samples - 1])] = piece_TL
    flat = spread_TL.flatten(order="F")
    gap = np.isnan(flat)
    flat[gap] = np.interp(np.flatnonzero(gap), np.flatnonzero(~gap), flat[~gap])
    return flat.reshape(spread_TL.shape, order="F")


def silence(x_TL: Signal, rng: np.random.Generator) -> Signal:
    """Of one window."""
    samples = len(x_TL)
    length = int(rng.uniform(0.2, 0.4) * samples)
    start = rng.integers(samples - length + 1)
    out_TL = x_TL.copy()
    out_TL[start : start + length] = 0
    return out_TL


def view_by_view(x_BTL: Signal, stretch: Callable[..., Signal], rng: np.random.Generator) -> Tensor:
    """A view of each window, one after the other: (B, L, T)."""
    views = (silence(stretch(crop(x_TL, rng), len(x_TL), rng), rng) for x_TL in x_BTL)
    return torch.stack([torch.from_numpy(view_TL.T) for view_TL in views])


def two(make: Callable[[], object]) -> list[object]:
    """Both views of a batch."""
    return [make(), make()]


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
    # Large activations teach malloc to keep memory; a process without any pays for fresh pages with every batch.
    torch.zeros(30 << 18).sum()
    rng = np.random.default_rng(0)
    x_BLT = torch.randn(BATCH, len(SPEC.leads), SPEC.samples)
    x_BTL = np.ascontiguousarray(x_BLT.transpose(1, 2).numpy())
    view = View([RandomResizedCrop((0.5, 1.0)), TimeOut((0.2, 0.4))])
    view.prepare(SPEC)
    loops = [partial(view_by_view, x_BTL, stretch, rng) for stretch in (stretch_published, stretch_lean)]
    ours, published, lean = seconds(*(partial(two, make) for make in (partial(view, x_BLT), *loops)))
    print(f"`python benchmarks/augment.py`, commit {commit()}, {device()}\n")
    print(f"| two views of {BATCH} windows of 12 leads and 1000 samples | |\n|---|---|")
    print(f"| the whole batch | {1000 * ours:.1f} ms |")
    print(f"| window by window, as published | {1000 * published:.1f} ms, {published / ours:.1f} x as long |")
    print(f"| window by window, as lean as can be | {1000 * lean:.1f} ms, {lean / ours:.1f} x as long |")


if __name__ == "__main__":
    main()
