"""The classical baseline as a protocol: hand-made features and extra trees on the same labels."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ecg_lightning.data.module import ECGDataModule, Examples
from ecg_lightning.data.windows import Windows
from ecg_lightning.evaluation.cell import Cell, Prediction
from ecg_lightning.evaluation.classical.beat_features import beat_features
from ecg_lightning.evaluation.classical.forest import fit_predict
from ecg_lightning.evaluation.classical.record_features import record_features
from ecg_lightning.evaluation.features import cached, examples_digest

BEFORE_S, AFTER_S = 0.3, 0.45
"""Seconds of signal around the R peak that describe a beat."""

FEATURES_VERSION = 1
"""Part of the cache's key: raise it when the features change."""

CHUNK = 2000
"""Recordings described at once."""


class Classical:
    """Beats: shape and rhythm relative to the patient's median beat. Whole windows: wavelets and intervals.

    Beats that were cut out of their recordings have nothing to be relative to: their samples and their length.
    """

    def predict(self, cell: Cell) -> Prediction:
        """See `EvaluationProtocol.predict`."""
        key = f"classical{FEATURES_VERSION}-{examples_digest(cell.data, cell.train, cell.test)}"
        describe = _windows if cell.train.span is None else _cut_beats if cell.train.rr is None else _beats
        features = cached(
            cell.cache_dir / "features" / f"{key}.npy", lambda: describe(cell.data, cell.train, cell.test)
        )
        train, test = np.split(features, [len(cell.train.row)])
        index, y, _ = cell.labelled_examples()
        classes = len(cell.data.classes)
        return Prediction(fit_predict(train[index], y, test, classes, cell.model_seed), {"features": features.shape[1]})


def _beats(data: ECGDataModule, train: Examples, test: Examples) -> NDArray[np.float32]:
    fs = data.store.fs
    before, samples = round(BEFORE_S * fs), round((BEFORE_S + AFTER_S) * fs)
    row, offset = np.concatenate([train.row, test.row]), np.concatenate([train.offset, test.offset])
    assert train.rr is not None and test.rr is not None
    rr = np.concatenate([train.rr, test.rr])
    fiducial = offset + data.spec.samples // 2
    x_BLT = _signal(Windows(data.store, row, fiducial - before, samples))
    in_train = np.arange(len(row)) < len(train.row)
    return beat_features(x_BLT, rr[:, 0], rr[:, 1], row, in_train, fs, before / fs)


def _cut_beats(data: ECGDataModule, train: Examples, test: Examples) -> NDArray[np.float32]:
    row, offset = np.concatenate([train.row, test.row]), np.concatenate([train.offset, test.offset])
    assert train.span is not None and test.span is not None
    length = np.diff(np.concatenate([train.span, test.span]), axis=1) / data.store.fs
    x_BLT = _signal(Windows(data.store, row, offset, data.example_samples))
    return np.concatenate([x_BLT.reshape(len(row), -1), length.astype(np.float32)], axis=1)


def _windows(data: ECGDataModule, train: Examples, test: Examples) -> NDArray[np.float32]:
    row, offset = np.concatenate([train.row, test.row]), np.concatenate([train.offset, test.offset])
    parts = []
    for begin in range(0, len(row), CHUNK):
        part = slice(begin, begin + CHUNK)
        x_BLT = _signal(Windows(data.store, row[part], offset[part], data.example_samples))
        parts.append(record_features(x_BLT, data.store.fs, data.store.leads))
    return np.concatenate(parts)


def _signal(windows: Windows) -> NDArray[np.float32]:
    """(B, L, T) float32, mV."""
    steps, _, _ = windows.gather(np.arange(len(windows)))
    signal: NDArray[np.float32] = steps.numpy().transpose(0, 2, 1).astype(np.float32) / np.float32(windows.store.scale)
    return signal
