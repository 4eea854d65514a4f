"""Hand-made features of any examples: what a cardiologist or an engineer would measure."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ecg_lightning.evaluation.cell import Part
from ecg_lightning.evaluation.classical.beat_features import beat_features
from ecg_lightning.evaluation.classical.record_features import record_features
from ecg_lightning.evaluation.classical.signals import BEFORE_S, around_peaks, whole_windows

FEATURES_VERSION = 2
"""Part of the cache's key: raise it when the features change."""


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
    x_BLT = np.concatenate([around_peaks(each) for each in parts])
    rr, row = (np.concatenate([getattr(each.examples, name) for each in parts]) for name in ("rr", "row"))
    in_train = np.arange(len(row)) < len(train)
    features = beat_features(x_BLT, rr[:, 0], rr[:, 1], row, in_train, fs, round(BEFORE_S * fs) / fs)
    return features[-len(part) :]


def _cut_beats(part: Part) -> NDArray[np.float32]:
    assert part.examples.span is not None
    length = np.diff(part.examples.span, axis=1) / part.data.store.fs
    x_BLT = np.concatenate(list(whole_windows(part)))
    return np.concatenate([x_BLT.reshape(len(part), -1), length.astype(np.float32)], axis=1)


def _windows(part: Part) -> NDArray[np.float32]:
    store = part.data.store
    return np.concatenate([record_features(x_BLT, store.fs, store.leads) for x_BLT in whole_windows(part)])
