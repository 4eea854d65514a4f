"""What processes that train together draw, against what one process draws."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import zip_longest
from unittest import mock

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from test_windows import store_of

from ecg_lightning import processes
from ecg_lightning.data.mix import MixedBatches, MixedWindows
from ecg_lightning.data.windows import Batches, Draw, UnlabelledWindows

some = settings(max_examples=60, deadline=None)
worlds, sizes = st.integers(1, 5), st.integers(1, 9)


@contextmanager
def process(rank: int, count: int) -> Iterator[None]:
    with mock.patch.multiple(processes, rank=lambda: rank, count=lambda: count):
        yield


def drawn(make: Callable[[], Batches], world: int, epoch: int = 0) -> list[list[Draw]]:
    """What each process draws; its loader is made before the processes know of one another."""
    found = []
    for rank in range(world):
        batches = make()
        batches.set_epoch(epoch)
        with process(rank, world):
            found.append(list(batches))
            assert len(found[-1]) == len(batches)
    return found


def same(a: Draw, b: Draw) -> bool:
    return np.array_equal(a.which, b.which) and np.array_equal(a.slide, b.slide)


def joined(draws: tuple[Draw, ...]) -> Draw:
    return Draw(*(np.concatenate(parts) for parts in zip(*draws, strict=True)))


@some
@given(world=worlds, size=sizes, more=st.integers(0, 60), epoch=st.integers(0, 4), at_least=st.integers(0, 9))
def test_in_training_they_share_the_batches_of_one_process(
    world: int, size: int, more: int, epoch: int, at_least: int
) -> None:
    n = world * size + more
    ranks = drawn(lambda: Batches(n, size, True, 3, at_least), world, epoch)
    alone = drawn(lambda: Batches(n, world * size, True, 3, at_least), 1, epoch)[0]
    assert all(same(joined(turn), batch) for turn, batch in zip(zip(*ranks, strict=True), alone, strict=True))
    assert {len(draw.which) for rank in ranks for draw in rank} == {size}


@some
@given(world=worlds, size=sizes, n=st.integers(1, 20), at_least=st.integers(0, 9))
def test_of_few_examples_every_process_has_equally_many_equal_batches(
    world: int, size: int, n: int, at_least: int
) -> None:
    ranks = drawn(lambda: Batches(n, size, True, 3, at_least), world)
    assert len({len(rank) for rank in ranks}) == 1 and len(ranks[0]) >= max(1, at_least)
    assert len({len(draw.which) for rank in ranks for draw in rank}) == 1
    count = np.bincount(np.concatenate([draw.which for rank in ranks for draw in rank]), minlength=n)
    assert np.ptp(count) <= 1


@some
@given(world=worlds, size=sizes, n=st.integers(1, 60))
def test_in_validation_they_take_turns_at_the_very_batches_of_one_process(world: int, size: int, n: int) -> None:
    ranks = drawn(lambda: Batches(n, size, False), world)
    assert len({len(rank) for rank in ranks}) == 1
    turns = [draw for turn in zip(*ranks, strict=True) for draw in turn]
    alone = drawn(lambda: Batches(n, size, False), 1)[0]
    for draw, batch in zip_longest(turns, alone):
        assert same(draw, batch) if batch is not None else not len(draw.which)


@some
@given(world=worlds, size=sizes, epoch=st.integers(0, 3), members=st.lists(st.integers(9, 40), min_size=1, max_size=4))
def test_of_a_mix_they_share_the_batches_of_one_process(world: int, size: int, epoch: int, members: list[int]) -> None:
    windows, shares = np.array(members) * world, np.array(members) / sum(members)
    ranks = drawn(lambda: MixedBatches(windows, shares, size, 3, 7), world, epoch)
    alone = drawn(lambda: MixedBatches(windows, shares, world * size, 3, 7), 1, epoch)[0]
    assert all(same(joined(turn), batch) for turn, batch in zip(zip(*ranks, strict=True), alone, strict=True))


def test_a_draw_of_no_example_is_a_batch_of_none() -> None:
    windows, none = UnlabelledWindows(store_of([30, 40]), np.arange(2), 10), Draw(np.arange(0), np.zeros(0))
    for dataset in (windows, MixedWindows([windows, windows])):
        assert dataset[none].steps.shape == (0, 10, 2)
