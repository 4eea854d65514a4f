"""Power spectra as a classical baseline: scipy's, row by row, and of the right stretch of the signal."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from omegaconf import DictConfig

from ecg_lightning.build import build_data
from ecg_lightning.data.module import ECGDataModule
from ecg_lightning.encoders.checkpoint import read_checkpoint
from ecg_lightning.evaluation.cell import Part
from ecg_lightning.evaluation.classical import signals
from ecg_lightning.evaluation.classical.welch_features import FLOOR, Welch, welch_features
from ecg_lightning.evaluation.condition import Condition


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 99), st.sampled_from([100.0, 125.0, 360.0]), st.floats(0.3, 9))
def test_a_spectrum_is_the_mean_over_hann_segments_of_each_lead(seed: int, fs: float, seconds: float) -> None:
    x = np.random.default_rng(seed).normal(size=(2, 3, round(seconds * fs)))
    T, K = x.shape[-1], min(round(2 * fs), x.shape[-1])
    window = np.sin(np.pi * np.arange(K) / K) ** 2
    hz = np.arange(K // 2 + 1) * fs / K
    kept = (hz > 0) & (hz <= 45)
    rows = []
    for row in x:
        for lead in row:
            pieces = [lead[start : start + K] for start in range(0, T - K + 1, K - K // 2)]
            power = [np.square(np.abs(np.fft.rfft(window * (piece - piece.mean())))) for piece in pieces]
            density = np.mean(power, axis=0) * np.where((hz > 0) & (hz < fs / 2), 2, 1) / (fs * np.square(window).sum())
            rows.append(np.log10(density[kept] + FLOOR))
    features = welch_features(x.astype(np.float32), fs)
    np.testing.assert_allclose(features, np.reshape(rows, (2, -1)), atol=1e-3)
    assert features.dtype == np.float32


@pytest.mark.parametrize("hz", [0.5, 7, 44.5])
def test_a_sine_stands_in_its_bin_and_holds_its_power(hz: float) -> None:
    wave = 2 * np.sin(2 * np.pi * hz * np.arange(1000) / 100 + 1)
    features = welch_features(np.stack([0 * wave, 5 + wave])[None].astype(np.float32), 100).reshape(2, 90)
    assert (np.abs(features[0] - np.log10(FLOOR)) < 1e-6).all(), "a flat lead is finite"
    assert features[1].argmax() == round(hz / 0.5) - 1
    near = slice(max(0, round(hz / 0.5) - 3), round(hz / 0.5) + 2)
    assert (10 ** features[1, near]).sum() * 0.5 == pytest.approx(2, rel=0.2 if hz == 0.5 else 0.01)


@pytest.fixture
def part(evaluation: Callable[..., DictConfig], tiny_checkpoint: Path) -> Callable[..., Part]:
    """The test split of a synthetic set."""

    def make(*what: str, condition: Condition | None = None) -> Part:
        data = build_data(evaluation(*what).data, read_checkpoint(tiny_checkpoint).encoder.spec)
        assert isinstance(data, ECGDataModule)
        examples = data.labelled.of("test")
        return Part(data, examples, "test split", condition) if condition else Part(data, examples, "test split")

    return make


@pytest.mark.parametrize("chunk", [3, 2000])
def test_a_window_is_described_alone_whatever_the_batch(part, monkeypatch, chunk):
    monkeypatch.setattr(signals, "CHUNK", chunk)
    whole = part("ptbxl")
    (features,) = Welch().describe(whole, whole)
    store, T, (first, *_) = whole.data.store, whole.data.spec.samples, whole.examples.offset
    windows = np.stack([store.signal(row)[:, first : first + T] / 1000 for row in whole.examples.row])
    np.testing.assert_allclose(features, welch_features(windows, 100), atol=2e-3)
    assert features.shape == (len(whole), 2 * 90)


def test_a_beat_is_the_stretch_around_its_peak(part):
    beats = part("mitbih", "data.task=binary")
    (features,) = Welch().describe(beats, beats)
    store, examples = beats.data.store, beats.examples
    assert features.shape == (len(beats), 2 * 33), "45 Hz in steps of 1.33 Hz"
    for which in (0, len(beats) // 2, len(beats) - 1):
        peak = examples.offset[which] + beats.data.spec.samples // 2
        signal = np.pad(store.signal(examples.row[which]), ((0, 0), (100, 100)))[:, peak + 70 : peak + 145] / 1000
        np.testing.assert_allclose(features[which], welch_features(signal[None], 100)[0], atol=2e-3)


def test_a_beat_that_was_cut_out_is_all_there_is_of_its_window(part):
    beats = part("mitbih", "data.task=binary")
    cut = Part(beats.data, replace(beats.examples, rr=None), "test split")
    (features,) = Welch().describe(cut, cut)
    (x_BLT,) = signals.whole_windows(cut)
    assert x_BLT.shape == (len(beats), 2, beats.data.example_samples)
    np.testing.assert_array_equal(features, welch_features(x_BLT, 100))


class Tenfold(torch.nn.Module):
    def forward(self, x_BLT, valid_BT):
        return 10 * x_BLT, valid_BT


@pytest.mark.parametrize("what", [("ptbxl",), ("mitbih", "data.task=binary")])
def test_the_condition_of_a_part_is_applied(part, what):
    clean, louder = (part(*what), part(*what, condition=Condition("tenfold", Tenfold())))
    (before,), (after,) = (Welch().describe(clean, each) for each in (clean, louder))
    loud = before > -5
    np.testing.assert_allclose((after - before)[loud], 2, atol=0.01)
    assert loud.mean() > 0.3
