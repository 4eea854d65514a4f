"""From tokens to features: how a beat is read out of its window."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from ecg_lightning.data.windows import Batch
from ecg_lightning.encoders.base import Encoder
from ecg_lightning.encoders.vit import ViT
from ecg_lightning.readout import BEAT_PARTS, coverage, read_out, split_span, width
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


# --- padding


def naive_features(x_LT: Tensor, span: Tensor | None, valid: Tensor, N: int) -> list[float]:
    """Of `Means`, with the tokens that lie outside the recording really taken away."""
    size = x_LT.shape[1] // N
    there = [n for n in range(N) if valid[n * size : (n + 1) * size].any()]
    tokens = np.array([x_LT[:, n * size : (n + 1) * size].numpy().mean(axis=1) for n in there])
    window = tokens.mean(axis=0)
    if span is None:
        return np.concatenate([window, tokens.std(axis=0), tokens.max(axis=0), tokens.min(axis=0)]).tolist()
    begin, end = span.tolist()
    edges = np.linspace(begin, end, BEAT_PARTS + 1)
    parts = []
    for low, high in itertools.pairwise(edges):
        weight = np.array([max(0.0, min(high, (n + 1) * size) - max(low, n * size)) for n in there])
        parts.append(weight @ tokens / weight.sum() if weight.sum() > 1e-9 else np.zeros(2))
    return np.concatenate([*parts, window]).tolist()


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_what_lies_outside_the_recording_is_left_out_of_all_features(data):
    N = data.draw(st.integers(2, 12))
    T = 5 * N
    generator = torch.Generator().manual_seed(data.draw(st.integers(0, 99)))
    x_BLT, valid = torch.randn(3, 2, T, generator=generator), torch.zeros(3, T, dtype=torch.bool)
    for b in range(3):
        begin = data.draw(st.integers(0, T - 1))
        valid[b, begin : data.draw(st.integers(begin + 1, T))] = True
    spans = [sorted(data.draw(st.lists(st.integers(0, T), min_size=2, max_size=2, unique=True))) for _ in range(3)]
    for span in (None, torch.tensor(spans)):
        features = read_out(Means(N, T), windows(x_BLT, span, valid))
        for b in range(3):
            expected = naive_features(x_BLT[b], None if span is None else span[b], valid[b], N)
            assert features[b].tolist() == pytest.approx(expected, abs=2e-3), (b, span)


@pytest.mark.parametrize("beats", [False, True])
def test_a_mask_that_is_true_everywhere_changes_nothing(beats):
    encoder, x_BLT = Means(tokens=12, samples=60), torch.randn(3, 2, 60)
    span = torch.tensor([[3, 25]] * 3) if beats else None
    masked = read_out(encoder, windows(x_BLT, span, torch.ones(3, 60, dtype=torch.bool)))
    torch.testing.assert_close(masked, read_out(encoder, windows(x_BLT, span)))


@pytest.mark.parametrize("beats", [False, True])
@pytest.mark.parametrize("samples", [1, 20, 55, 93])
@torch.no_grad()
def test_a_beat_reads_the_same_however_long_the_window_that_it_is_padded_to(beats, samples):
    torch.manual_seed(0)
    encoder = ViT(SignalSpec(100, ("II", "V1"), 100), 16, depth=2, heads=2, patch_seconds=0.1).eval()
    beat = torch.randn(2, 2, samples)
    span = torch.tensor([[0, samples]] * 2) if beats else None
    found = []
    for T in (100, 140, 300):
        for beyond in (0.0, 9.0):
            x = torch.full((2, 2, T), beyond)
            x[..., :samples] = beat
            whole = -(-samples // 10) * 10
            x[..., samples:whole] = 0  # the end of the last patch that the beat reaches
            found.append(read_out(encoder, windows(x, span, (torch.arange(T) < samples).expand(2, T))))
    for other in found[1:]:
        torch.testing.assert_close(other, found[0], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("beats", [False, True])
def test_gradients_of_windows_with_one_or_two_valid_tokens_are_finite(beats):
    torch.manual_seed(0)
    encoder = ViT(SignalSpec(100, ("II", "V1"), 100), 16, depth=2, heads=2, patch_seconds=0.1)
    valid = torch.zeros(3, 100, dtype=torch.bool)
    valid[0, :4], valid[1, 30:50], valid[2, 99] = True, True, True
    x = (torch.randn(3, 2, 100) * valid[:, None]).requires_grad_()
    span = torch.tensor([[0, 40], [20, 60], [0, 100]]) if beats else None
    features = read_out(encoder, windows(x, span, valid))
    features.square().sum().backward()
    assert features.isfinite().all() and x.grad.isfinite().all()
    assert all(p.grad is None or p.grad.isfinite().all() for p in encoder.parameters())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_the_readout_keeps_the_encoders_precision(dtype):
    batch = windows(torch.randn(2, 2, 60, dtype=dtype), torch.tensor([[0, 9]] * 2))
    features = read_out(Means(tokens=12, samples=60), batch)
    assert features.dtype == dtype
    assert features.isfinite().all()
