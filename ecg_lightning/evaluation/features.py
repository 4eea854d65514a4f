"""Frozen features: computed once, cached on disk, shared by every cell that needs them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from filelock import FileLock
from numpy.typing import NDArray
from tqdm import tqdm

from ecg_lightning.data.module import ECGDataModule, Examples
from ecg_lightning.data.windows import to_signal
from ecg_lightning.encoders.base import Encoder
from ecg_lightning.encoders.checkpoint import EncoderCheckpoint
from ecg_lightning.evaluation.cell import Cell
from ecg_lightning.evaluation.classical.beat_features import rhythm
from ecg_lightning.readout import WINDOW_PARTS, read_out

Matrix = NDArray[np.float32]
Which = Literal["pretrained", "random"]

FEATURES_VERSION = 3
"""Part of the cache's key: raise it when the features change."""

RANDOM_ENCODER_SEED = 0
"""One random encoder serves every cell: its features are as costly as the pretrained one's."""


class FrozenFeatures(NamedTuple):
    """Features of both splits, (N, F) float32, standardised over the training split without its labels.

    They come in blocks, each of total variance 1, so that none drowns another by its width. A window has one for each
    way in which `read_out` describes it. A beat has four: the tokens that cover it, how far they are from the median
    beat of the recording, the mean of its window, and its RR intervals. A beat that was cut out of its recording has
    three: its tokens, their mean, and its length, which is all that is left of the rhythm.
    """

    train: Matrix
    test: Matrix


def encoder_features(cell: Cell, which: Which) -> FrozenFeatures:
    """What the pretrained encoder, or the same architecture with random weights, says of the cell's examples."""
    name = f"{which}{FEATURES_VERSION}-{cell.checkpoint.digest}-{examples_digest(cell.data, cell.train, cell.test)}.npy"
    return _load(cell.cache_dir / "features" / name, len(cell.train.row), _Once(lambda: _describe(cell, which)))


def cached(path: Path, compute: Callable[[], Matrix]) -> Matrix:
    """Compute once, even among several processes; afterwards map the file, of which few labels need few rows."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(path.with_suffix(".lock")):
            if not path.exists():
                partial = path.with_suffix(".partial.npy")
                np.save(partial, compute())
                partial.replace(path)
    matrix: Matrix = np.load(path, mmap_mode="c")  # torch takes no array that may not be written to
    return matrix


def examples_digest(data: ECGDataModule, *parts: Examples) -> str:
    """Hash of what is embedded: the recordings, windows, spans and intervals, and the signal they are rendered to."""
    state = hashlib.blake2b(repr((data.store.fingerprint, data.spec, data.example_samples)).encode(), digest_size=8)
    for part in parts:
        for array in (part.row, part.offset, part.span, part.rr):
            state.update(b"-" if array is None else np.ascontiguousarray(array).tobytes())
    return state.hexdigest()


def embed(encoder: Encoder, data: ECGDataModule, examples: Examples, label: str) -> Matrix:
    """Embed examples with a progress bar.

    Returns:
        (N, F) float32; see `read_out`.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    encoder = encoder.to(device).eval()
    parts = []
    with torch.inference_mode(), tqdm(total=len(examples.row), desc=f"embedding {label}", unit=" windows") as bar:
        for raw in data.loader(data.windows(examples), shuffle=False):
            batch = to_signal(raw.to(device), data.spec)
            parts.append(read_out(encoder, batch).float().cpu())
            bar.update(len(batch.x))
    features: Matrix = torch.cat(parts).numpy()
    return features


def relative_to_record(features: Matrix, row: NDArray[np.int64]) -> Matrix:
    """Features minus their median over the recording: what sets a beat apart from the patient's usual ones.

    No label enters it.

    Args:
        features: (N, D).
        row: (N,) recording of each.
    """
    order = np.argsort(row, kind="stable")
    begin = np.r_[0, np.flatnonzero(np.diff(row[order])) + 1]
    relative = np.empty_like(features)
    for part in np.split(order, begin[1:]):
        relative[part] = features[part] - np.median(features[part], axis=0)
    return relative


class Embedded(NamedTuple):
    """Examples of a data set, and what the progress bar calls them."""

    data: ECGDataModule
    examples: Examples
    label: str


def describe(encoder: Encoder, train: Embedded, test: Embedded) -> Matrix:
    """The features of one group of examples and, below them, of another, standardised over the first."""
    blocks = zip(_blocks(encoder, *train), _blocks(encoder, *test), strict=True)
    return np.concatenate([_standardised(np.concatenate(both), len(train.examples.row)) for both in blocks], axis=1)


def _describe(cell: Cell, which: Which) -> Matrix:
    encoder = cell.checkpoint.encoder if which == "pretrained" else _random(cell.checkpoint)
    train = Embedded(cell.data, cell.train, f"training split, {which} encoder")
    return describe(encoder, train, Embedded(cell.data, cell.test, f"test split, {which} encoder"))


def _blocks(encoder: Encoder, data: ECGDataModule, examples: Examples, label: str) -> list[Matrix]:
    features = embed(encoder, data, examples, label)
    if examples.span is None:
        return np.split(features, WINDOW_PARTS, axis=1)
    beat, window = np.split(features, [-encoder.dim], axis=1)
    if examples.rr is None:
        return [beat, window, np.diff(examples.span, axis=1).astype(np.float32) / np.float32(data.spec.fs)]
    intervals = rhythm(examples.rr[:, 0], examples.rr[:, 1], examples.row).astype(np.float32)
    return [beat, relative_to_record(beat, examples.row), window, intervals]


def _standardised(block: Matrix, train: int) -> Matrix:
    """Mean 0 and total variance 1 over the first `train` rows."""
    mean, deviation = block[:train].mean(axis=0), block[:train].std(axis=0)
    scaled: Matrix = (block - mean) / ((deviation + 1e-6) * np.float32(np.sqrt(block.shape[1])))
    return scaled


def _random(checkpoint: EncoderCheckpoint) -> Encoder:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(RANDOM_ENCODER_SEED)
        return checkpoint.fresh()


class _Once:
    """Hides a closure from the cache's key: the file's name says all that matters."""

    def __init__(self, compute: Callable[[], Matrix]) -> None:
        self.compute = compute

    def __eq__(self, other: Any) -> bool:
        return isinstance(other, _Once)

    def __hash__(self) -> int:
        return 0


@lru_cache(maxsize=3)
def _load(path: Path, train: int, compute: _Once) -> FrozenFeatures:
    features = cached(path, compute.compute)
    return FrozenFeatures(features[:train], features[train:])
