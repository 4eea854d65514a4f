"""Windows against plain slicing and against signals rendered by hand, and the order in which they are drawn."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import wfdb
from hypothesis import given, settings
from hypothesis import strategies as st

from ecg_lightning.data.mitbih import MITBIH
from ecg_lightning.data.module import ECGDataModule
from ecg_lightning.data.ptbxl import PTBXL
from ecg_lightning.data.store import Store
from ecg_lightning.data.windows import (
    Batches,
    Draw,
    LabelledWindows,
    RawBatch,
    UnlabelledWindows,
    Windows,
    to_signal,
)
from ecg_lightning.errors import UserError
from ecg_lightning.signal import SignalSpec, render, standardise, window_offsets

some = settings(max_examples=50, deadline=None)
lengths = st.lists(st.integers(1, 70), min_size=1, max_size=5)


def store_of(lengths: list[int], leads: int = 2) -> Store:
    """Recordings of these lengths; no sample is 0 and no two are the same."""
    length = np.array(lengths)
    signals = np.arange(1, leads * length.sum() + 1, dtype=np.int16).reshape(-1, leads)
    names = np.array([f"r{i}" for i in range(len(length))])
    return Store(Path("none"), signals, np.cumsum(length) - length, length, 100.0, np.full(len(length), 100.0),
                 ("II", "V1")[:leads], names, names, np.full(len(length), -1, np.int16), names, {}, {})  # fmt: skip


# --- fetching ---------------------------------------------------------------------------------------------------


@some
@given(lengths=lengths, samples=st.integers(1, 40), data=st.data(), elsewhere=st.booleans())
def test_windows_are_slices_of_their_own_recording_and_zero_beyond_it(
    lengths: list[int], samples: int, data: st.DataObject, elsewhere: bool
) -> None:
    store = store_of(lengths)
    place = st.tuples(st.integers(0, len(lengths) - 1), st.integers(-60, 90))
    row, offset = np.array(data.draw(st.lists(place, min_size=1, max_size=8))).T
    index = np.array(data.draw(st.lists(st.integers(0, len(row) - 1), min_size=1, max_size=10)))
    signals = torch.from_numpy(store.signals) if elsewhere else None
    steps, scale, valid = Windows(store, row, offset, samples).gather(index, signals)
    assert steps.shape == (len(index), samples, 2) and steps.dtype == torch.int16
    assert scale.tolist() == [1000.0] * len(index)
    inside_BT = torch.ones(len(index), samples, dtype=torch.bool) if valid is None else valid
    for b, i in enumerate(index):
        recording = store.signals[store.start[row[i]] :][: store.length[row[i]]]
        for t in range(samples):
            inside = 0 <= offset[i] + t < len(recording)
            assert bool(inside_BT[b, t]) == inside
            assert steps[b, t].tolist() == (recording[offset[i] + t].tolist() if inside else [0, 0])


def test_a_batch_becomes_standardised_millivolts_with_its_labels() -> None:
    store = store_of([50, 80])
    windows = Windows(store, np.array([0, 1, 1]), np.array([45, 3, -9]), 10)
    y = np.array([[0, 1], [1, 1], [1, 0]], np.uint8)
    dataset = LabelledWindows(windows, y, np.array([[0, 5], [2, 3], [1, 9]]))
    raw = dataset[Draw(np.array([2, 0]), np.zeros(2))]
    batch = to_signal(raw, SignalSpec(100, ("II", "V1"), 10, standardise="scale"))
    assert batch.x.dtype == torch.float32 and batch.x.shape == (2, 2, 10)
    for x, (recording, begin, end, place) in zip(batch.x, [(1, 0, 1, 9), (0, 45, 50, 0)], strict=True):
        millivolts = store.signal(recording)[:, begin:end] / 1000.0
        expected = np.zeros((2, 10))
        expected[:, place : place + end - begin] = (millivolts - millivolts.mean(axis=1, keepdims=True)) / 0.2
        np.testing.assert_allclose(x.numpy(), expected, atol=1e-5)
    assert (batch.which.tolist(), batch.y.tolist(), batch.span.tolist()) == ([2, 0], [[1, 0], [0, 1]], [[1, 9], [0, 5]])


@pytest.mark.parametrize("offset", [-12, 30, 500])
def test_a_label_outside_its_recording_is_refused_by_the_recordings_name(offset: int) -> None:
    store = store_of([50, 30])
    for inside in (-11, 29):
        LabelledWindows(Windows(store, np.array([0, 1]), np.array([0, inside]), 12), None, None)
    with pytest.raises(UserError, match=r"recording r1: a label lies outside its 30 samples"):
        LabelledWindows(Windows(store, np.array([0, 1]), np.array([0, offset]), 12), None, None)


def test_a_moved_batch_is_the_same_batch() -> None:
    dataset = LabelledWindows(Windows(store_of([30]), np.zeros(2, int), np.array([0, 25]), 12), None, None)
    raw = dataset[Draw(np.arange(2), np.zeros(2))]
    moved = raw.to(torch.device("meta"))
    assert isinstance(moved, RawBatch) and moved.y is None and moved.span is None
    assert {part.device.type for part in moved if part is not None} == {"meta"}
    assert moved.valid is not None


@some
@given(lengths=lengths, scale=st.sampled_from([1000.0, 30000.0, 200.0]), shift=st.integers(-9, 0))
def test_a_stores_own_scale_turns_steps_into_units(lengths: list[int], scale: float, shift: int) -> None:
    """Recordings without a physical unit have another number of steps in one unit."""
    store = replace(store_of(lengths), scale=scale)
    windows = Windows(store, np.arange(len(store)), np.full(len(store), shift), 12)
    batch = to_signal(
        LabelledWindows(windows, None, None)[Draw(np.arange(len(store)), np.zeros(len(store)))],
        SignalSpec(100, ("II", "V1"), 12, standardise="none"),
    )
    steps, _, _ = windows.gather(np.arange(len(store)))
    np.testing.assert_allclose(batch.x.numpy(), steps.numpy().transpose(0, 2, 1) / scale, rtol=1e-6)


# --- one way to the encoder: training, evaluation and by hand ---------------------------------------------------


LONG = SignalSpec(120, ("II", "III", "V1", "V6"), 300, missing="derive", band=(0.5, 40.0), standardise="zscore")
BEAT = SignalSpec(100, ("V1", "II", "V5"), 250, missing="replicate", standardise="scale")


@pytest.fixture(scope="module", params=["records", "beats"])
def data(request: pytest.FixtureRequest, synthetic_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    cache = tmp_path_factory.mktemp("cache")
    if request.param == "beats":
        return MITBIH(name="beats", root=synthetic_root / "mitdb", spec=BEAT, cache_dir=cache, batch_size=16)
    return PTBXL(name="records", root=synthetic_root / "ptbxl", spec=LONG, cache_dir=cache, batch_size=16,
                 long_records="windows")  # fmt: skip


def by_hand(data: ECGDataModule, row: int) -> torch.Tensor:
    """A recording as wfdb reads it, rendered: (L, T) mV."""
    files = {file.record_id: file for file in data.records()}
    record = wfdb.rdrecord(str(files[data.store.record_id[row]].paths()[0].with_suffix("")))
    return torch.from_numpy(render(record.p_signal.T, record.sig_name, record.fs, data.spec)).float()


def window_by_hand(signal: torch.Tensor, offset: int, spec: SignalSpec) -> torch.Tensor:
    """(L, T) as the encoder wants it: cut, standardised over what is there, 0 elsewhere."""
    inside = torch.arange(max(offset, 0), min(offset + spec.samples, signal.shape[1]))
    window = torch.zeros(len(signal), spec.samples)
    window[:, inside - offset] = standardise(signal[None, :, inside], spec.standardise)[0]
    return window


def test_a_labelled_window_is_the_recording_rendered_cut_and_standardised_by_hand(data: ECGDataModule) -> None:
    examples = data.labelled
    chosen = np.unique(np.r_[np.arange(0, len(examples.row), 7), 0, len(examples.row) - 1])  # at the ends too
    dataset = data.windows(examples)
    for which in chosen:
        batch = to_signal(dataset[Draw(np.array([which]), np.zeros(1))], data.spec)
        signal, offset = by_hand(data, examples.row[which]), int(examples.offset[which])
        if data.name == "records":
            assert offset in window_offsets(signal.shape[1], data.spec.samples, "windows")
        expected = window_by_hand(signal, offset, data.spec)
        # Half a microvolt of rounding, in units of 0.2 mV or of a lead's own spread.
        torch.testing.assert_close(batch.x[0], expected, rtol=0, atol=0.02)
        assert (batch.x[0] - expected).abs().mean() < 0.005


def test_windows_of_pretraining_are_cut_from_the_same_rendering(data: ECGDataModule) -> None:
    loader = data.train_dataloader()
    raw = next(iter(loader))
    batch = data.on_after_batch_transfer(raw, 0)
    dataset = loader.dataset
    assert isinstance(dataset, UnlabelledWindows) and len(batch.x) == 16
    for x, which in zip(batch.x, batch.which.tolist(), strict=True):
        signal = by_hand(data, dataset.row[which])
        candidates = standardise(signal.unfold(1, data.spec.samples, 1).transpose(0, 1), data.spec.standardise)
        nearest = (candidates - x).abs().amax(dim=(1, 2)).min()
        assert nearest < 0.02


# --- crops of pretraining ---------------------------------------------------------------------------------------


def positions(dataset: UnlabelledWindows, slide: float) -> list[np.ndarray]:
    """Where in the store the valid samples of each window lie."""
    n = len(dataset)
    batch = dataset[Draw(np.arange(n), np.full(n, slide))]
    valid = torch.ones(batch.steps.shape[:2], dtype=torch.bool) if batch.valid is None else batch.valid
    return [(window[inside, 0].numpy().astype(int) - 1) // 2 for window, inside in zip(batch.steps, valid, strict=True)]


@some
@given(lengths=lengths, samples=st.integers(1, 30), slide=st.floats(0, 1, exclude_max=True), data=st.data())
def test_crops_lie_whole_inside_the_chosen_recordings(
    lengths: list[int], samples: int, slide: float, data: st.DataObject
) -> None:
    store = store_of(lengths)
    rows = np.array(sorted(data.draw(st.sets(st.integers(0, len(lengths) - 1), min_size=1))))
    dataset = UnlabelledWindows(store, rows, samples)
    crops = positions(dataset, slide)
    assert len(crops) == sum(max(1, lengths[row] // samples) for row in rows)
    owner = np.repeat(rows, [max(1, lengths[row] // samples) for row in rows])
    for row, crop in zip(owner, crops, strict=True):
        assert len(crop) == min(samples, lengths[row])
        assert store.start[row] <= crop.min() and crop.max() < store.start[row] + lengths[row]


@some
@given(lengths=lengths, samples=st.integers(1, 30))
def test_sliding_crops_reach_every_sample_of_their_recordings(lengths: list[int], samples: int) -> None:
    dataset = UnlabelledWindows(store_of(lengths), np.arange(len(lengths)), samples)
    reached = np.concatenate([crop for slide in np.linspace(0, 0.999999, 25) for crop in positions(dataset, slide)])
    assert set(reached) == set(range(sum(lengths)))


# --- order ------------------------------------------------------------------------------------------------------


def drawn(n: int, batch_size: int, shuffle: bool, seed: int = 0, epoch: int = 0) -> list[Draw]:
    batches = Batches(n, batch_size, shuffle, seed)
    batches.set_epoch(epoch)
    assert len(list(batches)) == len(batches)
    return list(batches)


@some
@given(n=st.integers(1, 60), batch_size=st.integers(1, 20), epoch=st.integers(0, 5))
def test_an_epoch_draws_each_example_once_in_whole_batches(n: int, batch_size: int, epoch: int) -> None:
    draws = drawn(n, batch_size, shuffle=True, epoch=epoch)
    which = np.concatenate([draw.which for draw in draws])
    assert len(set(which)) == len(which) and set(which) <= set(range(n))
    assert [len(draw.which) for draw in draws] == ([batch_size] * (n // batch_size) or [n])
    assert all(((draw.slide >= 0) & (draw.slide < 1)).all() for draw in draws)


@some
@given(n=st.integers(1, 60), batch_size=st.integers(1, 20), at_least=st.integers(1, 30))
def test_a_small_set_is_gone_through_evenly_to_make_an_epoch(n: int, batch_size: int, at_least: int) -> None:
    draws = list(Batches(n, batch_size, shuffle=True, at_least=at_least))
    assert len(draws) >= at_least and {len(draw.which) for draw in draws} == {min(batch_size, n)}
    count = np.bincount(np.concatenate([draw.which for draw in draws]), minlength=n)
    assert np.ptp(count) <= 1


@some
@given(n=st.integers(1, 60), batch_size=st.integers(1, 20))
def test_validation_sees_every_example_in_order_and_in_the_same_place(n: int, batch_size: int) -> None:
    draws = drawn(n, batch_size, shuffle=False)
    assert np.concatenate([draw.which for draw in draws]).tolist() == list(range(n))
    assert {float(slide) for draw in draws for slide in draw.slide} == {0.5}


@pytest.mark.parametrize(("change", "same"), [({}, True), ({"epoch": 4}, False), ({"seed": 2}, False)])
def test_the_order_follows_from_seed_and_epoch_alone(change: dict[str, int], same: bool) -> None:
    once = drawn(100, 10, shuffle=True, **{"seed": 1, "epoch": 3})
    again = drawn(100, 10, shuffle=True, **{"seed": 1, "epoch": 3, **change})
    assert same == all(
        (a.which == b.which).all() and (a.slide == b.slide).all() for a, b in zip(once, again, strict=True)
    )
