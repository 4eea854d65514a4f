"""The signal's pure functions: known waves, real recordings, other libraries, plain loops."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import wfdb
import wfdb.processing
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.signal import butter, resample_poly, sosfiltfilt

from ecg_lightning.encoders.checkpoint import read_checkpoint, save_encoder
from ecg_lightning.encoders.vit import ViT
from ecg_lightning.errors import UserError
from ecg_lightning.signal import SignalSpec, bandpass, render, resample, standardise, window_offsets

SPEC = SignalSpec(250, ("II", "V1"), 500)
few = settings(max_examples=40, deadline=None)


def sine(frequency: float, fs: float, seconds: float = 4.0) -> np.ndarray:
    return np.sin(2 * np.pi * frequency * np.arange(round(fs * seconds)) / fs)[None]


# --- sampling rate ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("fs_from", "fs_to"), [(500, 100), (360, 100), (360, 250), (100, 240), (257, 120)])
def test_a_slow_wave_is_the_same_wave_at_another_rate(fs_from: float, fs_to: float) -> None:
    result, truth = resample(sine(5, fs_from), fs_from, fs_to), sine(5, fs_to)
    middle = slice(round(0.5 * fs_to), round(3.5 * fs_to))
    np.testing.assert_allclose(result[:, middle], truth[:, middle], atol=5e-3)


@pytest.mark.parametrize("frequency", [60, 70, 130, 190])
def test_a_wave_above_the_new_nyquist_frequency_vanishes(frequency: float) -> None:
    assert np.abs(resample(sine(frequency, 500), 500, 100)[:, 20:-20]).max() < 0.02


@pytest.mark.parametrize(("up", "down"), [(1, 5), (5, 18), (12, 5)])
def test_without_offset_and_drift_resampling_is_plain_polyphase_filtering(up: int, down: int) -> None:
    signal = np.random.default_rng(0).normal(size=(3, 700))
    signal[:, [0, -1]] = 0
    expected = resample_poly(signal, up, down, axis=-1)
    np.testing.assert_allclose(resample(signal, 100.0, 100.0 * up / down), expected, atol=1e-12)


def test_offset_and_drift_do_not_ring_at_the_edges() -> None:
    drift = (3 + 0.01 * np.arange(1000))[None]
    np.testing.assert_allclose(resample(drift, 500, 100), drift[:, ::5], atol=1e-6)


def test_at_the_same_rate_the_signal_is_handed_on_untouched() -> None:
    signal = sine(5, 100)
    assert resample(signal, 100, 100.0) is signal


@pytest.mark.realdata
@pytest.mark.parametrize("record", ["ptbxl/records500/00000/00017_hr", "mitdb/100", "mitdb/114", "mitdb/201"])
@pytest.mark.parametrize("fs_to", [100, 125, 250])
def test_a_real_recording_is_resampled_as_wfdb_does(data_root: Path, record: str, fs_to: int) -> None:
    """Wfdb goes by the Fourier transform: a sharper edge at the new Nyquist frequency, the same wave below it."""
    source = wfdb.rdrecord(str(data_root / record), sampto=10 * 360)
    ours = resample(source.p_signal.T, source.fs, fs_to)
    middle = slice(fs_to // 2, -fs_to // 2)
    low = butter(4, 30, fs=fs_to, output="sos")
    for lead, signal in enumerate(source.p_signal.T):
        theirs, _ = wfdb.processing.resample_sig(signal, source.fs, fs_to)
        a, b = ours[lead, middle], theirs[: ours.shape[1]][middle]
        assert np.corrcoef(a, b)[0, 1] > 0.995
        assert np.abs(a - b).max() < 0.03
        a, b = (sosfiltfilt(low, wave)[middle] for wave in (ours[lead], theirs[: ours.shape[1]]))
        assert np.corrcoef(a, b)[0, 1] > 0.9999
        assert np.abs(a - b).max() < 0.012


def test_several_channels_and_their_annotations_fall_where_wfdb_puts_them() -> None:
    """A sharp wave at an annotated sample is at that annotation's resampled sample."""
    beats = np.array([400, 1111, 1800, 2950])
    signal = np.zeros((2, 3600))
    for beat in beats:
        signal += np.exp(-0.5 * ((np.arange(3600) - beat) / 8) ** 2) * [[1.0], [-0.5]]
    notes = wfdb.Annotation("r", "atr", beats, ["N"] * 4)
    theirs, moved = wfdb.processing.resample_multichan(signal.T, notes, 360, 250)
    ours = resample(signal, 360, 250)
    assert ours.shape == theirs.T.shape
    np.testing.assert_allclose(ours, theirs.T, atol=0.01)
    for place in moved.sample:
        assert abs(int(np.argmax(ours[0, place - 20 : place + 20])) - 20) <= 1


