"""From tokens to features: how a beat is read out of its window."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from ecg_lightning.data.windows import Batch
from ecg_lightning.encoders.base import Encoder
from ecg_lightning.evaluation.readout import BEAT_PARTS, coverage, read_out, split_span, width
from ecg_lightning.signal import SignalSpec


class Means(Encoder):
    """Tokens that are the means of equal shares of the window, lead by lead."""

    def __init__(self, tokens: int, samples: int) -> None:
        super().__init__(SignalSpec(100, ("II", "V1"), samples), dim=2)
        self.count = tokens

    def tokens(self, x_BLT: Tensor, valid_BT: Tensor | None = None) -> Tensor:
        return x_BLT.unflatten(-1, (self.count, -1)).mean(dim=-1).transpose(1, 2)


def windows(x_BLT: Tensor, span: Tensor | None = None, valid: Tensor | None = None) -> Batch:
    return Batch(x_BLT, torch.arange(len(x_BLT)), span=span, valid=valid)


def naive_coverage(begin: int, end: int, N: int, T: int, fine: int = 7) -> Tensor:
    """Cut every sample into equal slivers and count in which share each sliver of the span lies."""
    count = torch.zeros(N)
    for sliver in range(begin * fine * N, end * fine * N):
        count[sliver // (T * fine)] += 1
    return count / count.sum()


@settings(deadline=None, max_examples=40)
@given(st.data())
def test_coverage_counts_the_samples_that_span_and_share_have_in_common(data):
    T, N = data.draw(st.integers(4, 40)), data.draw(st.integers(1, 12))
    begin = data.draw(st.integers(0, T - 1))
    end = data.draw(st.integers(begin + 1, T))
    weight = coverage(torch.tensor([[begin, end], [0, T]]), N, T)
    torch.testing.assert_close(weight[0], naive_coverage(begin, end, N, T), atol=1e-5, rtol=0)
    torch.testing.assert_close(weight[1], torch.full((N,), 1 / N))
    torch.testing.assert_close(weight.sum(dim=1), torch.ones(2))


def test_a_beat_within_one_share_is_read_from_it_alone():
    assert coverage(torch.tensor([[21, 29]]), 10, 100)[0].tolist() == [0, 0, 1, 0, 0, 0, 0, 0, 0, 0]


def test_features_are_those_of_the_beats_parts_in_order_then_those_of_its_window():
    encoder, x_BLT = Means(tokens=60, samples=60), torch.randn(3, 2, 60)
    span = torch.tensor([[0, 8], [10, 30], [44, 60]])
    features = read_out(encoder, windows(x_BLT, span))
    beats = [x[:, begin:end].unflatten(1, (BEAT_PARTS, -1)) for x, (begin, end) in zip(x_BLT, span, strict=True)]
    parts = torch.stack([beat.mean(dim=2).T.flatten() for beat in beats])
    torch.testing.assert_close(features, torch.cat([parts, x_BLT.mean(dim=2)], dim=1))
    assert features.shape[1] == width(encoder, beats=True)


def test_the_parts_of_a_span_are_equal_and_meet():
    parts = split_span(torch.tensor([[3, 10], [0, 4]]), 4)
    torch.testing.assert_close(parts[0], torch.tensor([[3, 4.75], [4.75, 6.5], [6.5, 8.25], [8.25, 10]]))
    torch.testing.assert_close(parts[1], torch.tensor([[0.0, 1], [1, 2], [2, 3], [3, 4]]))


def test_without_a_span_the_window_is_read_as_the_encoder_pools_it_and_as_its_tokens_vary():
    encoder, x_BLT = Means(tokens=12, samples=60), torch.randn(3, 2, 60)
    features = read_out(encoder, windows(x_BLT))
    tokens = encoder.tokens(x_BLT).numpy()
    for b in range(3):
        for d in range(2):
            values = tokens[b, :, d]
            described = [values.mean(), values.std(), values.max(), values.min()]
            assert features[b, d::2].tolist() == pytest.approx(described, abs=1e-4)
    assert torch.equal(features[:, :2], encoder(x_BLT))
    assert features.shape[1] == width(encoder, beats=False)


def test_a_window_of_a_single_token_still_has_a_finite_gradient():
    x_BLT = torch.randn(2, 2, 60, requires_grad=True)
    read_out(Means(tokens=1, samples=60), windows(x_BLT)).sum().backward()
    assert x_BLT.grad.isfinite().all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_the_readout_keeps_the_encoders_precision(dtype):
    batch = windows(torch.randn(2, 2, 60, dtype=dtype), torch.tensor([[0, 9]] * 2))
    features = read_out(Means(tokens=12, samples=60), batch)
    assert features.dtype == dtype
    assert features.isfinite().all()
