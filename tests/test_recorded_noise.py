"""Recorded noise: the ratio is exactly the stated one, and files that will not do are told by name."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from augment_cases import spec, windows
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from ecg_lightning.augment.base import View
from ecg_lightning.augment.recorded import RecordedNoise
from ecg_lightning.data.synthetic.format16 import write_record
from ecg_lightning.data.wfdb_files import WFDBFile
from ecg_lightning.errors import UserError
from ecg_lightning.leads import TWELVE_LEADS
from ecg_lightning.signal import SignalSpec, resample


@pytest.fixture(scope="module")
def noise(noise_root: Path) -> Any:
    """Recorded noise for windows at 100 Hz, by the range of its ratio."""
    mixed = RecordedNoise(noise_root / "nstdb")
    mixed.prepare(SignalSpec(100, TWELVE_LEADS, 80))

    def within(low: float, high: float) -> RecordedNoise:
        mixed.snr = (low, high)
        return mixed

    return within


def ratio(x: Tensor, changed: Tensor, valid: Tensor | None, b: int) -> float:
    """In dB, of one window, from the definition."""
    inside = np.ones(x.shape[-1], bool) if valid is None else valid[b].numpy()
    signal, mixed = (each[b].double().numpy()[:, inside] for each in (x, changed))
    return float(10 * np.log10(np.mean(np.var(signal, axis=1)) / np.mean(np.var(mixed - signal, axis=1))))


@settings(deadline=None, max_examples=40)
@given(
    B=st.integers(1, 4),
    L=st.integers(1, 12),
    T=st.integers(20, 80),
    seed=st.integers(0, 9999),
    padded=st.booleans(),
    low=st.floats(-10, 10),
    width=st.floats(0, 15),
)
def test_the_measured_ratio_is_the_drawn_one(
    noise: Any, B: int, L: int, T: int, seed: int, padded: bool, low: float, width: float
) -> None:
    x, valid = windows(B, L, T, seed, padded)
    torch.manual_seed(seed)
    mixed = noise(low, low + width)
    drawn = mixed.draw(x, valid)
    changed, inside = mixed.change(x, drawn, valid)
    assert inside is valid and (valid is None or not changed.masked_select(~valid[:, None]).any())
    for b in range(B):
        if valid is None or valid[b].sum() > 4:  # else there is hardly a variance
            assert low - 1e-5 <= drawn["snr"][b] <= low + width + 1e-5
            assert ratio(x, changed, valid, b) == pytest.approx(float(drawn["snr"][b]), abs=1e-4)


def test_what_is_added_is_the_recorded_stretch_up_to_its_offset_and_gain(noise: Any, noise_root: Path) -> None:
    x, _ = windows(5, 3, 60, 1, False)
    drawn = noise(6, 6).draw(x)
    added = (noise(6, 6).change(x, drawn)[0] - x).double().numpy()
    for b in range(5):
        kind, start = ("bw", "em", "ma")[drawn["kind"][b]], int(drawn["start"][b])
        record = WFDBFile(noise_root / "nstdb" / kind, kind, "nobody").read()
        at_100 = resample(record.signal, record.fs, 100).astype(float)
        gains = []
        for lead in range(3):
            channel = int(drawn["channel"][b, lead])
            stretch = int(drawn["sign"][b, lead]) * at_100[channel, start : start + 60] / at_100[channel].std()
            stretch -= stretch.mean()
            gains.append(float(added[b, lead] @ stretch / (stretch @ stretch)))
            np.testing.assert_allclose(added[b, lead], gains[-1] * stretch, atol=1e-4)
        assert gains[0] > 0 and np.ptp(gains) < 1e-3 * gains[0]  # one gain for all leads


def test_draws_reach_every_kind_channel_and_sign_and_the_whole_record(noise: Any) -> None:
    torch.manual_seed(2)
    longest = noise(0, 24).noise.shape[1]
    drawn = noise(0, 24).draw(torch.zeros(1, 1, 1).expand(4000, 2, longest - 3))
    assert set(drawn["kind"].tolist()) == {0, 1, 2} and set(drawn["channel"].flatten().tolist()) == {0, 1}
    assert set(drawn["sign"].flatten().tolist()) == {-1, 1}
    assert set(drawn["start"].tolist()) == {0, 1, 2, 3}
    assert 0 <= drawn["snr"].min() < 0.1 and 23.9 < drawn["snr"].max() <= 24


def test_a_silent_window_stays_silent_and_nothing_becomes_nan(noise: Any) -> None:
    x = torch.zeros(2, 2, 50)
    assert torch.equal(noise(0, 0)(x)[0], x)
    valid = torch.zeros(2, 50, dtype=torch.bool)
    assert torch.equal(noise(0, 0)(x, valid)[0], x)


def test_a_seed_fixes_it_and_the_input_stays(noise: Any) -> None:
    x, valid = windows(3, 2, 70, 3)
    before = x.clone()
    torch.manual_seed(4)
    first = noise(0, 9)(x, valid)[0]
    torch.manual_seed(4)
    assert torch.equal(noise(0, 9)(x, valid)[0], first) and torch.equal(x, before) and first.dtype == torch.float32


def test_the_noise_moves_with_the_model_and_is_no_weight_of_it(noise: Any) -> None:
    assert noise(0, 0).noise.mean(dim=1).abs().max() < 1e-4
    torch.testing.assert_close(noise(0, 0).noise.std(dim=1), torch.ones(6), atol=1e-3, rtol=0)
    assert not View([noise(0, 0)]).state_dict()


def test_the_noise_keeps_to_the_band_of_the_spec(noise_root: Path) -> None:
    mixed = RecordedNoise(noise_root / "nstdb", kinds=["ma"])
    mixed.prepare(SignalSpec(100, ("II",), 500, band=(2.0, 20.0)))
    power = torch.fft.rfft(mixed.noise).abs().square().sum(dim=0)
    frequency = torch.fft.rfftfreq(mixed.noise.shape[1], 0.01)
    assert power[(frequency > 1.5) & (frequency < 25)].sum() > 0.95 * power.sum()


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda folder: (folder / "em.dat").unlink(), r"em.dat.*python -m ecg_lightning.data.download nstdb --root"),
        (lambda folder: (folder / "bw.hea").unlink(), r"bw.hea.*python -m ecg_lightning.data.download nstdb --root"),
        (shutil.rmtree, r"bw.hea.*python -m ecg_lightning.data.download nstdb --root"),
        (lambda folder: (folder / "ma.dat").write_bytes(b"short"), r"ma.*download nstdb"),
        (lambda folder: write_record(folder / "ma", 360, ["noise1"], np.ones((1, 9000), np.int16)), r"2 channels"),
        (lambda folder: write_record(folder / "ma", 360, ["a", "b"], np.ones((2, 9000), np.int16)), r"2 channels"),
        (lambda folder: write_record(folder / "ma", 360, ["a", "b"], np.arange(2 * 700, dtype=np.int16).reshape(2, -1)),
         r"ma.dat holds 1.9[0-9]* s, less than a window of 2 s; lower data.spec.seconds"),
    ],
)  # fmt: skip
def test_noise_files_that_will_not_do_are_told_by_name_before_any_work(
    noise_root: Path, tmp_path: Path, spoil: Any, message: str
) -> None:
    folder = shutil.copytree(noise_root / "nstdb", tmp_path / "nstdb")
    spoil(folder)
    with pytest.raises(UserError, match=message) as told:
        RecordedNoise(folder).prepare(spec(500))
    assert "\n" not in str(told.value)


@pytest.mark.parametrize(("changed", "message"), [({"snr": (9, 3)}, "snr="), ({"kinds": []}, "kinds="),
                                                  ({"kinds": ["xx"]}, "kinds=")])  # fmt: skip
def test_numbers_that_make_no_sense_are_refused_by_name(changed: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        RecordedNoise("nowhere", **changed)


@pytest.mark.realdata
def test_the_published_noise_is_read_whole(data_root: Path) -> None:
    mixed = RecordedNoise(data_root / "nstdb")
    mixed.prepare(SignalSpec(100, TWELVE_LEADS, 1000))
    assert mixed.noise.shape == (6, -(-650000 * 100 // 360)) and mixed.noise.isfinite().all()
