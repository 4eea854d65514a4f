"""The signals of examples that classical features are computed from, in mV, in the condition of their part."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from ecg_lightning.data.windows import Windows
from ecg_lightning.evaluation.cell import Part

BEFORE_S, AFTER_S = 0.3, 0.45
"""Seconds of signal around the R peak that describe a beat."""

CHUNK = 2000
"""Windows held at once."""


def around_peaks(part: Part) -> NDArray[np.float32]:
    """(N, L, T) float32, a stretch around the R peak of every beat."""
    fs, examples = part.data.store.fs, part.examples
    before, samples = round(BEFORE_S * fs), round((BEFORE_S + AFTER_S) * fs)
    fiducial = examples.offset + part.data.spec.samples // 2
    with part.condition.drawing():
        return _signal(part, Windows(part.data.store, examples.row, fiducial - before, samples))


def whole_windows(part: Part) -> Iterator[NDArray[np.float32]]:
    """The windows of all examples in their order, (at most CHUNK, L, T) float32 at a time."""
    store, examples = part.data.store, part.examples
    with part.condition.drawing():
        for begin in range(0, len(part), CHUNK):
            few = slice(begin, begin + CHUNK)
            yield _signal(part, Windows(store, examples.row[few], examples.offset[few], part.data.example_samples))


def _signal(part: Part, windows: Windows) -> NDArray[np.float32]:
    steps, scale, valid = windows.gather(np.arange(len(windows)))
    x_BLT, _ = part.condition(steps.transpose(1, 2).float() / scale[:, None, None], valid)
    return np.ascontiguousarray(x_BLT.numpy())
