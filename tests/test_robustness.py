"""Stresses: each does what it says, against plain NumPy and the recordings' own way; and what their curves say."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import torch
from conftest import PROJECT
from hypothesis import given, settings
from hypothesis import strategies as st
from omegaconf import DictConfig

from ecg_lightning.assessment import assess
from ecg_lightning.build import build_data
from ecg_lightning.data.budget import SealedLabels
from ecg_lightning.data.module import Examples
from ecg_lightning.data.windows import to_signal
from ecg_lightning.encoders.checkpoint import read_checkpoint, save_encoder
from ecg_lightning.encoders.vit import ViT
from ecg_lightning.errors import UserError
from ecg_lightning.evaluation.cell import Cell
from ecg_lightning.evaluation.condition import CLEAN, Condition
from ecg_lightning.evaluation.frozen import FrozenMethod
from ecg_lightning.evaluation.metrics import MACRO
from ecg_lightning.evaluation.robustness.coarse_rate import CoarseRate
from ecg_lightning.evaluation.robustness.lost_leads import SETS, LostLeads
from ecg_lightning.evaluation.robustness.published_noise import PublishedNoise
from ecg_lightning.evaluation.robustness.recorded_noise import NoiseStress
from ecg_lightning.evaluation.robustness.wrong_labels import WrongLabels, err
from ecg_lightning.leads import TWELVE_LEADS, select_leads
from ecg_lightning.prediction import predict
from ecg_lightning.question import cell_folder, open_setting, results_folder
from ecg_lightning.reporting import pretraining_share, robustness
from ecg_lightning.reporting.sweep import summarise_sweep
from ecg_lightning.results import cells, read_result
from ecg_lightning.signal import SignalSpec, resample

STRESSES = sorted(path.stem for path in (PROJECT / "conf" / "robustness").glob("*.yaml"))
SMALL = ("protocol=knn", "protocol.beside=[]", "resamples=20", "budget.total=10")
"""What is learned in no time."""


def signals(spec: SignalSpec, batch: int = 70, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """White windows in mV, of which every third is padded at both ends, and their valid samples."""
    generator = torch.Generator().manual_seed(seed)
    valid = torch.ones(batch, spec.samples, dtype=torch.bool)
    valid[::3, : spec.samples // 4] = valid[::3, -spec.samples // 5 :] = False
    x = 0.2 * torch.randn(batch, len(spec.leads), spec.samples, generator=generator) + 0.1
    return x * valid[:, None], valid


def changed(condition: Condition, x: torch.Tensor, valid: torch.Tensor | None) -> torch.Tensor:
    with condition.drawing():
        return condition(x, valid)[0]


# --- noise ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kinds", [("em",), ("bw", "em", "ma")])
def test_the_ratio_is_the_stated_one_and_the_noise_the_same_at_every_level(noise_root, kinds):
    spec = SignalSpec.of_seconds(100, ("I", "II", "V1"), 4)
    x, valid = signals(spec)
    conditions = NoiseStress("n", noise_root / "nstdb", kinds, (-6, 24, 6)).conditions(spec)
    assert list(conditions) == [24, 6, -6], "from easy to hard"
    added = {level: (changed(condition, x, valid) - x).numpy() for level, condition in conditions.items()}
    for level, noise in added.items():
        for b in range(len(x)):
            inside = valid[b].numpy()
            signal_power, noise_power = (each[b][:, inside].var(axis=1).mean() for each in (x.numpy(), noise))
            assert 10 * np.log10(signal_power / noise_power) == pytest.approx(level, abs=0.02)
            assert not noise[b][:, ~inside].any()
    np.testing.assert_allclose(added[-6], added[24] * 10 ** (30 / 20), rtol=1e-3, atol=1e-4)


def test_noises_that_differ_have_names_that_differ(noise_root):
    spec = SignalSpec.of_seconds(100, ("II",), 4)
    names = [condition.name for kinds in (["em"], ["ma"], ["em", "ma"]) for condition in
             NoiseStress("n", noise_root / "nstdb", cast(Any, kinds), (0, 6)).conditions(spec).values()]  # fmt: skip
    assert len(set(names)) == 6 and "" not in names


def test_missing_noise_is_told_before_the_recordings_are_prepared(evaluation, tmp_path):
    config = evaluation("ptbxl", "robustness=noise_em", f"robustness.root={tmp_path}/no", f"cache_dir={tmp_path}/new")
    with pytest.raises(UserError, match=r"fetch the noise with: python -m ecg_lightning.data.download nstdb"):
        assess(config)
    assert not list(tmp_path.rglob("*.h5"))


@pytest.mark.parametrize("fs", [100, 250])
def test_published_levels_grow_and_leave_the_hum_out_where_it_cannot_be(fs):
    spec = SignalSpec.of_seconds(fs, ("II", "V1"), 8)
    conditions = PublishedNoise("levels", (0, 2, 6)).conditions(spec)
    assert conditions[0] is CLEAN
    x = torch.zeros(512, 2, spec.samples)
    power = {level: changed(conditions[level], x, None) for level in (2, 6)}
    assert power[6].std() > 1.5 * power[2].std() > 0
    spectrum = torch.fft.rfft(power[6]).abs().square().mean(dim=(0, 1))
    hz = torch.fft.rfftfreq(spec.samples, 1 / fs)
    floor = spectrum[(hz > 44) & (hz < 48)].mean()
    humming = [bool(spectrum[(hz - mains).abs() < 0.2].max() > 1.6 * floor) for mains in (50, 60) if mains < fs / 2]
    assert humming == ([True, True] if fs == 250 else [])


# --- leads ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("missing", ["replicate", "zero", "mean", "derive"])
def test_lost_leads_are_those_of_a_smaller_recorder_and_change_nothing_any_more(missing):
    spec = SignalSpec.of_seconds(100, TWELVE_LEADS, 2, missing=missing)
    torch.manual_seed(0)
    encoder = ViT(spec, dim=16, depth=1, heads=2, patch_seconds=0.2).eval()
    x, valid = signals(spec, 6)
    conditions = LostLeads("leads", tuple(SETS)).conditions(spec)
    assert list(conditions) == [12, 6, 4, 3, 2, 1] and conditions[12] is CLEAN
    for size in (6, 4, 3, 2, 1):
        kept = [lead in SETS[size] for lead in spec.leads]
        seen = changed(conditions[size], x, valid)
        naive = [select_leads(each[kept].double().numpy(), SETS[size], spec.leads, spec.missing) for each in x]
        np.testing.assert_allclose(seen, np.array(naive), atol=1e-6)
        garbled = torch.where(torch.tensor(kept)[:, None], x, torch.randn_like(x))
        other = torch.where(torch.tensor(kept)[:, None], torch.randn_like(x), x)
        said, same, else_said = (encoder(changed(conditions[size], each, valid)) for each in (x, garbled, other))
        assert torch.equal(said, same), "the lost leads are gone"
        assert not torch.allclose(said, else_said, atol=1e-3), "the others are not"


@pytest.mark.parametrize(("leads", "levels"), [
    (("I", "II", "V1", "V2", "V3", "V4", "V5", "V6"), [8, 3, 2, 1]),
    (("II", "V1"), [2, 1]),
    (("V2", "II", "I"), [3, 2, 1]),
])  # fmt: skip
def test_an_encoder_of_fewer_leads_has_the_levels_that_take_some_away(leads, levels):
    conditions = LostLeads("leads", tuple(SETS)).conditions(SignalSpec.of_seconds(100, leads, 2))
    assert list(conditions) == levels and conditions[levels[0]] is CLEAN
    assert all(conditions[level] is not CLEAN for level in levels[1:])


@pytest.mark.parametrize("lead", ["I", "V5"])
def test_one_lead_cannot_become_fewer(lead):
    with pytest.raises(UserError, match="none would be lost"):
        LostLeads("leads", tuple(SETS)).conditions(SignalSpec.of_seconds(100, (lead,), 2))


# --- rate -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("fs", "rate"), [(100, 50), (500, 250), (250, 100), (360, 250), (128, 100), (125, 50)])
def test_a_slower_recorder_gives_what_resampling_down_and_up_gives(fs, rate):
    spec = SignalSpec.of_seconds(fs, ("I", "II"), 4)
    x, valid = signals(spec, 4)
    (condition,) = CoarseRate("rate", (rate,)).conditions(spec).values()
    inside = [np.flatnonzero(each)[[0, -1]] + [0, 1] for each in valid]
    for b, (begin, end) in enumerate(inside):
        assert begin % (fs // np.gcd(fs, rate)) == 0, "on a sample of the slow recorder"
        # 0 at its ends, beyond which the two go on in different ways.
        x[b, :, begin:end] *= torch.hann_window(end - begin, periodic=False).clamp(min=0.02) - 0.02
    found = changed(condition, x, valid).numpy()
    for b, (begin, end) in enumerate(inside):
        alone = x[b, :, begin:end].double().numpy()
        naive = resample(resample(alone, fs, rate), rate, fs)[:, : end - begin]
        np.testing.assert_allclose(found[b, :, begin:end], naive, atol=1e-4)
        assert np.abs(naive - alone).max() > 0.05
        assert not found[b][:, ~valid[b].numpy()].any()


def test_nothing_is_left_above_half_of_the_lower_rate_and_nothing_taken_below():
    spec = SignalSpec.of_seconds(500, ("II",), 10)
    x = torch.randn(16, 1, spec.samples, generator=torch.Generator().manual_seed(0))
    conditions = CoarseRate("rate", (1000, 500, 250, 100, 50)).conditions(spec)
    assert list(conditions) == [1000, 500, 250, 100, 50]
    assert [rate for rate, condition in conditions.items() if condition is CLEAN] == [1000, 500]
    hz, hann = np.fft.rfftfreq(spec.samples, 1 / spec.fs), np.hanning(spec.samples)
    before = np.abs(np.fft.rfft(hann * x.numpy())) ** 2
    for rate in (250, 100, 50):
        after = np.abs(np.fft.rfft(hann * changed(conditions[rate], x, None).numpy())) ** 2
        high, low = hz > 1.2 * rate / 2, (hz > 1) & (hz < 0.7 * rate / 2)
        assert after[..., high].mean() < 1e-4 * before[..., high].mean()
        assert after[..., low].mean() == pytest.approx(before[..., low].mean(), rel=0.03)


def test_a_straight_line_passes_every_rate_whole():
    spec = SignalSpec.of_seconds(100, ("II",), 4)
    line = torch.linspace(-3, 5, spec.samples).expand(1, 1, -1)
    (condition,) = CoarseRate("rate", (50,)).conditions(spec).values()
    np.testing.assert_allclose(changed(condition, line, None), line, atol=1e-5)


# --- labels -----------------------------------------------------------------------------------------------------


@settings(deadline=None, max_examples=60)
@given(n=st.integers(2, 40), classes=st.integers(2, 5), share=st.sampled_from([0, 0.1, 0.4, 1]), seed=st.integers(0, 9),
       several=st.booleans())  # fmt: skip
def test_exactly_the_share_is_wrong_and_larger_shares_hold_the_smaller(n, classes, share, seed, several):
    generator = np.random.default_rng(seed)
    y = generator.integers(0, 2, (n, classes)) if several else generator.integers(0, classes, n)
    if several:
        y[0], y[1] = 0, 1
    differs = [(err(y, each, classes, seed) != y).reshape(n, -1).any(axis=1) for each in (share, 1)]
    assert differs[0].sum() == round(share * n) and differs[1].all()
    wrong = err(y, share, classes, seed)
    assert wrong.dtype == y.dtype and wrong.min() >= 0 and wrong.max() < max(classes, 2)
    np.testing.assert_array_equal(wrong[differs[0]], err(y, 1, classes, seed)[differs[0]])
    if several:
        assert {tuple(row) for row in wrong} <= {tuple(row) for row in y}, "combinations that there are"


def test_wrong_labels_are_drawn_evenly():
    y = np.repeat(np.arange(3), 3000)
    counts = np.array([np.bincount(err(y, 1, 3, 0)[y == c], minlength=3) for c in range(3)])
    np.testing.assert_allclose(counts, 1500 * (1 - np.eye(3)), atol=150)
    several = np.repeat([[1, 0], [0, 1], [1, 1], [0, 0]], [1000, 2000, 500, 500], axis=0)
    wrong = err(several, 1, 2, 0)[:1000]
    kinds = [int((wrong == kind).all(axis=1).sum()) for kind in ([0, 1], [1, 1], [0, 0])]
    np.testing.assert_allclose(kinds, [667, 167, 167], atol=60)


def test_labels_that_are_all_alike_cannot_be_wrong():
    with pytest.raises(UserError, match="raise budget"):
        err(np.ones((4, 2), np.uint8), 0.5, 2, 0)


def cell_of(y: Any, budget: Any, unit: Any = None) -> Cell:
    """A cell of which nothing but its labels is real."""
    n = len(y)
    examples = Examples(np.arange(n), np.zeros(n, int), y, np.zeros(n, np.int8), unit=unit)
    labelled = SimpleNamespace(of=lambda split: examples)
    data = cast(Any, SimpleNamespace(labelled=labelled, classes=("a", "b", "c")))
    return Cell(cast(Any, None), data, SealedLabels(y, np.asarray(budget)), np.asarray(budget), 0, Path())


@pytest.mark.parametrize("units", [False, True])
def test_only_the_labels_of_the_budget_are_read_and_windows_of_a_recording_err_together(units):
    y, budget = np.random.default_rng(0).integers(0, 3, 200), np.arange(40, 160)
    unit = np.arange(200) // 4 if units else None
    y = np.repeat(y[::4], 4) if units else y
    stress = WrongLabels("label_noise", (40, 0, 10))
    stress.prepare(SignalSpec.of_seconds(100, ("II",), 1))
    assert stress.levels == (0, 10, 40)
    cell, garbled = cell_of(y, budget, unit), cell_of(np.where(np.isin(np.arange(200), budget), y, 2 - y), budget, unit)
    assert stress.at(0, cell).cell is cell
    for level in (10, 40):
        found, other = (stress.at(level, each).cell for each in (cell, garbled))
        wrong = found.labels[budget] != y[budget]
        assert wrong.sum() == level / 100 * len(budget)
        assert units == all(len(set(group)) == 1 for group in wrong.reshape(-1, 4))
        np.testing.assert_array_equal(found.labels[budget], other.labels[budget])
        assert cell.labels.read == set(budget.tolist()) and (found.labels.allowed == budget).all()
        with pytest.raises(RuntimeError, match="outside the budget"):
            found.labels[np.array([0])]
        other_seed = stress.at(level, replace(cell, model_seed=1)).cell.labels[budget]
        assert (other_seed != found.labels[budget]).any()


# --- cells ------------------------------------------------------------------------------------------------------


@pytest.fixture
def stressed(evaluation: Callable[..., DictConfig], noise_root: Path, tmp_path: Path) -> Callable[..., DictConfig]:
    """The configuration of a small cell under a stress."""

    def make(stress: str, *overrides: str, data: str = "ptbxl") -> DictConfig:
        where = [f"robustness.root={noise_root / 'nstdb'}"] if stress.startswith("noise") else []
        few = {"levels": "[0,3]", "label_noise": "[0,40]", "rate": "[500,50]", "leads": "[12,2,1]"}
        levels = f"robustness.levels={few.get(stress, '[12,-20]')}"
        asked = (f"robustness={stress}", levels, *where, f"results_dir={tmp_path}")
        return evaluation(data, *asked, *SMALL, *overrides)

    return make


@pytest.fixture
def fits(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The training condition of every cell that was learned from since."""
    found: list[Any] = []
    fit = FrozenMethod.fit

    def counted(self: FrozenMethod, cell: Cell) -> Any:
        found.append(cell.condition)
        return fit(self, cell)

    monkeypatch.setattr(FrozenMethod, "fit", counted)
    return found