@pytest.mark.realdata
def test_500_hz_recordings_come_close_to_those_published_at_100_hz(data_root: Path) -> None:
    """PTB-XL's own 100 Hz files are 1.25 ms early and have another baseline; beneath both they are ours."""
    raw, aligned, early = [], [], []
    f = np.fft.rfftfreq(1000, 0.01)
    inside = (f > 3) & (f < 30)
    for number in range(1, 101):
        stem = str(data_root / "ptbxl/records{}/00000/{:05d}_{}")
        source, published = (wfdb.rdrecord(stem.format(*what)).p_signal.T
                             for what in ((500, number, "hr"), (100, number, "lr")))  # fmt: skip
        ours = resample(source, 500, 100)
        a, b = (np.fft.rfft(sosfiltfilt(butter(3, [0.7, 35], "bandpass", fs=100, output="sos"), wave))
                for wave in (ours, published))  # fmt: skip
        cross = a * b.conj()
        for lead in range(12):
            weight = np.abs(cross[lead, inside])
            delay = -(weight * f[inside] * np.angle(cross[lead, inside])).sum() / (weight * f[inside] ** 2).sum()
            early.append(delay / (2 * np.pi))
            shifted = np.fft.irfft(a[lead] * np.exp(2j * np.pi * f * early[-1]))
            aligned.append(np.corrcoef(shifted[50:-50], np.fft.irfft(b[lead])[50:-50])[0, 1])
            raw.append(np.corrcoef(ours[lead], published[lead])[0, 1])
    assert np.median(raw) > 0.993 and min(raw) > 0.81
    assert np.median(aligned) > 0.9998 and min(aligned) > 0.97
    assert np.median(early) == pytest.approx(0.00125, abs=0.00002)
    assert np.percentile(early, [5, 95]) == pytest.approx([0.00125, 0.00125], abs=0.0001)


# --- band -------------------------------------------------------------------------------------------------------


def gain(frequency: float, fs: float, band: tuple[float, float]) -> complex:
    """What becomes of a sine in the middle of two minutes: its amplitude and phase, by projection."""
    t = np.arange(round(120 * fs)) / fs
    filtered = bandpass(np.cos(2 * np.pi * frequency * t)[None], fs, band)[0]
    middle = slice(round(40 * fs), round(80 * fs))  # whole periods of every frequency asked for
    return complex(2 * np.mean(filtered[middle] * np.exp(-2j * np.pi * frequency * t[middle])))


@pytest.mark.parametrize("fs", [250, 500])
@pytest.mark.parametrize("frequency", [0.05, 0.2, 0.5, 1, 5, 10, 20, 40, 60, 100])
def test_the_band_passes_and_stops_as_butterworths_formula_says_without_a_shift(frequency: float, fs: int) -> None:
    """Order 3, there and back: |H|^2 of the analogue filter at the frequencies that the bilinear transform warps."""
    low, high = (np.tan(np.pi * edge / fs) for edge in (0.5, 40.0))
    warped = np.tan(np.pi * frequency / fs)
    truth = 1 / (1 + ((warped**2 - low * high) / (warped * (high - low))) ** 6)
    assert gain(frequency, fs, (0.5, 40.0)) == pytest.approx(truth, abs=2e-3)
    if frequency in (5, 10):
        assert truth > 0.999
    if frequency in (0.05, 60, 100):
        assert truth < 0.1
    if frequency == 0.05:
        assert truth < 1e-5


def test_a_symmetric_wave_stays_where_it_is_and_symmetric() -> None:
    t = np.arange(-500, 501) / 100
    wave = np.exp(-0.5 * (t / 0.02) ** 2)[None]
    filtered = bandpass(wave, 100, (0.5, 40.0))[0]
    assert int(filtered.argmax()) == 500
    np.testing.assert_allclose(filtered, filtered[::-1], atol=1e-9)


@pytest.mark.parametrize("seconds", [0.05, 0.6, 1.5, 2.5, 10, 60])
@pytest.mark.parametrize("band", [(0.5, 40.0), (0.05, 45.0)])
def test_offset_and_drift_leave_nothing_behind(seconds: float, band: tuple[float, float]) -> None:
    t = np.arange(round(100 * seconds)) / 100
    level = np.stack([5 + 0 * t, -3 + 2 * t])
    assert np.abs(bandpass(level, 100, band)).max() < 1e-8
    wave = np.random.default_rng(0).normal(size=level.shape)
    np.testing.assert_allclose(bandpass(wave + level, 100, band), bandpass(wave, 100, band), atol=1e-8)


