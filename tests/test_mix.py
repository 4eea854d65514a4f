"""Several data sets at once: each against itself alone, the draws against plain counts."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from conftest import PROJECT
from hydra import compose, initialize_config_dir
from hypothesis import given, settings
from hypothesis import strategies as st
from omegaconf import DictConfig, OmegaConf

from ecg_lightning.build import build_data
from ecg_lightning.data.mix import MixedBatches, MixedWindows
from ecg_lightning.data.store import Store
from ecg_lightning.data.windows import Draw, UnlabelledWindows
from ecg_lightning.encoders.checkpoint import read_checkpoint
from ecg_lightning.errors import UserError
from ecg_lightning.evaluation.leakage import find_leakage
from ecg_lightning.objectives.base import Objective
from ecg_lightning.pretraining import pretrain

some = settings(max_examples=40, deadline=None)
weights = st.one_of(st.just(0.0), st.floats(1e-3, 1e3))
members = st.lists(st.tuples(st.integers(1, 60), weights), min_size=1, max_size=4).filter(
    lambda m: any(w for _, w in m)
)


def store_of(lengths: list[int], scale: float = 1000.0, first: int = 1) -> Store:
    """Recordings of these lengths; no sample is 0 and, from different `first` on, no two are the same."""
    length = np.array(lengths)
    signals = np.arange(first, first + 2 * length.sum(), dtype=np.int16).reshape(-1, 2)
    names = np.array([f"r{i}" for i in range(len(length))])
    return Store(Path("none"), signals, np.cumsum(length) - length, length, 100.0, np.full(len(length), 100.0),
                 ("II", "V1"), names, names, np.full(len(length), -1, np.int16), names, {}, {}, scale)  # fmt: skip


# --- what is drawn ----------------------------------------------------------------------------------------------


def shares_of(weights: list[float]) -> np.ndarray:
    return np.array(weights) / sum(weights)


def drawn(batches: MixedBatches, epoch: int) -> list[Draw]:
    batches.set_epoch(epoch)
    return list(batches)


@some
@given(members=members, batch_size=st.integers(1, 20), at_least=st.integers(0, 5), seed=st.integers(0, 9))
def test_each_member_has_its_share_and_each_of_its_windows_comes_equally_often(
    members: list[tuple[int, float]], batch_size: int, at_least: int, seed: int
) -> None:
    sizes, shares = np.array([size for size, _ in members]), shares_of([weight for _, weight in members])
    batches = MixedBatches(sizes, shares, batch_size, seed, at_least)
    of_member = np.repeat(np.arange(len(sizes)), sizes)
    counts = np.zeros(sizes.sum(), int)
    for epoch in range(12):
        draws = drawn(batches, epoch)
        assert len(draws) == len(batches) >= at_least
        assert {len(draw.which) for draw in draws} == {batches.size}, "whole batches"
        assert all(((draw.slide >= 0) & (draw.slide < 1)).all() for draw in draws)
        which = np.concatenate([draw.which for draw in draws])
        naive = np.bincount(of_member[which], minlength=len(sizes))
        assert (np.abs(naive - shares * len(which)) < 1 + 1e-5).all(), "to less than one draw in every epoch"
        counts += np.bincount(which, minlength=len(counts))
        for m in range(len(sizes)):
            assert np.ptp(counts[of_member == m]) <= 1, "passes go on from epoch to epoch"
    assert (counts[shares[of_member] == 0] == 0).all()


@some
@given(weights=st.lists(st.floats(0.01, 100), min_size=2, max_size=4), draws=st.integers(1, 50))
def test_fractions_of_a_draw_even_out_over_the_epochs(weights: list[float], draws: int) -> None:
    shares = shares_of(weights)
    batches = MixedBatches(np.full(len(shares), draws), shares, batch_size=draws)
    epochs = 400
    total = batches.counts(np.arange(epochs)).sum(axis=0)
    a_random_rounding_would_miss_by = 0.5 * epochs**0.5
    assert (np.abs(total - shares * len(batches) * batches.size * epochs) < a_random_rounding_would_miss_by).all()


@some
@given(sizes=st.lists(st.integers(1, 30), min_size=1, max_size=4), epoch=st.integers(0, 5))
def test_in_proportion_to_the_windows_an_epoch_of_whole_batches_is_one_pass_over_all(
    sizes: list[int], epoch: int
) -> None:
    batches = MixedBatches(np.array(sizes), shares_of([float(size) for size in sizes]), batch_size=sum(sizes))
    (draw,) = drawn(batches, epoch)
    assert sorted(draw.which) == list(range(sum(sizes)))


def test_what_an_epoch_draws_follows_from_seed_and_epoch_alone() -> None:
    def make(seed: int = 0) -> MixedBatches:
        return MixedBatches(np.array([7, 50, 23]), shares_of([1.0, 1.0, 3.0]), 8, seed)

    went_through = make()
    before = [drawn(went_through, epoch) for epoch in range(5)][-1]
    np.testing.assert_equal(drawn(make(), 4), before)
    for other in (drawn(make(), 3), drawn(make(seed=1), 4)):
        assert any((a.which != b.which).any() for a, b in zip(before, other, strict=True))
        assert any((a.slide != b.slide).any() for a, b in zip(before, other, strict=True))


def test_members_lie_mixed_in_a_batch() -> None:
    batches = MixedBatches(np.array([500, 500]), shares_of([1.0, 1.0]), 50)
    owners = [draw.which >= 500 for draw in drawn(batches, 0)]
    assert all(10 < owner.sum() < 40 and (np.diff(owner) != 0).sum() > 10 for owner in owners)


# --- what a batch holds -----------------------------------------------------------------------------------------


@some
@given(lengths=st.lists(st.lists(st.integers(1, 40), min_size=1, max_size=3), min_size=1, max_size=4),
       samples=st.integers(1, 30), data=st.data())  # fmt: skip
def test_a_batch_holds_what_each_member_alone_serves(
    lengths: list[list[int]], samples: int, data: st.DataObject
) -> None:
    alone = [
        UnlabelledWindows(store_of(each, 10.0 ** (m + 1), 300 * m + 1), np.arange(len(each)), samples)
        for m, each in enumerate(lengths)
    ]
    mixed = MixedWindows(alone)
    places = [(windows, i) for windows in alone for i in range(len(windows))]
    assert len(mixed) == len(places)
    one = st.tuples(st.integers(0, len(places) - 1), st.floats(0, 1, exclude_max=True))
    which, slide = map(np.array, zip(*data.draw(st.lists(one, min_size=1, max_size=9)), strict=True))
    batch = mixed[Draw(which, slide)]
    assert batch.which.tolist() == which.tolist() and batch.steps.dtype == torch.int16
    assert (batch.valid is None) == all(min(places[w][0].store.length) >= samples or whole(places[w]) for w in which)
    for b, w in enumerate(which):
        windows, i = places[w]
        expected = windows[Draw(np.array([i]), slide[b : b + 1])]
        assert torch.equal(batch.steps[b], expected.steps[0]) and batch.scale[b] == expected.scale[0]
        inside = torch.ones(samples, dtype=torch.bool) if expected.valid is None else expected.valid[0]
        assert torch.equal(torch.ones(samples, dtype=torch.bool) if batch.valid is None else batch.valid[b], inside)


def whole(place: tuple[UnlabelledWindows, int]) -> bool:
    windows, i = place
    return bool(windows.store.length[windows.row[i]] >= windows.samples)


# --- data sets --------------------------------------------------------------------------------------------------

MEMBERS = ("synthetic", "mitbih")
TWO_LEADS = ["data.spec.leads=[II,V1]", "data.spec.seconds=4"]
Compose = Callable[..., DictConfig]


@pytest.fixture(scope="session")
def tiny_mix(tiny: Callable[[str], list[str]]) -> list[str]:
    """What to say to `train.py` for a tiny training on a 12-lead set and on Holter recordings."""
    root = {name: dict(each.split("=", 1) for each in tiny(name))["data.root"] for name in MEMBERS}
    rest = [each for each in tiny("synthetic") if not each.startswith(("data=", "data.root="))]
    where = [f"+data.options.{name}.root={folder}" for name, folder in root.items()]
    return ["data=mix", "data.members=[synthetic,mitbih]", *where, *TWO_LEADS, *rest]


@pytest.fixture(scope="session")
def composed(tiny: Callable[[str], list[str]], tiny_mix: list[str]) -> Compose:
    """The data's configuration, of the mix or of a member alone with the mix's spec; then changes to it."""
    said = {name: [*tiny(name), *TWO_LEADS, "data.spec.missing=derive"] for name in MEMBERS} | {"mix": tiny_mix}
    with initialize_config_dir(str(PROJECT / "conf"), version_base="1.3"):
        configs = {name: compose("train", words) for name, words in said.items()}

    def make(name: str, *changes: str) -> DictConfig:
        config = configs[name].copy()
        OmegaConf.set_struct(config, False)
        config.merge_with_dotlist([f"data.{change}" for change in changes])
        return config.data

    return make


def test_members_are_prepared_as_any_other_job_prepares_them(composed: Compose, tmp_path: Path) -> None:
    mix = build_data(composed("mix", f"cache_dir={tmp_path}"))
    files = {store.path: store.path.stat().st_mtime_ns for store in mix.stores}
    for name, shared in zip(MEMBERS, mix.stores, strict=True):
        alone = build_data(composed(name, f"cache_dir={tmp_path}"))
        assert [store.path for store in alone.stores] == [shared.path] and shared.path.name.startswith(f"{name}-")
    assert {path: path.stat().st_mtime_ns for path in tmp_path.glob("*.h5")} == files, "none is built twice"


def test_validation_is_every_member_s_own(composed: Compose) -> None:
    mix = build_data(composed("mix", "weights=[0,1]"))
    batches = list(mix.val_dataloader())
    expected = [batch for name in MEMBERS for batch in build_data(composed(name)).val_dataloader()]
    for part in ("steps", "scale"):
        ours, theirs = (torch.cat([getattr(batch, part) for batch in each]) for each in (batches, expected))
        assert torch.equal(ours, theirs), part
    assert torch.cat([batch.which for batch in batches]).tolist() == list(range(len(mix.unlabelled("val"))))
    for again, before in zip(mix.val_dataloader(), batches, strict=True):
        assert torch.equal(again.steps, before.steps)


def test_what_was_seen_is_what_every_member_says(composed: Compose) -> None:
    mix = build_data(composed("mix", "weights=[1,3]"))
    seen, each = mix.seen(), [build_data(composed(name)).seen() for name in MEMBERS]
    assert seen["name"] == "synthetic+mitbih" and seen["shares"] == {"synthetic": 0.25, "mitbih": 0.75}
    assert set(seen["patients"]) == set(each[0]["patients"]) | set(each[1]["patients"])
    assert seen["patients"] == mix.patients("train").tolist()
    assert seen.keys() >= each[0].keys(), "evaluation looks for the same things in a mix"
    assert set(seen["digests"]) == set(each[0]["digests"]) | set(each[1]["digests"])
    assert seen["folds"] == [f"synthetic:{fold}" for fold in each[0]["folds"]] and each[0]["folds"]
    assert seen["fingerprints"] == {alone["name"]: alone["fingerprint"] for alone in each}
    one, other = (build_data(composed("mix", f"weights=[1,{w}]")).seen()["fingerprint"] for w in (1, 2))
    turned = build_data(composed("mix", "members=[mitbih,synthetic]")).seen()["fingerprint"]
    assert one == other == seen["fingerprint"] != turned


def test_a_test_split_that_a_member_holds_is_found(composed: Compose) -> None:
    mix = build_data(composed("mix", "options.mitbih.split=intra_patient"))
    spec = mix.spec
    leakage = find_leakage({"data": mix.seen()}, build_data(composed("mitbih"), spec))
    assert len(leakage.pretraining.patients) > 0 and leakage.pretraining_copies
    assert not find_leakage({"data": mix.seen()}, build_data(composed("synthetic"), spec)).reasons()


def test_members_of_another_unit_and_shorter_than_a_window_are_padded(composed: Compose, tmp_path: Path) -> None:
    rows = np.zeros((30, 188))
    rows[:, :100] = np.random.default_rng(0).random((30, 100))
    for part in ("train", "test"):
        np.savetxt(tmp_path / f"mitbih_{part}.csv", rows, delimiter=",")
    config = composed("mix", "members=[synthetic,heartbeat,mitbih]", f"options.heartbeat.root={tmp_path}",
                      "weights=[1,1,0]", f"cache_dir={tmp_path}")  # fmt: skip
    raw = next(iter(build_data(config).train_dataloader()))
    beat = raw.scale != 1000
    assert 0 < beat.sum() < len(beat) and raw.valid is not None
    assert (raw.valid.sum(dim=1) == torch.where(beat, 80, 400)).all()
    mV = raw.steps / raw.scale[:, None, None]
    assert mV[beat].min() >= -0.5 and mV[beat].max() <= 1.5 and mV[beat, 80:].abs().max() == 0


@pytest.mark.gpu
def test_resident_members_give_the_same_batches_on_the_device(composed: Compose) -> None:
    resident, on_host = (build_data(composed("mix", f"residency={where}")) for where in ("auto", "cpu"))
    for data in (resident, on_host):
        data.trainer = SimpleNamespace(strategy=SimpleNamespace(root_device=torch.device("cuda")))  # type: ignore[assignment]
        data.setup()
    for there, here in zip(resident.train_dataloader(), on_host.train_dataloader(), strict=True):
        assert there.steps.is_cuda and not here.steps.is_cuda
        assert torch.equal(there.steps.cpu(), here.steps) and torch.equal(there.scale.cpu(), here.scale)


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ("members=[synthetic,nope]", r"data\.members: 'nope' is no data set to mix; choices are .*heartbeat, .*ptbxl"),
        ("members=[synthetic,mix]", r"data\.members: 'mix' is no data set to mix"),
        ("members=[mitbih,synthetic,mitbih]", r"data\.members names mitbih twice; data\.weights"),
        ("members=[]", r"data\.members=\[\] must be a list such as"),
        ("members=mitbih", r"data\.members='mitbih' must be a list such as"),
        ("weights=[1]", r"data\.weights=\[1\] must be null or one number for each of the 2 members"),
        ("weights=[1,-1]", r"data\.weights=\[1, -1\] must be numbers, 0 or more"),
        ("weights=[0,0]", r"data\.weights=\[0, 0\] must be .* not all 0"),
        ("weights=[1,.nan]", r"data\.weights=\[1, nan\] must be numbers"),
        ("weights=[1,.inf]", r"data\.weights=\[1, inf\] must be numbers"),
        ("weights=[1,much]", r"data\.weights=\[1, 'much'\] must be a list of a number or null"),
        ("options.ptbxl.task=form", r"data\.options\.ptbxl: ptbxl is not one of data\.members"),
        ("options.mitbih.rot=x", r"data\.options\.mitbih\.rot: mitbih has no such key; its own are root, view"),
        ("options.mitbih.seed=1", r"data\.options\.mitbih\.seed: all members share data\.seed"),
        ("options.mitbih.spec.fs=1", r"data\.options\.mitbih\.spec: all members share data\.spec"),
        ("options.mitbih.view=x", r"mitbih, one of data\.members: data\.view='x' .*data\.options\.mitbih\.KEY"),
        ("options=3", r"data\.options=3 must be keys by member"),
        ("batch_size=0", r"data\.batch_size=0 must be at least 1"),
    ],
)  # fmt: skip
def test_what_is_no_mix_is_refused_by_its_key(wrong: str, named: str, composed: Compose) -> None:
    with pytest.raises(UserError, match=named):
        build_data(composed("mix", wrong))


def test_a_member_that_is_not_there_is_named(composed: Compose, tmp_path: Path) -> None:
    mix = build_data(composed("mix", f"options.mitbih.root={tmp_path / 'nowhere'}"))
    with pytest.raises(UserError, match=r"^mitbih, one of data\.members: data\.root=.*nowhere is missing"):
        mix.prepare_data()


def test_a_mix_of_mixes_is_refused(composed: Compose, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    conf = shutil.copytree(PROJECT / "conf", tmp_path / "conf")
    (conf / "data" / "twelve.yaml").write_text("defaults: [mix, _self_]\nname: twelve\n")
    monkeypatch.setattr("ecg_lightning.members.CONF", conf)
    with pytest.raises(UserError, match=r"data\.members: twelve is itself a mix; name its members"):
        build_data(composed("mix", "members=[synthetic,mitbih,twelve]"))


def test_a_mix_is_not_evaluated_on(composed: Compose) -> None:
    config = composed("mix")
    with pytest.raises(UserError, match=r"^data=mix serves pretraining; evaluate on one of its members"):
        build_data(config, build_data(config).spec)


# --- training ---------------------------------------------------------------------------------------------------


def test_an_interrupted_training_continues_to_the_very_same_weights(
    composed: Compose, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: Objective, outputs: Any, batch: Any, batch_idx: int) -> None:
        if (self.current_epoch, batch_idx) == (2, 1):
            raise RuntimeError("power cut")

    config = composed("mix", "weights=[1,1]")._get_root()
    config.trainer.max_epochs, config.run_dir = 4, "unused"
    straight = read_checkpoint(pretrain(config, tmp_path / "straight"))
    with monkeypatch.context() as patched, pytest.raises(RuntimeError, match="power cut"):
        patched.setattr(Objective, "on_train_batch_end", fail, raising=False)
        pretrain(config, tmp_path / "cut")
    continued = read_checkpoint(pretrain(config, tmp_path / "cut"))
    assert continued.digest == straight.digest and continued.training["metrics"] == straight.training["metrics"]


def test_the_command_trains_on_a_mix_of_the_user_s_own_and_says_so(tiny_mix: list[str], tmp_path: Path) -> None:
    choice, *options = tiny_mix
    (tmp_path / "conf" / "data").mkdir(parents=True)
    (tmp_path / "conf" / "data" / "both.yaml").write_text("defaults: [mix, _self_]\nname: both\nweights: [1, 3]\n")
    environment = {key: value for key, value in os.environ.items() if key != "ECG_DATA_ROOT"}
    line = [sys.executable, str(PROJECT / "train.py"), f"--config-dir={tmp_path / 'conf'}", "objective=mae",
            choice.replace("mix", "both"), *options, "trainer.max_epochs=1", f"run_dir={tmp_path / 'run'}"]  # fmt: skip
    done = subprocess.run(line, check=False, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0 and "Traceback" not in done.stderr, done.stderr
    training: Any = read_checkpoint(tmp_path / "run" / "encoder.pt").training
    populations = Counter(patient.split("/")[0] for patient in training["data"]["patients"])
    assert set(populations) == {"synthetic", "mitbih"} and training["data"]["name"] == "synthetic+mitbih"
    assert training["config"]["data"]["members"] == ["synthetic", "mitbih"]
    assert f"MAE on both: 147 windows of 4 s at 100 Hz, 2 leads, from {populations.total()} patients" in done.stderr
    for name, share in (("synthetic", 25), ("mitbih", 75)):
        part = rf"{name}, {share} % of the draws: \d+ windows from {populations[name]} patients; \d+ for validation\n"
        assert re.search(part, done.stderr), done.stderr
