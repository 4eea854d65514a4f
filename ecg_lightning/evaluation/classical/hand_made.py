"""Hand-made features of any examples: what a cardiologist or an engineer would measure."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ecg_lightning.data.windows import Windows
from ecg_lightning.evaluation.cell import Part
from ecg_lightning.evaluation.classical.beat_features import beat_features
from ecg_lightning.evaluation.classical.record_features import record_features

BEFORE_S, AFTER_S = 0.3, 0.45
"""Seconds of signal around the R peak that describe a beat."""

FEATURES_VERSION = 2
"""Part of the cache's key: raise it when the features change."""

CHUNK = 2000
"""Recordings described at once."""


class HandMade:
    """Beats: shape and rhythm relative to the patient's median beat. Whole windows: wavelets and intervals.

    Beats that were cut out of their recordings have nothing to be relative to: their samples and their length.
    """

    key = f"classical{FEATURES_VERSION}"

    def describe(self, train: Part, part: Part) -> Sequence[NDArray[np.float32]]:
        """See `FeatureSource`; principal components are those of the training split."""
        examples = part.examples
        if examples.span is None:
            return [_windows(part)]
        return [_cut_beats(part) if examples.rr is None else _beats(train, part)]


def _beats(train: Part, part: Part) -> NDArray[np.float32]:
    parts = [train] if part is train else [train, part]
    fs = part.data.store.fs
    x_BLT = np.concatenate([_around_peaks(each) for each in parts])
    rr, row = (np.concatenate([getattr(each.examples, name) for each in parts]) for name in ("rr", "row"))
    in_train = np.arange(len(row)) < len(train)
    features = beat_features(x_BLT, rr[:, 0], rr[:, 1], row, in_train, fs, round(BEFORE_S * fs) / fs)
    return features[-len(part) :]


def _around_peaks(part: Part) -> NDArray[np.float32]:
    fs, examples = part.data.store.fs, part.examples
    before, samples = round(BEFORE_S * fs), round((BEFORE_S + AFTER_S) * fs)
    fiducial = examples.offset + part.data.spec.samples // 2
    with part.condition.drawing():
        return _signal(part, Windows(part.data.store, examples.row, fiducial - before, samples))


def _cut_beats(part: Part) -> NDArray[np.float32]:
    data, examples = part.data, part.examples
    assert examples.span is not None
    length = np.diff(examples.span, axis=1) / data.store.fs
    with part.condition.drawing():
        x_BLT = _signal(part, Windows(data.store, examples.row, examples.offset, data.example_samples))
    return np.concatenate([x_BLT.reshape(len(part), -1), length.astype(np.float32)], axis=1)


def _windows(part: Part) -> NDArray[np.float32]:
    store, examples = part.data.store, part.examples
    parts = []
    with part.condition.drawing():
        for begin in range(0, len(part), CHUNK):
            few = slice(begin, begin + CHUNK)
            windows = Windows(store, examples.row[few], examples.offset[few], part.data.example_samples)
            parts.append(record_features(_signal(part, windows), store.fs, store.leads))
    return np.concatenate(parts)


def _signal(part: Part, windows: Windows) -> NDArray[np.float32]:
    """(B, L, T) float32, mV, in the part's condition."""
    steps, scale, valid = windows.gather(np.arange(len(windows)))
    x_BLT, _ = part.condition(steps.transpose(1, 2).float() / scale[:, None, None], valid)
    return np.ascontiguousarray(x_BLT.numpy())