@pytest.mark.parametrize("stress", STRESSES)
def test_every_stress_gives_a_curve_of_its_levels_from_one_fit(stressed, fits, stress):
    result = read_result(assess(stressed(stress, "protocol=linear")))
    curve = result["robustness"]
    assert curve["name"] == stress and curve["axis"]
    assert curve["applies_to"] == ("labels" if stress == "label_noise" else "test")
    levels = {each["level"]: each["metrics"] for each in curve["levels"]}
    expected = {"levels": [0, 3], "label_noise": [0, 40], "rate": [500, 50], "leads": [2, 1]}
    assert list(levels) == expected.get(stress, [12, -20])
    clean = {name: result["metrics"][name] for name in MACRO}
    first, last = levels.values()
    assert first.keys() == set(MACRO)
    assert last != clean and (first == clean or stress not in expected)
    assert len(fits) == (2 if stress == "label_noise" else 1) and all(condition is CLEAN for condition in fits)
    assert result["labels"]["read"] == result["labels"]["allowed"] == 10


def test_the_clean_metrics_are_those_of_the_plain_cell_in_a_folder_of_its_own(stressed, evaluation, tmp_path, fits):
    under = assess(stressed("leads"))
    plain = assess(evaluation("ptbxl", f"results_dir={tmp_path}", *SMALL))
    assert under != plain and "leads" in under.name and under.parent == plain.parent
    first, second = read_result(under), read_result(plain)
    assert first["metrics"] == second["metrics"] and "robustness" not in second
    assert first["robustness"]["twin"] == plain.name
    assert assess(stressed("leads")) == under and len(fits) == 2, "done before"


