"""The transformations to be recognised, against versions for one window without its padding, written in numpy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor

from ecg_lightning.augment.base import Augmentation
from ecg_lightning.augment.retiming import Permutation, PiecewiseTimeWarp, Stretch
from ecg_lightning.augment.transformations import NoiseAtSNR, Scaling, TimeReversal, Unchanged
from ecg_lightning.errors import UserError

Signal = NDArray[np.float64]
"""(L, n): a recording without its padding."""


def noise(x: Signal, drawn: Any, where: slice, snr_db: float) -> Signal:
    sigma = [np.std(lead) / 10 ** (snr_db / 20) for lead in x]
    return x + np.array(sigma)[:, None] * drawn["noise"][:, where]


def stretch(x: Signal, factor: float, room: int) -> Signal:
    n = x.shape[1]
    length = min(max(1, int(n * factor)), room)
    return np.stack([np.interp(np.arange(length) / factor, np.arange(n), lead) for lead in x])


def permute(x: Signal, order: list[int]) -> Signal:
    n, P = x.shape[1], len(order)
    pieces = [x[:, i * n // P : (i + 1) * n // P] for i in range(P)]
    return np.concatenate([pieces[i] for i in order], axis=1)


def warp(x: Signal, slower: list[bool], factor: float) -> Signal:
    n, P = x.shape[1], len(slower)
    lengths = np.array([factor if slow else 1 / factor for slow in slower])
    edges = np.concatenate([[0], np.cumsum(lengths)]) / lengths.sum()
    source = np.interp(np.arange(n) / max(1, n - 1), edges, np.arange(P + 1) / P) * (n - 1)
    return np.stack([np.interp(source, np.arange(n), lead) for lead in x])


Naive = Callable[[Signal, Any, slice, int], Signal]
"""Recording, numbers drawn for its window, where it lies in it, and samples from its beginning to the window's end."""

CASES: dict[str, tuple[Augmentation, Naive]] = {
    "none": (Unchanged(), lambda x, drawn, where, room: x),
    "negation": (Scaling(-1.0), lambda x, drawn, where, room: -x),
    "scaling": (Scaling(0.1), lambda x, drawn, where, room: x / 10),
    "reversal": (TimeReversal(), lambda x, drawn, where, room: x[:, ::-1]),
    "noise": (NoiseAtSNR(15.0), lambda x, drawn, where, room: noise(x, drawn, where, 15)),
    "shuffling": (Permutation(4), lambda x, drawn, where, room: permute(x, drawn["order"].tolist())),
    "many pieces": (Permutation(20), lambda x, drawn, where, room: permute(x, drawn["order"].tolist())),
    "stretch": (Stretch(2.0), lambda x, drawn, where, room: stretch(x, 2, room)),
    "squeeze": (Stretch(0.5), lambda x, drawn, where, room: stretch(x, 0.5, room)),
    "warp": (PiecewiseTimeWarp(9, 1.05), lambda x, drawn, where, room: warp(x, drawn["slower"].tolist(), 1.05)),
}


def windows(extents: list[tuple[int, int]], T: int, seed: int) -> tuple[Tensor, Tensor]:
    t = torch.arange(T)
    valid = torch.stack([(t >= begin) & (t < end) for begin, end in extents])
    x = torch.randn(len(extents), 2, T, generator=torch.Generator().manual_seed(seed))
    return x * valid[:, None], valid


