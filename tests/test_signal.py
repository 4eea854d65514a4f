"""The signal's pure functions: known waves, leads by name, standardisation against a plain loop."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.signal import resample_poly

from ecg_lightning.errors import UserError
from ecg_lightning.leads import TWELVE_LEADS, canonical_lead, lead_mixtures, select_leads
from ecg_lightning.signal import (
    SignalSpec,
    resample,
    standardise,
)

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


# --- leads ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spelling", "lead"),
    [("MLII", "II"), ("mlii", "II"), ("ML2", "II"), ("MLIII", "III"), ("AVR", "aVR"), ("avf", "aVF"), (" v1 ", "V1"),
     ("i", "I"), ("aVL", "aVL"), ("V5", "V5"), ("PLETH", "PLETH"), ("V7", "V7")],
)  # fmt: skip
def test_a_lead_is_known_by_every_spelling(spelling: str, lead: str) -> None:
    assert canonical_lead(spelling) == lead


@pytest.mark.parametrize(
    ("have", "want", "source"),
    [
        (("MLII", "V1"), "II", "II"),
        (("II", "V5"), "V1", "V5"),
        (("V1", "V5"), "V2", "V1"),
        (("V1", "V4", "II"), "V6", "V4"),
        (("I", "III"), "aVF", "III"),
        (("I", "aVF"), "aVL", "I"),
        (("II", "aVL"), "aVF", "II"),
        (("V2", "V5"), "II", "V2"),
        (("III", "I"), "V3", "I"),
        (("PLETH", "V5"), "II", "V5"),
    ],
)
def test_the_nearest_recorded_lead_replicates_a_missing_one(have: tuple[str, ...], want: str, source: str) -> None:
    assert lead_mixtures(have, [want], "replicate") == {want: {source: 1.0}}


@few
@given(
    have=st.lists(st.sampled_from([*TWELVE_LEADS, "MLII", "PLETH"]), min_size=1, unique_by=canonical_lead),
    want=st.lists(st.sampled_from(TWELVE_LEADS), min_size=1, unique=True),
    missing=st.sampled_from(["replicate", "zero", "mean"]),
)
def test_recorded_leads_arrive_by_name_and_missing_ones_by_the_rule(
    have: list[str], want: list[str], missing: Any
) -> None:
    signal = np.random.default_rng(0).normal(size=(len(have), 7)).astype(np.float32)
    by_name = {canonical_lead(name): row for name, row in zip(have, signal, strict=True)}
    heart = [row for name, row in by_name.items() if name in TWELVE_LEADS]
    if not heart:
        with pytest.raises(UserError, match="no standard lead"):
            select_leads(signal, have, want, missing)
        return
    chosen = select_leads(signal, have, want, missing)
    assert chosen.shape == (len(want), 7) and chosen.dtype == np.float32
    for lead, row in zip(want, chosen, strict=True):
        if lead in by_name:
            np.testing.assert_array_equal(row, by_name[lead])
        elif missing == "replicate":
            assert any((row == recorded).all() for recorded in heart)
        else:
            np.testing.assert_allclose(row, np.zeros(7) if missing == "zero" else np.mean(heart, axis=0), atol=1e-6)


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
    ],
)
def test_a_spec_that_cannot_be_names_the_key(change: dict[str, Any], key: str) -> None:
    with pytest.raises(UserError, match=key):
        replace(SPEC, **change)