def test_a_device_that_always_records_like_that_is_learned_from_anew(stressed, fits):
    results = [read_result(assess(stressed("leads", f"robustness.applies_to={each}"))) for each in ("test", "both")]
    assert [condition.name for condition in fits] == ["", "", "II alone, the others by replicate"]
    levels = [result["robustness"]["levels"] for result in results]
    assert levels[0][0] == levels[1][0] and levels[0][1] != levels[1][1]


def test_the_root_of_the_noise_is_no_part_of_a_cells_name(stressed):
    config = stressed("noise_em")
    setting = open_setting(config)
    folder = cell_folder(config, setting.checkpoint, setting.data)
    moved, fewer = config.copy(), config.copy()
    moved.robustness.root, fewer.robustness.levels = "elsewhere", [0]
    assert cell_folder(moved, setting.checkpoint, setting.data) == folder
    assert cell_folder(fewer, setting.checkpoint, setting.data) != folder


@pytest.mark.parametrize("protocol", ["finetune", "linear", "classical", "random_encoder"])
def test_every_kind_of_method_meets_the_stress(stressed, protocol):
    result = read_result(assess(stressed("noise_all", f"protocol={protocol}", "finetune_steps=2")))
    first, last = (each["metrics"] for each in result["robustness"]["levels"])
    assert first != last