@pytest.mark.parametrize("samples", [1, 2, 3, 7])
def test_a_recording_of_a_few_samples_keeps_its_length_and_stays_finite(samples: int) -> None:
    filtered = bandpass(np.random.default_rng(0).normal(size=(2, samples)), 100, (0.5, 40.0))
    assert filtered.shape == (2, samples) and np.isfinite(filtered).all()


@pytest.mark.realdata
@pytest.mark.parametrize(("record", "lead"), [("100", 0), ("105", 0), ("203", 0), ("228", 0), ("114", 1)])
def test_an_end_inside_a_wave_is_filtered_nearly_as_if_the_recording_went_on(
    data_root: Path, record: str, lead: int
) -> None:
    """Ten seconds cut out of five minutes, against ten seconds of the five minutes filtered as a whole."""
    signal = wfdb.rdrecord(str(data_root / "mitdb" / record), sampto=360 * 300).p_signal.T[lead : lead + 1]
    whole = bandpass(signal, 360, (0.5, 40.0))
    excess = []
    for start in range(36_000, 72_000, 377):
        part = bandpass(signal[:, start : start + 3600], 360, (0.5, 40.0)) - whole[:, start : start + 3600]
        excess.append(np.abs(part).max())
        assert np.abs(part[:, 720:-720]).max() < 0.05  # what is two seconds from an end does not see it
    assert np.median(excess) < 0.05 * np.ptp(whole)
    assert max(excess) < 0.35 * np.ptp(whole)


def test_without_a_band_the_signal_is_handed_on_untouched() -> None:
    signal = sine(5, 100)
    assert bandpass(signal, 100, None) is signal
    assert bandpass(signal.astype(np.float32), 100, (0.5, 40.0)).dtype == np.float32


# --- the whole way ----------------------------------------------------------------------------------------------


def test_a_recording_is_rendered_lead_by_lead_then_rate_then_band() -> None:
    spec = SignalSpec(100, ("II", "III", "V1"), 400, missing="derive", band=(0.5, 40.0))
    signal = np.random.default_rng(0).normal(size=(3, 1803))
    rendered = render(signal, ("MLII", "i", "V2"), 360, spec)
    leads = np.stack([signal[0], signal[0] - signal[1], signal[2]])
    expected = bandpass(resample_poly(leads, 5, 18, axis=-1, padtype="line"), 100, (0.5, 40.0))
    np.testing.assert_allclose(rendered, expected, atol=1e-12)
    assert rendered.shape == (3, -(-1803 * 5 // 18))


def test_what_agrees_with_the_spec_is_rendered_to_itself() -> None:
    signal = np.random.default_rng(0).normal(size=(2, 300)).astype(np.float32)
    rendered = render(signal, ("V1", "MLII"), 250, SPEC)
    assert rendered.dtype == np.float32
    np.testing.assert_array_equal(rendered, signal[::-1])


# --- where windows lie ------------------------------------------------------------------------------------------


@settings(max_examples=200, deadline=None)
@given(st.integers(1, 5000), st.integers(1, 700))
def test_windows_cover_a_recording_from_its_beginning_to_its_end(length: int, samples: int) -> None:
    offsets = window_offsets(length, samples, "windows")
    assert offsets.dtype == np.int64
    if length <= samples:
        assert offsets.tolist() == [math.floor((length - samples) / 2)]
        return
    assert (offsets[0], offsets[-1], len(offsets)) == (0, length - samples, math.ceil(length / samples))
    seen = np.zeros(length, int)
    for offset in offsets:
        seen[offset : offset + samples] += 1
    assert seen.min() >= 1
    assert np.ptp(np.diff(offsets)) <= 1 if len(offsets) > 1 else True


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 3000), st.integers(1, 700))
def test_a_crop_is_the_middle_and_what_is_too_short_lies_in_the_middle_of_its_window(length: int, samples: int) -> None:
    (offset,) = window_offsets(length, samples, "crop")
    before, after = offset, length - samples - offset  # samples left out at each end; negative: padding
    assert abs(before - after) <= 1
    assert (before >= 0 and after >= 0) if length >= samples else (before <= 0 and after <= 0)


# --- standardisation --------------------------------------------------------------------------------------------


