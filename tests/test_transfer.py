"""`protocol=transfer`: pretrained on A, evaluated on B, on two small data sets of which all is known."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import PROJECT
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig
from sklearn.metrics import roc_auc_score

from ecg_lightning import question
from ecg_lightning.assessment import assess
from ecg_lightning.build import plain
from ecg_lightning.data.budget import SealedLabels
from ecg_lightning.encoders.checkpoint import read_checkpoint, save_encoder
from ecg_lightning.encoders.vit import ViT
from ecg_lightning.errors import UserError
from ecg_lightning.leads import TWELVE_LEADS
from ecg_lightning.question import open_setting, results_folder
from ecg_lightning.results import cells, read_predictions, read_result
from ecg_lightning.signal import SignalSpec
from ecg_lightning.transfer import assess_transfer
from ecg_lightning.zero_label import FILENAME, assess_zero_label, correspond, find_teacher

WAVES = {"slow": 2.0, "fast": 7.0}
"""Hz: what the classes of A are about; B calls them otherwise."""
IN_B = {"slow": "Slow", "fast": "Quick"}
MAP = {"source": "the test", "learn_from": {"labels": "label"}, "classes": {"Slow": ["slow"], "Quick": ["fast"]}}


def write_waves(root: Path, names: dict[str, str], seed: int) -> Path:
    """Forty recordings of two leads, each with one wave, both or none, and a label that is no wave for the rest."""
    root.mkdir()
    rng, rows, time = np.random.default_rng(seed), [], np.arange(400) / 100
    for number in range(40):
        there = [name for name, bit in zip(WAVES, (number % 4 < 2, number % 2 == 0), strict=True) if bit]
        phase = rng.uniform(0, 2 * np.pi, (2, 1))
        signal = sum((np.sin(2 * np.pi * WAVES[name] * time + phase) for name in there), np.zeros((2, 400)))
        np.save(root / f"r{number}.npy", (0.3 * signal + rng.normal(scale=0.03, size=(2, 400))).astype(np.float32))
        label = ";".join([names[name] for name in there] or ["Else"])
        rows.append({"path": f"r{number}.npy", "fs": 100, "leads": "II V1", "unit": "mV", "label": label,
                     "fold": "train" if number < 24 else "test"})  # fmt: skip
    pd.DataFrame(rows).to_csv(root / "records.csv", index=False)
    return root


@pytest.fixture(scope="module")
def roots(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The folders of A and B, and of B with other labels in its training split."""
    base = tmp_path_factory.mktemp("waves")
    found = {"a": write_waves(base / "a", {name: name for name in WAVES}, 0), "b": write_waves(base / "b", IN_B, 1),
             "garbled": write_waves(base / "garbled", IN_B, 1)}  # fmt: skip
    table = pd.read_csv(found["garbled"] / "records.csv")
    table.loc[:23, "label"] = np.roll(table["label"][:24], 3)
    table.to_csv(found["garbled"] / "records.csv", index=False)
    (base / "map.yaml").write_text(json.dumps(MAP))
    return found | {"map": base / "map.yaml"}


@pytest.fixture(autouse=True)
def fresh_setting() -> Iterator[None]:
    yield
    question._setting.cache_clear()


Compose = Callable[..., DictConfig]


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def composed(tiny_checkpoint: Path, cache: Path, tmp_path: Path) -> Compose:
    """Composes `conf/evaluate.yaml` for a quick transfer."""

    def make(*overrides: str) -> DictConfig:
        quick = ("protocol=transfer", f"cache_dir={cache}", "resamples=20", "protocol.seeds=1",
                 "protocol.budgets=['0.5-of-all',full]", f"checkpoint={tiny_checkpoint}")  # fmt: skip
        config = composition(*quick, *overrides).copy()
        config.results_dir = str(tmp_path / "out")
        return config

    return make


@lru_cache
def composition(*overrides: str) -> DictConfig:
    with initialize_config_dir(str(PROJECT / "conf"), version_base="1.3"):
        return compose("evaluate", list(overrides))


