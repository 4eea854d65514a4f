"""Frozen features: relative to the recording, computed once, and named by all that decides them."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from ecg_lightning.data.mitbih import MITBIH
from ecg_lightning.data.module import ECGDataModule
from ecg_lightning.data.ptbxl import PTBXL
from ecg_lightning.encoders.checkpoint import EncoderCheckpoint, read_checkpoint
from ecg_lightning.evaluation import features
from ecg_lightning.evaluation.cell import Cell, Part
from ecg_lightning.evaluation.classical.beat_features import rhythm
from ecg_lightning.evaluation.condition import Condition
from ecg_lightning.evaluation.features import cached, embed, feature_space, relative_to_record
from ecg_lightning.readout import BEAT_PARTS, WINDOW_PARTS, coverage


@pytest.fixture(scope="module")
def checkpoint(tiny_checkpoint: Path) -> EncoderCheckpoint:
    return read_checkpoint(tiny_checkpoint)


@pytest.fixture(scope="module")
def beats(synthetic_root: Path, tmp_path_factory: pytest.TempPathFactory, checkpoint: EncoderCheckpoint) -> MITBIH:
    cache = tmp_path_factory.mktemp("cache")
    return MITBIH(
        name="mitbih", root=synthetic_root / "mitdb", task="binary", spec=checkpoint.encoder.spec, cache_dir=cache
    )


def both(cell: Cell, which: Any) -> tuple[NDArray[Any], NDArray[Any]]:
    """Features of the training split and of the test split."""
    space = feature_space(cell, which)
    return space.train, space.of(cell.part("test"))


def forget() -> None:
    features._space.cache_clear()
    features._standardised.cache_clear()


@pytest.fixture
def embeddings(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was embedded since; nothing is remembered from before."""
    labels: list[str] = []

    def counted(*arguments: Any) -> Any:
        labels.append(arguments[-1])
        return embed(*arguments)

    forget()
    monkeypatch.setattr(features, "embed", counted)
    return labels


# ---------------------------------------------------------------- what they are


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 40), st.integers(1, 6), st.integers(0, 999))
def test_relative_features_are_what_differs_from_the_recordings_median(n, recordings, seed):
    rng = np.random.default_rng(seed)
    x, row = rng.normal(size=(n, 3)).astype(np.float32), rng.integers(0, recordings, n)
    naive = np.stack([x[i] - np.median(x[row == row[i]], axis=0) for i in range(n)])
    np.testing.assert_allclose(relative_to_record(x, row), naive, atol=1e-6)


def test_a_beat_is_described_beside_median_window_and_rhythm(make_cell, checkpoint, beats, tmp_path):
    cell = make_cell(checkpoint, beats, tmp_path)
    found = both(cell, "pretrained")
    parts = (cell.part(split).examples for split in ("train", "test"))
    blocks = zip(*(naive_blocks(checkpoint, beats, part) for part in parts), strict=True)
    begin = 0
    for train, test in blocks:
        mean, scale = train.mean(axis=0), (train.std(axis=0) + 1e-6) * np.sqrt(train.shape[1])
        block = slice(begin, begin + train.shape[1])
        for split, expected in zip(found, (train, test), strict=True):
            np.testing.assert_allclose(split[:, block], (expected - mean) / scale, atol=2e-3)
        assert found[0][:, block].var(axis=0).sum() == pytest.approx(1, abs=0.02)
        begin = block.stop
    assert found[0].shape[1] == found[1].shape[1] == begin


def naive_blocks(checkpoint: EncoderCheckpoint, data: ECGDataModule, examples: Any) -> list[NDArray[np.floating]]:
    """One window after the other, cut out of the recording and standardised by hand."""
    T, rows = data.spec.samples, []
    for row, offset, span in zip(examples.row, examples.offset, examples.span, strict=True):
        signal = data.store.signal(row) / 1000
        inside = np.arange(max(offset, 0), min(offset + T, signal.shape[1]))
        window = np.zeros((len(data.spec.leads), T))
        window[:, inside - offset] = (signal[:, inside] - signal[:, inside].mean(axis=1, keepdims=True)) / 0.2
        with torch.no_grad():
            embedded = checkpoint.encoder.embed(torch.tensor(window[None], dtype=torch.float32))
            # Tokens beyond the recording's ends are not there at all.
            there = np.isin(np.arange(T), inside - offset).reshape(embedded.shape[1], -1).any(axis=1)
            tokens = checkpoint.encoder.encode(embedded[:, there])[0].numpy()
        edge = np.linspace(*span, BEAT_PARTS + 1)
        weight = coverage(torch.tensor(np.stack([edge[:-1], edge[1:]], axis=1)), len(there), T).numpy()[:, there]
        parts = weight / np.maximum(weight.sum(axis=1, keepdims=True), 1e-12) @ tokens
        rows.append(np.concatenate([parts.ravel(), tokens.mean(axis=0)]))
    beat, window = np.split(np.stack(rows), [BEAT_PARTS * checkpoint.encoder.dim], axis=1)
    median = np.stack([np.median(beat[examples.row == row], axis=0) for row in examples.row])
    return [beat, beat - median, window, rhythm(examples.rr[:, 0], examples.rr[:, 1], examples.row)]