@pytest.mark.parametrize("name", CASES)
@settings(deadline=None, max_examples=30)
@given(st.data())
def test_a_batch_is_changed_as_each_window_would_be_without_its_padding(name: str, data: st.DataObject) -> None:
    augmentation, naive = CASES[name]
    T = data.draw(st.integers(4, 60))
    ends = data.draw(st.lists(st.lists(st.integers(0, T), min_size=2, max_size=2, unique=True), min_size=1, max_size=4))
    extents = [(min(pair), max(pair)) for pair in ends]
    whole = data.draw(st.booleans())
    x, valid = windows([(0, T)] * len(ends) if whole else extents, T, data.draw(st.integers(0, 99)))
    given_valid = None if whole else valid
    before = x.clone()
    torch.manual_seed(0)
    drawn = augmentation.draw(x, given_valid)
    changed, inside = augmentation.change(x, drawn, given_valid)
    assert torch.equal(x, before), "not in place"
    if inside is None:
        assert whole
        inside = valid
    for b, (begin, end) in enumerate([(0, T)] * len(ends) if whole else extents):
        own = {key: value[b].numpy() for key, value in drawn.items()}
        recording = x[b, :, begin:end].double().numpy()
        expected = naive(recording, own, slice(begin, end), T - begin)
        padded = np.zeros((2, T))
        padded[:, begin : begin + expected.shape[1]] = expected
        np.testing.assert_allclose(changed[b].numpy(), padded, atol=2e-4)
        assert inside[b].tolist() == [begin <= t < begin + expected.shape[1] for t in range(T)]


def test_a_negation_or_a_reversal_twice_is_none() -> None:
    x, valid = windows([(0, 50), (7, 31)], 50, 0)
    for augmentation in (Scaling(-1.0), TimeReversal()):
        once, _ = augmentation(x, valid)
        assert not torch.equal(once, x)
        assert torch.equal(augmentation(once, valid)[0], x)


def test_stretching_keeps_the_samples_and_squeezing_takes_them_back() -> None:
    x, valid = windows([(0, 20), (3, 23)], 60, 0)
    long, of_long = Stretch(2.0)(x, valid)
    assert of_long.sum(dim=1).tolist() == [40, 40]
    torch.testing.assert_close(long[0, :, 0:40:2], x[0, :, :20], atol=1e-4, rtol=0)
    back, of_back = Stretch(0.5)(long, of_long)
    assert torch.equal(of_back, valid)
    torch.testing.assert_close(back, x, atol=1e-4, rtol=0)


@pytest.mark.parametrize("pieces", [2, 3, 20])
def test_every_order_is_drawn_but_the_one_as_it_was(pieces: int) -> None:
    torch.manual_seed(0)
    order = Permutation(pieces).draw(torch.zeros(500, 1, 40))["order"]
    assert (order.sort(dim=1).values == torch.arange(pieces)).all()
    drawn = {tuple(row) for row in order.tolist()}
    assert tuple(range(pieces)) not in drawn
    assert len(drawn) == {2: 1, 3: 5, 20: 500}[pieces]


def test_noise_has_the_power_that_its_name_says() -> None:
    torch.manual_seed(0)
    x, valid = windows([(0, 20_000), (5_000, 15_000)], 20_000, 0)
    x = (x + 3 * valid[:, None]) * torch.tensor([[[1.0], [7.0]]])
    noisy, _ = NoiseAtSNR(15.0)(x, valid)
    for b, (begin, end) in enumerate([(0, 20_000), (5_000, 15_000)]):
        lead, added = x[b, :, begin:end], (noisy - x)[b, :, begin:end]
        snr_db = 10 * (lead.var(dim=1) / added.var(dim=1)).log10()
        torch.testing.assert_close(snr_db, torch.tensor([15.0, 15.0]), atol=0.2, rtol=0)


def test_half_of_the_pieces_of_a_warp_run_slower() -> None:
    torch.manual_seed(0)
    slower = PiecewiseTimeWarp(9, 1.05).draw(torch.zeros(100, 1, 40))["slower"]
    assert slower.sum(dim=1).tolist() == [5] * 100 and len(set(map(tuple, slower.tolist()))) > 50


def test_what_transforms_nothing_is_refused_in_words() -> None:
    for make, words in (
        (lambda: Permutation(1), "Permutation: pieces=1 must be at least 2"),
        (lambda: PiecewiseTimeWarp(1, 1.05), "PiecewiseTimeWarp: pieces=1 must be at least 2"),
        (lambda: PiecewiseTimeWarp(9, 1.0), r"PiecewiseTimeWarp: factor=1\.0 must be above 1"),
        (lambda: Stretch(0.0), r"Stretch: factor=0\.0 must be above 0"),
        (lambda: Scaling(0.0), "Scaling: factor=0 leaves no signal"),
    ):
        with pytest.raises(UserError, match=words):
            make()