@few
@given(
    seed=st.integers(0, 1000),
    batch=st.integers(1, 3),
    leads=st.integers(1, 3),
    how=st.sampled_from(["scale", "zscore"]),
)
def test_standardised_windows_agree_with_a_loop_over_leads(seed: int, batch: int, leads: int, how: Any) -> None:
    rng = np.random.default_rng(seed)
    valid = rng.random((batch, 40)) < 0.7
    x = (rng.normal(3, 2, size=(batch, leads, 40)) * valid[:, None]).astype(np.float32)
    result = standardise(torch.from_numpy(x), how, torch.from_numpy(valid)).numpy()
    for b in range(batch):
        for lead in range(leads):
            inside = x[b, lead, valid[b]].astype(np.float64)
            spread = 0.2 if how == "scale" else inside.std()
            np.testing.assert_allclose(result[b, lead, valid[b]], (inside - inside.mean()) / spread, atol=1e-4)
            assert not result[b, lead, ~valid[b]].any()


@pytest.mark.parametrize("how", ["scale", "zscore"])
def test_a_window_without_an_edge_needs_no_mask_and_a_flat_lead_becomes_zero(how: Any) -> None:
    x = torch.randn(4, 2, 100, generator=torch.Generator().manual_seed(0))
    x[:, 1] = 5.0
    result = standardise(x, how)
    torch.testing.assert_close(result, standardise(x, how, torch.ones(4, 100, dtype=torch.bool)))
    assert not result[:, 1].any()


def test_without_standardisation_millivolts_stay_millivolts() -> None:
    x = torch.randn(2, 3, 10)
    torch.testing.assert_close(standardise(x, "none"), x, rtol=0, atol=0)


# --- the spec ---------------------------------------------------------------------------------------------------


def test_a_spec_survives_json() -> None:
    spec = SignalSpec.of_seconds(360, ["mlii", "V1"], 2.5, missing="zero", standardise="zscore")
    assert (spec.samples, spec.seconds, spec.leads) == (900, 2.5, ("II", "V1"))
    assert SignalSpec.from_dict(json.loads(json.dumps(spec.to_dict()))) == spec


@pytest.mark.parametrize("band", [None, (0.5, 40.0), [0.05, 150]])
def test_a_band_survives_json_and_the_encoders_file(tmp_path: Path, band: Any) -> None:
    spec = SignalSpec.of_seconds(360, ["MLII"], 2.5, band=band, missing="derive")
    assert spec.band == (None if band is None else tuple(map(float, band)))
    assert SignalSpec.from_dict(json.loads(json.dumps(spec.to_dict()))) == spec
    assert hash(spec) == hash(replace(spec))
    size = {"dim": 8, "depth": 1, "heads": 2, "patch_seconds": 0.25}
    config = {"_target_": "ecg_lightning.encoders.vit.ViT", **size}
    save_encoder(tmp_path / "encoder.pt", ViT(spec, **size), config, {})
    assert read_checkpoint(tmp_path / "encoder.pt").encoder.spec == spec


def test_an_encoder_from_before_there_was_a_band_filters_nothing(tiny_checkpoint: Path, tmp_path: Path) -> None:
    content = torch.load(tiny_checkpoint, weights_only=True)
    del content["spec"]["band"]
    torch.save(content, tmp_path / "old.pt")
    old, new = (read_checkpoint(path).encoder for path in (tmp_path / "old.pt", tiny_checkpoint))
    assert old.spec == new.spec and old.spec.band is None
    x = torch.randn(2, 2, 400)
    assert torch.equal(old(x), new(x))


@pytest.mark.parametrize(
    ("change", "key"),
    [
        ({"fs": 0}, "spec.fs"),
        ({"fs": float("nan")}, "spec.fs"),
        ({"samples": 0}, "spec.samples"),
        ({"leads": ()}, "spec.leads"),
        ({"leads": ("II", "V9")}, "V9"),
        ({"leads": ("II", "MLII")}, "twice"),
        ({"missing": "guess"}, "spec.missing"),
        ({"standardise": "minmax"}, "spec.standardise"),
        *(({"band": band}, r"spec\.band=.*below 125")
          for band in ((0, 40), (40, 0.5), (0.5, 125), (0.5, float("nan")), (0.5,), (1, 2, 3), "0.5-40", 40, (-1, 5))),
    ],
)  # fmt: skip
def test_a_spec_that_cannot_be_names_the_key(change: dict[str, Any], key: str) -> None:
    with pytest.raises(UserError, match=key):
        replace(SPEC, **change)
