"""Augmentations: each against a naive version of one window, and what all of them owe to all."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from augment_cases import CASES, INVERSE_DOWER, expected, spec, windows
from conftest import PROJECT
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from hypothesis import given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf

from ecg_lightning.augment.base import Augmentation, View, sample_at
from ecg_lightning.augment.baseline_shift import BaselineShift
from ecg_lightning.augment.baseline_wander import BaselineWander
from ecg_lightning.augment.blur import Blur
from ecg_lightning.augment.crop import RandomResizedCrop
from ecg_lightning.augment.emg import EMG
from ecg_lightning.augment.gaussian_noise import GaussianNoise
from ecg_lightning.augment.lead_dropout import LeadDropout
from ecg_lightning.augment.lead_scaling import LeadScaling
from ecg_lightning.augment.levels import published_level
from ecg_lightning.augment.powerline import Powerline
from ecg_lightning.augment.time_warp import TimeWarp
from ecg_lightning.augment.timeout import TimeOut
from ecg_lightning.augment.vectorcardiogram import DOWER, VCGRotation, rotation
from ecg_lightning.errors import UserError
from ecg_lightning.leads import TWELVE_LEADS
from ecg_lightning.signal import SignalSpec

every = pytest.mark.parametrize("name", CASES)


def prepared(name: str, samples: int, leads: int = 12, p: float = 1.0) -> Augmentation:
    augmentation = CASES[name].make()
    augmentation.p = p
    augmentation.prepare(spec(samples, leads))
    return augmentation


@every
@settings(deadline=None, max_examples=20)
@given(B=st.integers(1, 4), L=st.integers(1, 12), T=st.integers(1, 60), seed=st.integers(0, 9999), padded=st.booleans())
def test_an_augmentation_of_a_batch_is_the_naive_one_of_each_window(
    name: str, B: int, L: int, T: int, seed: int, padded: bool
) -> None:
    case, L = CASES[name], 12 if name == "VCGRotation" else L
    augmentation, (x, valid) = prepared(name, T, L), windows(B, L, T, seed, padded)
    torch.manual_seed(seed)
    drawn = augmentation.draw(x, valid)
    changed, inside = augmentation.change(x, drawn, valid)
    np.testing.assert_allclose(changed.numpy(), expected(case, x, valid, drawn), atol=case.atol)
    assert inside is valid or (inside is not None and valid is not None and torch.equal(inside, valid))


@every
@pytest.mark.parametrize("padded", [False, True])
def test_an_augmentation_keeps_shape_type_padding_and_its_input(name: str, padded: bool) -> None:
    x, valid = windows(6, 12, 500, 1, padded)
    before = x.clone()
    changed, inside = prepared(name, 500)(x, valid)
    assert torch.equal(x, before)
    assert changed.shape == x.shape and changed.dtype == torch.float32 and changed.isfinite().all()
    assert not changed.requires_grad
    assert (inside is None) == (valid is None)
    if inside is not None and valid is not None:
        assert torch.equal(inside, valid) and not changed.masked_select(~inside[:, None]).any()


@every
def test_a_seed_fixes_what_is_drawn_and_every_window_gets_numbers_of_its_own(name: str) -> None:
    augmentation, x = prepared(name, 2000), windows(1, 12, 2000, 2, False)[0].expand(8, -1, -1)
    torch.manual_seed(3)
    first, again, other = augmentation(x)[0], None, augmentation(x)[0]
    torch.manual_seed(3)
    again = augmentation(x)[0]
    assert torch.equal(first, again)
    if name != "Blur":  # draws nothing
        assert not torch.equal(first, other)
        assert len(torch.unique(first.flatten(1), dim=0)) >= 7  # a window may be without a shift


@every
def test_a_share_p_of_the_windows_is_changed_and_the_others_stay_as_they_are(name: str) -> None:
    x, valid = windows(600, 12, 80, 4, False)[0], torch.ones(600, 80, dtype=torch.bool)
    for p in (0.0, 0.3):
        torch.manual_seed(5)
        changed, inside = prepared(name, 80, p=p)(x, valid)
        share = float((changed != x).flatten(1).any(dim=1).float().mean())
        low = 0.0 if name == "BaselineShift" else p - 0.08  # a window may be without a shift
        assert torch.equal(inside, valid) and low <= share <= p + (0.08 if p else 0)


def test_where_validity_changes_only_the_changed_windows_get_the_new_one() -> None:
    class Shorten(Augmentation):
        def draw(self, x_BLT: Any, valid_BT: Any = None) -> Any:
            return {}

        def change(self, x_BLT: Any, drawn: Any, valid_BT: Any = None) -> Any:
            inside = torch.arange(x_BLT.shape[-1]).expand(len(x_BLT), -1) < 5
            return x_BLT * inside[:, None], inside

    torch.manual_seed(0)
    x, inside = Shorten(p=0.5)(torch.ones(40, 2, 9))
    kept = inside.sum(dim=1)
    assert set(kept.tolist()) == {5, 9} and torch.equal(x.sum(dim=(1, 2)), 2.0 * kept)


@pytest.mark.parametrize(
    ("name", "key", "low", "high"),
    [
        ("RandomResizedCrop", "share", 0.5, 1.0),
        ("RandomResizedCrop", "place", 0.0, 1.0),
        ("TimeOut", "share", 0.2, 0.4),
        ("TimeWarp", "pace", -math.log(2), math.log(2)),
        ("VCGRotation", "angle", -math.pi / 4, math.pi / 4),
        ("VCGRotation", "stretch", 1.0, 1.5),
        ("EMG", "level", 0.0, 0.5),
        ("BaselineWander", "level", 0.0, 0.1),
        ("BaselineWander", "phase", 0.0, 2 * math.pi),
        ("BaselineShift", "level", 0.0, 1.0),
        ("Powerline", "level", 0.0, 0.2),
        ("Powerline", "gain", -1.0, 1.0),
    ],
)
def test_what_is_drawn_is_even_over_its_range(name: str, key: str, low: float, high: float) -> None:
    torch.manual_seed(6)
    drawn = prepared(name, 4).draw(torch.zeros(4000, 12, 4))[key].flatten()[:4000]
    assert low <= drawn.min() < low + 0.01 * (high - low) and high - 0.01 * (high - low) < drawn.max() <= high
    quartiles = torch.quantile(drawn, torch.tensor([0.25, 0.5, 0.75]))
    np.testing.assert_allclose(quartiles, np.linspace(low, high, 5)[1:4], atol=0.03 * (high - low))


def test_lead_factors_are_even_on_a_logarithmic_scale() -> None:
    torch.manual_seed(7)
    factor = prepared("LeadScaling", 4).draw(torch.zeros(2000, 12, 4))["factor"]
    np.testing.assert_allclose(torch.quantile(factor.log2(), torch.tensor([0.0, 0.25, 0.5, 0.75, 1.0])),
                               [-1, -0.5, 0, 0.5, 1], atol=0.02)  # fmt: skip


def test_a_window_never_loses_all_its_leads_and_each_is_lost_as_often_as_the_others() -> None:
    torch.manual_seed(8)
    for leads in (1, 2, 12):
        augmentation = LeadDropout(share=1.0 if leads == 1 else 0.9)
        heard = augmentation(torch.ones(4000, leads, 3))[0].bool().all(dim=-1)
        assert heard.any(dim=1).all()
        assert torch.allclose(
            (~heard).float().mean(dim=0), torch.tensor(augmentation.share * (1 - 1 / leads)), atol=0.03
        )


def test_a_baseline_shifts_sign_is_either_as_often_and_its_gain_is_about_one() -> None:
    torch.manual_seed(9)
    gain = prepared("BaselineShift", 4).draw(torch.zeros(4000, 12, 4))["gain"]
    # |1 + normal| has mean 2 phi(1) + 2 Phi(1) - 1; a sign that binds to the 1 alone would give a mean of -1.
    assert abs(float(gain.mean())) < 0.02 and abs(float(gain.abs().mean()) - 1.1666) < 0.02


def test_the_wanders_spread_is_what_its_documentation_says() -> None:
    torch.manual_seed(10)
    augmentation = BaselineWander(cap=1.0)
    augmentation.prepare(SignalSpec(10, ("II",), 1000))  # 100 s: every wave goes round
    drawn = augmentation.draw(torch.zeros(400, 1, 1000))
    noise = augmentation.noise(drawn | {"gain": torch.ones(400, 1)}, 1000)
    assert float(noise.square().mean().sqrt()) == pytest.approx(math.sqrt(50 / 6), rel=0.05)


@pytest.mark.parametrize(("fs", "hz"), [(125, 50), (125, 60), (250, 50), (250, 60), (360, 60), (500, 50)])
def test_the_hum_is_at_its_frequency_and_nowhere_below(fs: float, hz: float) -> None:
    augmentation = Powerline(cap=1.0, hz=(hz,))
    augmentation.prepare(SignalSpec(fs, ("I", "II"), round(10 * fs)))
    torch.manual_seed(11)
    hum = augmentation(torch.zeros(8, 2, round(10 * fs)))[0].double().numpy()
    power = np.square(np.abs(np.fft.rfft(hum, axis=-1))).sum(axis=(0, 1))
    frequency = np.fft.rfftfreq(hum.shape[-1], 1 / fs)
    tones = [tone for tone in (hz, 2 * hz, 3 * hz) if tone < fs / 2]
    assert power[np.isclose(frequency[:, None], tones).any(axis=1)].sum() > (1 - 1e-6) * power.sum()
    assert power[np.isclose(frequency, hz)] > 0.1 * power.sum()


@pytest.mark.parametrize(("fs", "hz"), [(100, (50.0,)), (100, (50.0, 60.0)), (110, (50.0, 60.0)), (120, (60.0,))])
def test_a_hum_that_would_be_another_frequency_is_refused_before_any_work(fs: float, hz: tuple[float, ...]) -> None:
    with pytest.raises(UserError, match=rf"Powerline: {hz[-1]:g} Hz cannot be sampled at data.spec.fs={fs} Hz"):
        View([TimeOut(), Powerline(hz=hz)]).prepare(SignalSpec(fs, ("II",), 100))
    Powerline(hz=(50.0,)).prepare(SignalSpec(101, ("II",), 100))


def test_the_inverse_of_dowers_matrix_is_the_published_one() -> None:
    order = ("V1", "V2", "V3", "V4", "V5", "V6", "I", "II")
    inverse = np.linalg.pinv(np.array(list(DOWER.values())))[:, [list(DOWER).index(lead) for lead in order]]
    np.testing.assert_allclose(inverse, INVERSE_DOWER, atol=0.0006)


@settings(deadline=None, max_examples=30)
@given(angle=st.lists(st.floats(-math.pi, math.pi), min_size=3, max_size=3))
def test_a_rotation_keeps_lengths_and_orientation(angle: list[float]) -> None:
    turn = rotation(torch.tensor([angle], dtype=torch.float64))[0]
    torch.testing.assert_close(turn @ turn.T, torch.eye(3, dtype=torch.float64))
    assert float(torch.linalg.det(turn)) == pytest.approx(1)


def test_a_quarter_turn_about_each_axis_takes_the_next_axis_to_the_one_after() -> None:
    for axis in range(3):
        turn = rotation(torch.eye(3, dtype=torch.float64)[axis : axis + 1] * math.pi / 2)[0]
        torch.testing.assert_close(turn[:, (axis + 1) % 3], torch.eye(3, dtype=torch.float64)[(axis + 2) % 3])


def test_without_a_turn_a_recording_comes_back_as_its_projection() -> None:
    still = VCGRotation(angle=0, scale=1)
    still.prepare(spec(200))
    x = windows(3, 12, 200, 12, False)[0]
    once = still(x)[0]
    assert not torch.allclose(once, x, atol=0.1)
    torch.testing.assert_close(still(once)[0], once, atol=1e-4, rtol=0)
    eight = [TWELVE_LEADS.index(lead) for lead in DOWER]
    lost = (x - once)[:, eight].double().numpy()  # at right angles to all that three dimensions can say
    assert np.abs(np.array(list(DOWER.values())).T @ lost).max() < 1e-4


def test_turned_limb_leads_obey_einthoven_and_goldberger_in_any_order_of_the_leads() -> None:
    order = tuple(np.random.default_rng(13).permutation(TWELVE_LEADS))
    augmentation, plain = VCGRotation(), VCGRotation()
    augmentation.prepare(SignalSpec(250, order, 100))
    plain.prepare(spec(100))
    x = windows(4, 12, 100, 14, False)[0]
    shuffled = x[:, [TWELVE_LEADS.index(lead) for lead in order]]
    drawn = plain.draw(x)
    turned = dict(zip(order, augmentation.change(shuffled, drawn)[0].unbind(1), strict=True))
    for lead, same in zip(TWELVE_LEADS, plain.change(x, drawn)[0].unbind(1), strict=True):
        torch.testing.assert_close(turned[lead], same)
    torch.testing.assert_close(turned["I"] + turned["III"], turned["II"])
    torch.testing.assert_close(turned["aVR"] + turned["aVL"] + turned["aVF"], torch.zeros(4, 100), atol=1e-5, rtol=0)
    torch.testing.assert_close(1.5 * turned["aVF"], (turned["II"] + turned["III"]) * 0.75)


def test_a_vectorcardiogram_is_refused_where_there_is_none() -> None:
    with pytest.raises(UserError, match=r"data.spec.leads lacks V2, V6; .* name them"):
        VCGRotation().prepare(SignalSpec(100, ("I", "II", "V1", "V3", "V4", "V5"), 100))
    with pytest.raises(UserError, match=r"data.spec.standardise=zscore"):
        VCGRotation().prepare(SignalSpec(100, TWELVE_LEADS, 100, standardise="zscore"))
    VCGRotation().prepare(SignalSpec(100, tuple(DOWER), 100))


def test_a_warp_keeps_the_ends_and_the_order_of_time() -> None:
    augmentation = TimeWarp(warps=5, speed=4.0)
    augmentation.prepare(spec(1000))
    clock = torch.arange(1000.0).expand(16, 1, -1)
    warped = augmentation(clock)[0]
    torch.testing.assert_close(warped[..., [0, -1]], clock[..., [0, -1]], atol=2e-3, rtol=0)
    assert (warped.diff(dim=-1) > 0).all() and (warped - clock).abs().amax(dim=-1).min() > 1


def test_sampling_on_the_samples_gives_them_back_and_beyond_the_ends_the_last() -> None:
    x = torch.randn(2, 3, 700)
    torch.testing.assert_close(sample_at(x, torch.arange(700.0).expand(2, -1)), x, atol=5e-4, rtol=0)
    outside = sample_at(x, torch.tensor([[-5.0, 1e6]] * 2))
    torch.testing.assert_close(outside, x[..., [0, -1]])


def test_the_levels_are_the_published_ones_and_the_second_is_the_default() -> None:
    kinds = (BaselineWander, EMG, Powerline, BaselineShift)
    caps = [[step.cap for step in published_level(level).steps] for level in range(1, 7)]
    assert caps[0] == [0.05, 0.25, 0.1, 0.5] and caps[5] == [0.3, 2, 0.5, 3] and caps[3] == [0.2, 1, 0.4, 2]
    assert caps[1] == [kind().cap for kind in kinds]
    assert [type(step) for step in published_level(3).steps] == list(kinds)
    assert [type(step) for step in published_level(3, powerline=False).steps] == [kinds[0], kinds[1], kinds[3]]
    with pytest.raises(UserError, match="noise level=7"):
        published_level(7)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: TimeOut(p=1.5), "TimeOut: p=1.5"),
        (lambda: RandomResizedCrop((0.9, 0.5)), "share="),
        (lambda: TimeOut((0.2, 1.0)), "share="),
        (lambda: GaussianNoise(0), "scale=0"),
        (lambda: EMG(-1), "EMG: cap=-1"),
        (lambda: BaselineWander(highest=0), "highest=0"),
        (lambda: Powerline(hz=()), "hz="),
        (lambda: Powerline(overtones=-1), "overtones=-1"),
        (lambda: LeadScaling((2.0, 0.5)), "factor="),
        (lambda: LeadDropout(0), "share=0"),
        (lambda: Blur((0.5, 0.5)), "kernel="),
        (lambda: TimeWarp(speed=1), "speed=1"),
        (lambda: VCGRotation(angle=200), "angle=200"),
    ],
)
def test_numbers_that_make_no_sense_are_refused_by_name(make: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        make()


VIEWS = sorted(path.stem for path in (PROJECT / "conf" / "augment").glob("*.yaml"))


@pytest.mark.parametrize("name", VIEWS)
def test_every_view_composes_and_changes_windows_of_the_spec_it_is_for(
    name: str, noise_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ECG_DATA_ROOT", str(noise_root))
    with initialize_config_dir(str(PROJECT / "conf"), version_base="1.3"):
        config = compose("train", [f"augment={name}", *(["data.spec.fs=250"] if name == "powerline" else [])])
    view, data_spec = instantiate(config.augment, _convert_="all"), instantiate(config.data.spec)
    view.prepare(data_spec)
    x, valid = windows(4, 12, data_spec.samples, 15)
    changed, inside = view(x, valid)
    assert isinstance(view, View) and torch.equal(inside, valid)
    assert changed.isfinite().all() and not torch.equal(changed, x) and not changed.masked_select(~valid[:, None]).any()


def test_every_augmentation_that_a_view_can_hold_is_in_one_of_the_views(
    noise_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ECG_DATA_ROOT", str(noise_root))
    views = [instantiate(OmegaConf.load(PROJECT / "conf" / "augment" / f"{name}.yaml")) for name in VIEWS]
    held = {type(step).__name__ for view in views for step in view.steps}
    assert {*CASES, "RecordedNoise"} <= held