def test_beats_can_be_stressed_too(stressed):
    for stress in ("noise_em", "leads", "rate"):
        config = stressed(stress, "data.task=binary", "protocol.beside=[random_encoder]", data="mitbih")
        result = read_result(assess(config))
        assert len(result["robustness"]["levels"]) == 2 and result["baselines"].keys() == {"random_encoder"}


@pytest.mark.parametrize(("stress", "override", "said"), [
    ("leads", "robustness.levels=[5]", "robustness.levels"),
    ("leads", "robustness.levels=[]", "robustness.levels"),
    ("leads", "robustness.levels=[2,2]", "robustness.levels"),
    ("leads", "robustness.applies_to=labels", "robustness.applies_to"),
    ("rate", "robustness.levels=[100,200]", "robustness.levels"),
    ("rate", "robustness.levels=[0]", "robustness.levels"),
    ("levels", "robustness.levels=[7]", "noise level=7"),
    ("levels", "robustness.levels=[1.5]", "noise level=1.5"),
    ("label_noise", "robustness.levels=[110]", "robustness.levels"),
    ("noise_em", "robustness.kinds=[pli]", "kinds"),
])  # fmt: skip
def test_what_cannot_be_is_told_by_name(stressed, stress, override, said):
    with pytest.raises(UserError, match=said):
        assess(stressed(stress, override))


