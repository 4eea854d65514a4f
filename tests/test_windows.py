"""Windows against plain slicing, and the order in which they are drawn."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

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
from ecg_lightning.signal import SignalSpec

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


def test_a_moved_batch_is_the_same_batch() -> None:
    dataset = LabelledWindows(Windows(store_of([30]), np.zeros(2, int), np.array([0, 25]), 12), None, None)
    raw = dataset[Draw(np.arange(2), np.zeros(2))]
    moved = raw.to(torch.device("meta"))
    assert isinstance(moved, RawBatch) and moved.y is None and moved.span is None
    assert {part.device.type for part in moved if part is not None} == {"meta"}
    assert moved.valid is not None


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