def test_each_description_of_a_whole_recording_is_a_block_of_variance_one(
    make_cell, synthetic_root, checkpoint, tmp_path
):
    data = PTBXL(name="ptbxl", root=synthetic_root / "ptbxl", spec=checkpoint.encoder.spec, cache_dir=tmp_path)
    cell = make_cell(checkpoint, data, tmp_path)
    train, test = both(cell, "pretrained")
    features = 32 * WINDOW_PARTS
    assert train.shape == (len(cell.train), features) and test.shape == (len(cell.part("test")), features)
    np.testing.assert_allclose(train.mean(axis=0), 0, atol=1e-4)
    np.testing.assert_allclose(train.var(axis=0), 1 / 32, rtol=1e-3)


def test_the_random_encoder_is_the_same_every_time_and_not_the_pretrained_one(make_cell, checkpoint, beats, tmp_path):
    found = []
    for run in range(2):
        forget()
        torch.manual_seed(run)
        found.append(both(make_cell(checkpoint, beats, tmp_path / str(run)), "random")[0])
        assert torch.initial_seed() == run
    np.testing.assert_array_equal(*found)
    pretrained, _ = both(make_cell(checkpoint, beats, tmp_path), "pretrained")
    assert pretrained.shape == found[0].shape
    assert not np.allclose(pretrained, found[0], atol=0.1)


# ---------------------------------------------------------------- computed once


def test_features_are_computed_once_and_then_read(make_cell, checkpoint, beats, tmp_path, embeddings):
    first = both(make_cell(checkpoint, beats, tmp_path), "pretrained")
    assert embeddings == ["training split, pretrained encoder", "test split, pretrained encoder"]
    for step in (lambda: None, forget):
        step()
        again = both(make_cell(checkpoint, beats, tmp_path), "pretrained")
        np.testing.assert_array_equal(again[1], first[1])
    assert len(embeddings) == 2
    both(make_cell(checkpoint, beats, tmp_path), "random")
    assert len(embeddings) == 4


def slowly_computed(folder: Path, barrier: Any) -> None:
    """What each of several processes does."""

    def compute() -> NDArray[np.float32]:
        with (folder / "computed").open("a") as file:
            file.write("once\n")
        time.sleep(0.3)
        return [np.zeros((2, 1), np.float32), np.arange(4, dtype=np.float32).reshape(2, 2)]

    barrier.wait()
    features, widths = cached(folder / "features.npz", compute)
    np.save(folder / f"seen_{multiprocessing.current_process().name}.npy", np.r_[features, [[*widths, 0]]])


def test_two_processes_compute_once_between_them(tmp_path):
    context = multiprocessing.get_context("fork")
    barrier = context.Barrier(2)
    workers = [context.Process(target=slowly_computed, args=(tmp_path, barrier), name=str(i)) for i in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert [worker.exitcode for worker in workers] == [0, 0]
    assert (tmp_path / "computed").read_text() == "once\n"
    for i in range(2):
        assert np.load(tmp_path / f"seen_{i}.npy").tolist() == [[0, 0, 1], [0, 2, 3], [1, 2, 0]]


def test_what_fails_half_way_leaves_nothing_to_be_read(tmp_path):
    def fail() -> NDArray[np.float32]:
        raise RuntimeError("interrupted")

    path = tmp_path / "features" / "key.npz"
    with pytest.raises(RuntimeError, match="interrupted"):
        cached(path, fail)
    path.with_suffix(".partial.npz").write_bytes(b"half a file")
    np.testing.assert_array_equal(cached(path, lambda: [np.ones((2, 2), np.float32)]).features, 1)


# ---------------------------------------------------------------- named by what decides them


CHANGES: dict[str, Callable[[Any], Any]] = {
    "row": lambda part: replace(part, row=np.roll(part.row, 1)),
    "offset": lambda part: replace(part, offset=part.offset + 1),
    "span": lambda part: replace(part, span=part.span + np.array([0, 1])),
    "rr": lambda part: replace(part, rr=part.rr * 2),
    "fewer": lambda part: part.take(np.arange(len(part.row)) > 0),
    "window": lambda part: replace(part, span=None),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_other_windows_have_another_digest(beats, change):
    examples = beats.labelled.of("test")
    before = Part(beats, examples, "test").digest
    assert Part(beats, examples, "anything").digest == before
    assert Part(beats, change(examples), "test").digest != before


def test_another_condition_has_another_digest(beats):
    examples = beats.labelled.of("test")
    found = {Part(beats, examples, "test", Condition(name)).digest for name in ("", "noise at 6 dB", "noise at 0 dB")}
    assert len(found) == 3


def test_labels_do_not_enter_the_digest(beats):
    part = beats.labelled.of("train")
    assert Part(beats, replace(part, y=1 - part.y), "").digest == Part(beats, part, "").digest


@pytest.mark.parametrize("change", [{"standardise": "zscore"}, {"samples": 380}, {"leads": ("II", "V5")}, {"fs": 120}])
def test_another_signal_has_another_digest(synthetic_root, beats, change):
    other = MITBIH(
        name="mitbih",
        root=synthetic_root / "mitdb",
        task="binary",
        spec=replace(beats.spec, **change),
        cache_dir=beats.cache_dir,
    )
    part = beats.labelled.of("train")
    assert Part(other, part, "").digest != Part(beats, part, "").digest


def test_other_weights_are_embedded_anew(make_cell, checkpoint, beats, tmp_path, tiny_checkpoint, embeddings):
    content = torch.load(tiny_checkpoint, weights_only=True)
    content["weights"]["project.bias"][0] += 1
    torch.save(content, tmp_path / "other.pt")
    other = read_checkpoint(tmp_path / "other.pt")
    first, second = (both(make_cell(each, beats, tmp_path), "pretrained") for each in (checkpoint, other))
    assert len(embeddings) == 4
    assert not np.allclose(first[0], second[0])