def test_a_prediction_is_no_evaluation_to_be_stressed(evaluation):
    with pytest.raises(UserError, match="protocol=predict is none"):
        predict(evaluation("ptbxl", "robustness=leads", "protocol=predict"))


# --- pictures ---------------------------------------------------------------------------------------------------


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> dict[str, tuple[Any, Any]]:
    """The table and the places of every curve that was drawn since, by the name of its file."""
    found: dict[str, tuple[Any, Any]] = {}
    for module in (robustness, pretraining_share):
        draw = module.draw_curves

        def noted(table: Any, places: Any, path: Path, *rest: Any, draw: Any = draw, **more: Any) -> Path:
            found[path.stem] = table, places
            return cast(Path, draw(table, places, path, *rest, **more))

        monkeypatch.setattr(module, "draw_curves", noted)
    return found


def test_a_sweep_draws_every_stress_and_counts_clean_metrics_once(stressed, evaluation, tmp_path, drawn, capsys):
    own = (f"results_dir={tmp_path}", *SMALL)
    for seed in (0, 1):
        for stress in ("leads", "noise_em"):
            assess(stressed(stress, f"seed={seed}", "protocol.beside=[random_encoder]"))
    assess(evaluation("ptbxl", *own))
    folder = results_folder(evaluation("ptbxl", *own))
    found = {path.name: result for path, result in cells(folder)}
    assert len(found) == 9
    summarise_sweep(folder)
    table = (folder / "results.csv").read_text().splitlines()
    assert len(table) == 1 + 2 * 2, "two methods and two seeds"
    assert drawn.keys() == {"robustness_leads_test_10", "robustness_noise_em_test_10"}
    for name, axis in (("leads", ["2", "1"]), ("noise_em", ["clean", "12", "-20"])):
        rows, places = drawn[f"robustness_{name}_test_10"]
        assert list(places) == axis and list(places.values()) == sorted(places.values())
        assert len(rows) == 2 * 2 * len(axis)
        ours = [result for result in found.values() if result.get("robustness", {}).get("name") == name
                and result["protocol"] == "knn"]  # fmt: skip
        for at in axis:
            values = [
                (result["metrics"] if at in ("clean", "2") else
                 {f"{each['level']}": each["metrics"] for each in result["robustness"]["levels"]}[at])
                ["macro_auroc"]["value"] for result in ours
            ]  # fmt: skip
            mine = rows[(rows["at"] == at) & ~rows["method"].str.contains("random")]
            assert sorted(mine["value"]) == pytest.approx(sorted(values))
            written = (folder / f"robustness_{name}_test_10.md").read_text()
            assert f"{np.mean(values):.3f} [" in written
        assert (folder / f"robustness_{name}_test_10.png").exists()
    assert "signal-to-noise ratio (dB), test signals only" in capsys.readouterr().out


