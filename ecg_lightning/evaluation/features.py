"""Frozen features: computed once, cached on disk, shared by every cell that needs them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol

import numpy as np
import torch
from filelock import FileLock
from numpy.typing import NDArray

from ecg_lightning.data.module import Examples
from ecg_lightning.encoders.base import Encoder
from ecg_lightning.encoders.checkpoint import EncoderCheckpoint
from ecg_lightning.evaluation.cell import Cell, Part
from ecg_lightning.evaluation.classical.beat_features import rhythm
from ecg_lightning.evaluation.classical.hand_made import HandMade
from ecg_lightning.evaluation.classical.welch_features import Welch
from ecg_lightning.evaluation.one_pass import one_pass
from ecg_lightning.files import replacing
from ecg_lightning.readout import BEAT_PARTS, WINDOW_PARTS, read_out

Matrix = NDArray[np.float32]

Which = Literal["pretrained", "random", "classical", "welch"]
"""Whose features: the pretrained encoder's, those of the same architecture with random weights, or, without an encoder,
hand-made ones or power spectra."""

FEATURES_VERSION = 4
"""Part of the cache's key: raise it when the features change."""

RANDOM_ENCODER_SEED = 0
"""One random encoder serves every cell: its features are as costly as the pretrained one's."""

REMEMBERED = 6
"""Matrices of features kept in memory."""


class FeatureSource(Protocol):
    """Who describes examples."""

    @property
    def key(self) -> str:
        """Says all that the description depends on but the examples."""
        ...

    def describe(self, train: Part, part: Part) -> Sequence[Matrix]:
        """Blocks of features of `part`, (N, F_b) each; `train` may set what is usual, without its labels."""
        ...


class FeatureSpace:
    """Features of any examples, standardised over a training split without its labels.

    They come in blocks, each of total variance 1, so that none drowns another by its width.

    Args:
        source: who describes.
        train: the training split.
        cache_dir: folder of cached features.
    """

    def __init__(self, source: FeatureSource, train: Part, cache_dir: Path) -> None:
        self.source, self._train, self.folder = source, train, cache_dir / "features"

    @property
    def train(self) -> Matrix:
        """(N, F) of the training split."""
        return self.of(self._train)

    def of(self, part: Part) -> Matrix:
        """(N, F) of any examples."""
        return _standardised(self, part.digest, _Hidden(part))

    def unstandardised(self, weight_FC: NDArray[np.floating[Any]]) -> NDArray[np.floating[Any]]:
        """Weights on features as they come from the source, that say what `weight_FC` says of standardised ones."""
        return weight_FC / self._usual[1][:, None]

    def _blocks(self, part: Part) -> _Blocks:
        names = [self.source.key, self._train.digest]
        names += [part.digest] if part.digest != self._train.digest else []
        path = self.folder / f"{'-'.join(names)}.npz"
        return cached(path, lambda: self.source.describe(self._train, part))

    @cached_property
    def _usual(self) -> tuple[Matrix, Matrix]:
        """Mean, and what to divide by."""
        features, widths = self._blocks(self._train)
        scale = (features.std(axis=0) + 1e-6) * np.sqrt(np.repeat(widths, widths)).astype(np.float32)
        return features.mean(axis=0), scale


class _Blocks(NamedTuple):
    """Blocks side by side, (N, F), and the width of each."""

    features: Matrix
    widths: NDArray[np.int64]


def feature_space(cell: Cell, which: Which) -> FeatureSpace:
    """The features of a cell's data.

    Args:
        cell: names the encoder, the data set and the folder of cached features.
        which: whose features.
    """
    alone: dict[str, Callable[[], FeatureSource]] = {"classical": HandMade, "welch": Welch}
    source = alone[which]() if which in alone else EncoderFeatures(cell.checkpoint, which)
    return _space(source.key, cell.train.digest, cell.cache_dir, _Hidden((source, cell.train)))