@pytest.fixture
def from_a(composed: Compose, roots: dict[str, Path]) -> Compose:
    """Composes the transfer from A to B with the map."""

    def make(*overrides: str, b: str = "b") -> DictConfig:
        return composed("data=folder", f"data.root={roots[b]}", "data@learn_from=folder",
                        f"learn_from.root={roots['a']}", f"protocol.map={roots['map']}",
                        "protocol.methods=[linear,random_encoder]", *overrides)  # fmt: skip

    return make


def zero_label(config: DictConfig) -> tuple[Path, dict[str, Any]]:
    """The one row without labels of B, and its folder."""
    path = next(results_folder(config).rglob(FILENAME))
    return path.parent, json.loads(path.read_text())


def head_from_a(config: DictConfig) -> tuple[Path, dict[str, Any]]:
    """The row without labels of B, and its folder, without a grid."""
    setting, teacher = open_setting(config), find_teacher(config, read_checkpoint(config.checkpoint))
    assess_zero_label(config, teacher, setting, correspond(config, teacher, setting), [])
    return zero_label(config)


# --- a head from A ----------------------------------------------------------------------------------------------


def test_a_head_from_a_knows_the_classes_of_b_by_the_map(from_a: Compose) -> None:
    config = from_a()
    folder, said = head_from_a(config)
    truth = open_setting(config).truth
    p = read_predictions(folder).probability
    assert said["map"]["meant"] == {"Quick": ["fast"], "Slow": ["slow"]}
    assert said["map"]["left_out"] == {"Else": "not in the map"}
    for column, (name, of_b) in enumerate((("Quick", 1), ("Slow", 2))):
        expected = roc_auc_score(truth[:, of_b], p[:, column])
        assert said["metrics"][f"auroc/{name}"]["value"] == pytest.approx(expected) and expected > 0.95
    assert said["labels"] == {"allowed": 0, "read": 0} and said["learned_from"]["labels"] == 24
    assert said["learned_from"]["name"] == "folder" and said["map"]["source"] == "the test"


def test_the_map_decides_which_class_is_which(from_a: Compose, tmp_path: Path) -> None:
    turned = tmp_path / "turned.yaml"
    turned.write_text(json.dumps(MAP | {"classes": {"Slow": ["fast"]}}))
    config = from_a(f"protocol.map={turned}")
    folder, said = head_from_a(config)
    y = open_setting(config).truth
    assert list(said["map"]["meant"]) == ["Slow"] and set(said["map"]["left_out"]) == {"Quick", "Else"}
    assert roc_auc_score(y[:, 1], read_predictions(folder).probability[:, 0]) > 0.95, "column 1 of B is Quick"
    assert said["metrics"]["macro_auroc"]["value"] < 0.8


def test_heads_from_b_are_judged_on_the_same_classes(from_a: Compose) -> None:
    config = from_a()
    folders = assess_transfer(config)
    _, said = zero_label(config)
    assert len(said["beside"]) == len(folders) == 2 * 2
    for folder, beside in zip(folders, said["beside"], strict=True):
        own = read_result(folder)
        assert (beside["protocol"], beside["budget"]) == (own["protocol"], own["budget"])
        expected = np.mean([own["metrics"][f"auroc/{name}"]["value"] for name in ("Quick", "Slow")])
        assert beside["metrics"]["macro_auroc"]["value"] == pytest.approx(expected)
        assert "auroc/Else" in own["metrics"] and "auroc/Else" not in beside["metrics"]