def test_encoders_of_several_shares_make_one_curve(evaluation, tiny_checkpoint, tmp_path, drawn):
    known, values = read_checkpoint(tiny_checkpoint), []
    for share in (1.0, 0.25):
        with torch.no_grad():
            next(known.encoder.parameters()).add_(0.01)
        training = {**known.training, "data": {**known.training["data"], "share": share}}
        save_encoder(tmp_path / f"{share}.pt", known.encoder, known.config, training)
        for seed in (0, 1):
            config = evaluation("ptbxl", f"results_dir={tmp_path / 'all'}", *SMALL, f"seed={seed}",
                                f"checkpoint={tmp_path / f'{share}.pt'}")  # fmt: skip
            result = read_result(assess(config))
            assert result["encoder"]["pretraining_share"] == share
            values.append((f"{100 * share:g}", result["metrics"]["macro_auroc"]["value"]))
    summarise_sweep(results_folder(config))
    rows, places = drawn["pretraining_share_10"]
    assert list(places) == ["25", "100"] and rows["method"].nunique() == 1
    assert sorted(zip(rows["at"], rows["value"], strict=True)) == sorted(values)


def test_encoders_of_one_share_make_no_curve_of_it(stressed, drawn):
    config = stressed("leads")
    assess(config)
    summarise_sweep(results_folder(config))
    assert drawn.keys() == {"robustness_leads_test_10"}


def test_a_stressed_cell_stands_for_its_twin_only_where_that_is_missing():
    def cell(name: str, twin: str | None = None) -> tuple[Path, Any]:
        return Path("all") / name, {} if twin is None else {"robustness": {"twin": twin}}

    plain, one, other, lonely = cell("b"), cell("a-noise", "b"), cell("c-leads", "b"), cell("d-noise", "z")
    again = cell("e-leads", "z")
    assert robustness.without_twins([one, plain, other, lonely, again]) == [plain, lonely]


def test_stresses_called_alike_that_differ_share_no_picture(stressed, drawn):
    for kinds in ("[em]", "[ma]"):
        config = stressed("noise_em", f"robustness.kinds={kinds}")
        assess(config)
    summarise_sweep(results_folder(config))
    assert len(drawn) == 2 and all(name.startswith("robustness_noise_em_test_10") for name in drawn)


def test_the_condition_enters_what_the_encoder_reads(evaluation, tiny_checkpoint):
    checkpoint = read_checkpoint(tiny_checkpoint)
    data = build_data(evaluation("ptbxl").data, checkpoint.encoder.spec)
    stress = LostLeads("leads", tuple(SETS))
    stress.prepare(checkpoint.encoder.spec)
    raw = next(iter(data.loader(data.windows(data.labelled.of("test")), shuffle=False)))
    lost = to_signal(raw, data.spec, stress._conditions[1]).x
    assert torch.allclose(lost[:, 1], lost[:, 0], atol=1e-6), "V1 by replicating II"
    assert not torch.allclose(to_signal(raw, data.spec).x[:, 1], lost[:, 1])