class EncoderFeatures:
    """What the pretrained encoder, or the same architecture with random weights, says of examples.

    A window has a block for each way in which `read_out` describes it. A beat has four: the tokens that cover it, how
    far they are from the median beat of the recording, the mean of its window, and its RR intervals. A beat that was
    cut out of its recording has three: its tokens, their mean, and its length, which is all that is left of the rhythm.

    Args:
        checkpoint: the encoder.
        which: `pretrained` or `random`.
    """

    def __init__(self, checkpoint: EncoderCheckpoint, which: Which) -> None:
        self.checkpoint, self.which = checkpoint, which

    @property
    def key(self) -> str:
        """See `FeatureSource`."""
        return f"{self.which}{FEATURES_VERSION}-{self.checkpoint.digest}"

    def describe(self, train: Part, part: Part) -> Sequence[Matrix]:
        """See `FeatureSource`."""
        del train
        return describe(self.encoder, part, f"{part.label}, {self.which} encoder")

    @cached_property
    def encoder(self) -> Encoder:
        """Whose tokens are read out."""
        return self.checkpoint.encoder if self.which == "pretrained" else _random(self.checkpoint)


def describe(encoder: Encoder, part: Part, label: str) -> Sequence[Matrix]:
    """The blocks of `EncoderFeatures`, of any encoder."""
    features, examples = embed(encoder, part, label), part.examples
    if examples.span is None:
        return np.split(features, WINDOW_PARTS, axis=1)
    beat, window = np.split(features, [-encoder.dim], axis=1)
    if examples.rr is None:
        return [beat, window, np.diff(examples.span, axis=1).astype(np.float32) / np.float32(part.data.spec.fs)]
    intervals = rhythm(examples.rr[:, 0], examples.rr[:, 1], examples.row).astype(np.float32)
    return [beat, relative_to_record(beat, examples.row), window, intervals]


def weights_on_read_out(
    weight_FC: NDArray[np.floating[Any]], dim: int, examples: Examples
) -> NDArray[np.floating[Any]]:
    """What weights on the features of `describe` say of what `read_out` gives for an example.

    Its recording's median, its rhythm and its length are no part of the example's own signal: they count as constants.

    Args:
        weight_FC: (F, C).
        dim: the encoder's.
        examples: that were described.

    Returns:
        (R, C).
    """
    if examples.span is None:
        return weight_FC
    beat, rest = np.split(weight_FC, [BEAT_PARTS * dim])
    if examples.rr is not None:
        relative, rest = np.split(rest, [BEAT_PARTS * dim])
        beat = beat + relative
    return np.concatenate([beat, rest[:dim]])


def embed(encoder: Encoder, part: Part, label: str) -> Matrix:
    """Embed examples with a progress bar.

    Returns:
        (N, F) float32; see `read_out`.
    """
    parts = one_pass(part, encoder, lambda batch: read_out(encoder, batch).float().cpu(), f"embedding {label}")
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


def cached(path: Path, compute: Callable[[], Sequence[Matrix]]) -> _Blocks:
    """Compute once, even among several processes; afterwards read the file."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(path.with_suffix(".lock")):
            if not path.exists():
                blocks = compute()
                features, widths = np.concatenate(blocks, axis=1), [block.shape[1] for block in blocks]
                with replacing(path, alone=True) as partial:
                    np.savez(partial, features=features, widths=widths)
    with np.load(path) as file:
        return _Blocks(file["features"], file["widths"])


def _random(checkpoint: EncoderCheckpoint) -> Encoder:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(RANDOM_ENCODER_SEED)
        return checkpoint.fresh()


class _Hidden:
    """Hides a value from a cache's key: the key beside it says all that matters."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def __eq__(self, other: Any) -> bool:
        return isinstance(other, _Hidden)

    def __hash__(self) -> int:
        return 0


@lru_cache(maxsize=REMEMBERED)
def _space(key: str, train: str, cache_dir: Path, made_of: _Hidden) -> FeatureSpace:
    del key, train
    source, part = made_of.value
    return FeatureSpace(source, part, cache_dir)


@lru_cache(maxsize=REMEMBERED)
def _standardised(space: FeatureSpace, digest: str, part: _Hidden) -> Matrix:
    del digest
    mean, scale = space._usual
    features, _ = space._blocks(part.value)
    features -= mean
    features /= scale
    return features