def test_no_label_of_b_enters_the_head_from_a(
    from_a: Compose, roots: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    seals: list[SealedLabels] = []

    def sealed(*given: Any) -> SealedLabels:
        seals.append(SealedLabels(*given))
        return seals[-1]

    monkeypatch.setattr("ecg_lightning.evaluation.setting.SealedLabels", sealed)
    said = []
    for b in ("b", "garbled"):
        config = from_a(b=b)
        said.append(read_predictions(head_from_a(config)[0]).probability)
        of_a = find_teacher(config, read_checkpoint(config.checkpoint)).setting.train.y
        assert seals and all(np.array_equal(seal._y, of_a) for seal in seals), "labels of B were given out"
        seals.clear()
        for path in results_folder(config).rglob(FILENAME):
            path.unlink()
    np.testing.assert_array_equal(*said)
    truths = [pd.read_csv(roots[b] / "records.csv")["label"][:24] for b in ("b", "garbled")]
    assert (truths[0] != truths[1]).any()


def test_the_head_is_trained(from_a: Compose, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A published script leaves its head as it was initialised: that one guesses."""

    def area(**change: Any) -> float:
        config = from_a()
        for key, value in change.items():
            config[key] = value
        return float(head_from_a(config)[1]["metrics"]["macro_auroc"]["value"])

    trained, chance = area(), []
    for seed in range(4):
        generator = torch.Generator().manual_seed(seed)

        def untrained(rows: Any, y: Any, classes: int, every: Any, *rest: Any, of: Any = generator) -> Any:
            weight = torch.randn(len(every), rows.shape[1], classes, generator=of, dtype=torch.float64)
            return weight, torch.zeros(len(every), classes, dtype=torch.float64)

        monkeypatch.setattr("ecg_lightning.evaluation.linear.fit_together", untrained)
        chance.append(area(results_dir=str(tmp_path / f"untrained{seed}")))
    assert trained > 0.95 > max(chance)


def test_a_head_learns_from_the_people_that_pretraining_saw(
    from_a: Compose, tiny_checkpoint: Path, tmp_path: Path
) -> None:
    everybody = from_a()
    people = find_teacher(everybody, read_checkpoint(tiny_checkpoint)).setting.data.patients("train")[::2].tolist()
    content = torch.load(tiny_checkpoint, weights_only=True)
    content["training"]["config"] = {"data": plain(everybody.learn_from)}
    content["training"]["data"] |= {"name": "folder", "patients": people, "share": 0.5}
    torch.save(content, tmp_path / "encoder.pt")
    config = from_a(f"checkpoint={tmp_path / 'encoder.pt'}")
    config.learn_from = None
    teacher = find_teacher(config, read_checkpoint(config.checkpoint))
    learned = teacher.cell(config)
    patient = learned.data.store.patient[learned.train.examples.row[learned.budget]]
    assert sorted(patient) == people and len(people) == 12
    said = head_from_a(config)[1]
    assert said["learned_from"]["labels"] == 12 and said["encoder"]["pretraining_share"] == 0.5
    content["training"]["data"]["patients"] = ["somebody/else"]
    torch.save(content, config.checkpoint)
    with pytest.raises(UserError, match=r"folder: nobody whom pretraining saw is labelled.*data@learn_from"):
        head_from_a(config)


# --- what is refused --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"classes": {"Slow": ["slw"]}}, r"mine\.yaml: classes\.Slow names slw, which is no class"),
        ({"classes": {"Slw": ["slow"]}}, r"mine\.yaml: classes names Slw, which is no class"),
        ({"learn_from": {"task": "all"}}, r"mine\.yaml: learn_from\.task is no key of data=folder"),
        ({"classes": []}, r"mine\.yaml: classes must hold entries"),
    ],
)
def test_a_map_of_other_data_is_refused_before_a_recording_is_read(
    from_a: Compose, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: dict[str, Any], message: str
) -> None:
    monkeypatch.setattr("ecg_lightning.data.module.prepare", None)
    (tmp_path / "mine.yaml").write_text(json.dumps(MAP | change))
    with pytest.raises(UserError, match=message):
        assess_transfer(from_a(f"protocol.map={tmp_path / 'mine.yaml'}"))


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("protocol.map=nowhere", r"protocol\.map=nowhere is neither a file nor one of ptbxl_g12ec"),
        ("~learn_from", r"not pretrained on one data set.*data@learn_from"),
        ("protocol.missing=invent", r"protocol\.missing='invent' must be null or one of replicate"),
        ("protocol.budgets=['10']", r"protocol\.budgets: 10 is no share"),
        ("protocol.budgets=[some]", r"some.*is no budget"),
        ("protocol.methods=[lineer]", r"protocol\.methods.*linear"),
        ("protocol.methods=[]", r"protocol\.methods"),
        ("protocol.seeds=0", r"protocol\.seeds"),
        ("protocol.map=3", r"protocol\.map=3 must be a name"),
    ],
)
def test_what_cannot_be_is_one_message(from_a: Compose, override: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        assess_transfer(from_a(override))


def test_labels_of_test_patients_are_refused(from_a: Compose, roots: dict[str, Path], tmp_path: Path) -> None:
    """A, of which B tests a recording that A's head learns from."""
    mixed = write_waves(tmp_path / "mixed", IN_B, 1)
    np.save(mixed / "r30.npy", np.load(roots["a"] / "r3.npy"))
    with pytest.raises(UserError, match=r"labels of folder are also of copies of r30\.npy in the test split"):
        assess_transfer(from_a(f"data.root={mixed}"))
    said = head_from_a(from_a(f"data.root={mixed}", "allow_seen_patients=true"))[1]
    assert said["learned_from"]["leakage"]["pretraining_copies"] == 1


def test_a_map_whose_classes_nobody_has_is_refused(from_a: Compose, roots: dict[str, Path], tmp_path: Path) -> None:
    """Names that there are, of which A's training split knows nothing."""
    other = write_waves(tmp_path / "other", {name: name for name in WAVES}, 3)
    table = pd.read_csv(other / "records.csv")
    table.loc[:23, "label"], table.loc[24:, "label"] = "Else;even", "slow;fast"
    table.loc[0, "label"] = "even"
    table.to_csv(other / "records.csv", index=False)
    with pytest.raises(UserError, match=r"covers no class.*Slow: nobody to learn slow from"):
        assess_transfer(from_a(f"learn_from.root={other}"))


# --- the grid ---------------------------------------------------------------------------------------------------


def test_a_cell_of_the_transfer_is_the_cell_of_its_own_protocol(from_a: Compose, tmp_path: Path) -> None:
    config = from_a("protocol.budgets=['0.5-of-all']")
    folders = assess_transfer(config)
    for folder, protocol in zip(folders, ("linear", "random_encoder"), strict=True):
        alone = from_a()
        alone.results_dir = str(tmp_path / "alone")
        alone.protocol = alone.beside[protocol]
        alone.protocol.beside = []
        alone.budget = {"_target_": "ecg_lightning.data.budget.LabelBudget", "fraction": 0.5}
        own = assess(alone)
        assert own.name == folder.name
        first, second = (read_predictions(each).probability for each in (own, folder))
        np.testing.assert_allclose(first, second, atol=1e-6)
        assert read_result(own)["labels"] == read_result(folder)["labels"]


def test_budgets_that_cannot_be_drawn_are_told_and_the_others_go_on(
    from_a: Compose, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rare = write_waves(tmp_path / "rare", {"slow": "Slow", "fast": "Slow"}, 5)
    table = pd.read_csv(rare / "records.csv")
    table["label"] = np.where(table["label"] == "Else", "Else", "Slow")
    table.loc[[0, 39], "label"] = "rare"
    table.to_csv(rare / "records.csv", index=False)
    given = (f"data.root={rare}", "protocol.map=null", "protocol.methods=[linear]", "protocol.seeds=2")
    folders = assess_transfer(from_a(*given, "protocol.budgets=['0.1-of-all',full]"))
    assert [read_result(folder)["budget"] for folder in folders] == ["full", "full"]
    told = re.findall(
        r"not drawn, label seeds ([\d, ]+): budget=0\.1-of-all holds no example of", capsys.readouterr().out
    )
    assert sorted(", ".join(told).split(", ")) == ["0", "1"]
    with pytest.raises(UserError, match=r"protocol\.budgets: none can be drawn: budget=0\.1-of-all"):
        assess_transfer(from_a(*given, "protocol.budgets=['0.1-of-all']"))


def test_ptbxl_to_mitbih_with_two_leads_for_twelve(
    composed: Compose, synthetic_root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.manual_seed(3)
    size = {"dim": 16, "depth": 1, "heads": 2, "patch_seconds": 0.5}
    encoder = ViT(SignalSpec.of_seconds(100, TWELVE_LEADS, 10), **size)
    training = {"data": {"name": "ptbxl", "patients": ["ptbxl/1"]}, "config": {}, "objective": "MAE", "learned": True,
                "commit": "unknown"}  # fmt: skip
    save_encoder(tmp_path / "encoder.pt", encoder, {"_target_": "ecg_lightning.encoders.vit.ViT", **size}, training)
    stood_in: dict[str, dict[str, int]] = {}
    for missing in ("replicate", "zero"):
        config = composed("data=mitbih", "data.view=windows", "data.task=binary", f"protocol.missing={missing}",
                          f"data.root={synthetic_root / 'mitdb'}", f"checkpoint={tmp_path / 'encoder.pt'}",
                          "finetune_steps=2", "protocol.budgets=[full]")  # fmt: skip
        config.beside.scratch.method.batch_size = config.beside.finetune.method.batch_size = 2
        results = [read_result(folder) for folder in assess_transfer(config)]
        names = {"linear", "finetune", "scratch", "random_encoder", "classical"}
        assert {result["protocol"] for result in results} == names
        assert all(result["data"]["missing"] == result["config"]["data"]["missing"] == missing for result in results)
        assert all(result["labels"]["read"] == result["labels"]["allowed"] for result in results)
        stood_in[missing] = results[0]["data"]["substituted_leads"]
    assert not list(results_folder(config).rglob(FILENAME)), "there is no map, hence no row without labels"
    assert all(pair.endswith("zero") for pair in stood_in["zero"]) and len(stood_in["zero"]) >= 10
    assert not any(pair.endswith("zero") for pair in stood_in["replicate"])
    assert len(list(cells(results_folder(config)))) == 2 * 5, "each rule has cells of its own"
    told = capsys.readouterr().out
    assert "rule for missing leads: replicate" in told and "pretrained on ptbxl" in told


def test_shares_of_a_have_a_table_and_a_curve(
    from_a: Compose, tiny_checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    content = torch.load(tiny_checkpoint, weights_only=True)
    for number, share in enumerate((0.1, 1.0)):
        path = tmp_path / f"encoder{number}.pt"
        content["training"]["data"]["share"] = share
        content["weights"] = {key: value * (1 + number) for key, value in content["weights"].items()}
        torch.save(content, path)
        assess_transfer(from_a(f"checkpoint={path}", "protocol.map=null", "protocol.budgets=[full]"))
    told = capsys.readouterr().out
    folder = results_folder(from_a())
    assert told.count("by the share of elsewhere that pretraining saw") == 1, "only once there are two shares"
    assert "encoder pretrained on 10 % of elsewhere" in told
    assert (folder / "pretraining_share_full.png").stat().st_size > 0
    assert len(list(folder.glob("transfer-*.md"))) == len(list(folder.glob("transfer-????????.png"))) == 2
    written = max((path.read_text() for path in folder.glob("transfer-*.md")), key=len)
    rows = [line for line in written.splitlines() if line.startswith("| MAE, linear probe, full labels of folder |")]
    values = {
        result["encoder"]["pretraining_share"]: f"{result['metrics']['macro_auroc']['value']:.3f}"
        for _, result in cells(folder)
        if (result["protocol"], result["budget"]) == ("linear", "full")
    }
    assert rows == [f"| MAE, linear probe, full labels of folder | {values[0.1]} | {values[1.0]} |"]
