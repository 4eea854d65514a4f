"""A row and a picture for every recording, whoever labelled what."""

from __future__ import annotations

import csv
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import wfdb
from conftest import PROJECT
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig

from ecg_lightning import prediction
from ecg_lightning.data.budget import SealedLabels
from ecg_lightning.encoders.checkpoint import save_encoder
from ecg_lightning.encoders.vit import ViT
from ecg_lightning.errors import UserError
from ecg_lightning.prediction import predict
from ecg_lightning.signal import SignalSpec

Compose = Callable[..., DictConfig]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An encoder for windows of 5 s that knows nothing of what it was pretrained on."""
    torch.manual_seed(7)
    size = {"dim": 16, "depth": 1, "heads": 2, "patch_seconds": 0.25}
    encoder = ViT(SignalSpec.of_seconds(100, ("II", "V1"), 5), **size)
    path = tmp_path_factory.mktemp("run") / "encoder.pt"
    training = {"data": {"name": "elsewhere", "patients": []}, "config": {}, "objective": "MAE", "learned": True,
                "commit": "unknown"}  # fmt: skip
    save_encoder(path, encoder, {"_target_": "ecg_lightning.encoders.vit.ViT", **size}, training)
    return path


@pytest.fixture
def folder(tmp_path: Path, synthetic_root: Path) -> Path:
    """Six recordings of 10 s without labels, two leads each."""
    root = tmp_path / "mine"
    root.mkdir()
    for number, header in enumerate(sorted((synthetic_root / "ptbxl/records100").rglob("*.hea"))[:6]):
        record = wfdb.rdrecord(str(header.with_suffix("")))
        np.save(root / f"r{number}.npy", record.p_signal[:, [1, 6]].T.astype(np.float32))
    rows = [{"path": f"r{i}.npy", "fs": 100, "leads": "II V1", "unit": "mV"} for i in range(6)]
    pd.DataFrame(rows).to_csv(root / "records.csv", index=False)
    return root


@pytest.fixture
def composed(checkpoint: Path, folder: Path, synthetic_root: Path, tmp_path: Path) -> Compose:
    def make(*overrides: str) -> DictConfig:
        out = [f"cache_dir={tmp_path / 'cache'}", f"results_dir={tmp_path / 'out'}"]
        common = ["protocol=predict", "data=folder", f"data.root={folder}", f"checkpoint={checkpoint}", *out,
                  "protocol.pictures=2"]  # fmt: skip
        with initialize_config_dir(str(PROJECT / "conf"), version_base="1.3"):
            return compose("evaluate", [*common, *overrides])

    return make


def learned_from(synthetic_root: Path) -> list[str]:
    return ["data@learn_from=synthetic", f"learn_from.root={synthetic_root / 'ptbxl'}"]


def rows_in(folder: Path) -> list[dict[str, str]]:
    with (folder / "predictions.csv").open() as file:
        return list(csv.DictReader(file))


def test_every_recording_has_a_row_and_some_a_picture(composed: Compose, synthetic_root: Path) -> None:
    out = predict(composed(*learned_from(synthetic_root)))
    rows = rows_in(out)
    assert [row["record"] for row in rows] == [f"r{i}.npy" for i in range(6)]
    for row in rows:
        for name in ("CD", "HYP", "MI", "NORM", "STTC"):
            assert 0 <= float(row[f"p_{name}"]) <= 1
    assert len(list((out / "pictures").glob("*.png"))) == 2
    said = json.loads((out / "prediction.json").read_text())
    assert said["learned_from"]["name"] == "synthetic" and said["classes"] == ["CD", "HYP", "MI", "NORM", "STTC"]
    assert said["learned_from"]["labels"] > 30 and said["encoder"] and said["commit"]


def test_a_recording_says_the_same_alone_and_in_company_and_its_windows_are_averaged(
    composed: Compose, synthetic_root: Path, folder: Path
) -> None:
    """Against the same command on each half of every recording."""
    source = learned_from(synthetic_root)
    together = rows_in(predict(composed(*source, "data.long_records=windows")))
    halves = []
    for number in range(6):
        signal = np.load(folder / f"r{number}.npy")
        for half in (0, 1):
            np.save(folder / f"h{number}{half}.npy", signal[:, 500 * half : 500 * (half + 1)])
            halves.append({"path": f"h{number}{half}.npy", "fs": 100, "leads": "II V1", "unit": "mV"})
    pd.DataFrame(halves).to_csv(folder / "records.csv", index=False)
    apart = {row["record"]: row for row in rows_in(predict(composed(*source)))}
    for number, row in enumerate(together):
        for name in ("p_MI", "p_NORM"):
            mean = np.mean([float(apart[f"h{number}{half}.npy"][name]) for half in (0, 1)])
            assert float(row[name]) == pytest.approx(mean, abs=2e-3)


def test_the_folders_own_labels_come_first(composed: Compose, folder: Path) -> None:
    table = pd.read_csv(folder / "records.csv")
    table["label"], table["fold"] = ["a", "b", "a", "b", "", ""], ["train"] * 4 + ["test"] * 2
    table.to_csv(folder / "records.csv", index=False)
    rows = rows_in(predict(composed()))
    assert len(rows) == 6 and [row["predicted"] in "ab" for row in rows] == [True] * 6
    assert [row["split"] for row in rows] == ["train"] * 4 + ["test"] * 2
    for row in rows:
        assert float(row["p_a"]) + float(row["p_b"]) == pytest.approx(1, abs=2e-4)


def test_a_bad_recording_has_a_row_that_says_why(composed: Compose, synthetic_root: Path, folder: Path) -> None:
    spoiled = np.load(folder / "r3.npy")
    spoiled[0, 7] = np.nan
    np.save(folder / "r3.npy", spoiled)
    with pytest.raises(UserError, match=r"r3\.npy.*data\.on_bad_record=skip"):
        predict(composed(*learned_from(synthetic_root)))
    rows = rows_in(predict(composed(*learned_from(synthetic_root), "data.on_bad_record=skip")))
    assert len(rows) == 6
    assert [row["fault"] != "" for row in rows] == [False] * 5 + [True]
    assert "NaN" in rows[5]["fault"] and rows[5]["p_MI"] == ""


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ([], r"no labels to learn from.*data@learn_from=ptbxl"),
        (["data=mitbih"], r"data=mitbih labels beats.*data=folder"),
        (["protocol.pictures=-1"], r"protocol\.pictures=-1 must be a whole number"),
        (["data.root=nowhere"], r"data\.root=nowhere is missing"),
        (["checkpoint=nowhere.pt"], r"checkpoint=nowhere\.pt: cannot be read"),
    ],
)
def test_what_cannot_be_is_one_message(composed: Compose, overrides: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        predict(composed(*overrides))


def test_no_label_outside_the_budget_is_read(
    composed: Compose, synthetic_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seals: list[SealedLabels] = []
    monkeypatch.setattr(prediction, "SealedLabels", lambda *given: seals.append(SealedLabels(*given)) or seals[-1])
    out = predict(composed(*learned_from(synthetic_root), "budget='25'", "protocol.pictures=0"))
    assert len(seals) == 1 and len(seals[0].read) == 25
    assert json.loads((out / "prediction.json").read_text())["learned_from"]["labels"] == 25


def test_the_command_line(checkpoint: Path, folder: Path, synthetic_root: Path, tmp_path: Path) -> None:
    shutil.copy(checkpoint, tmp_path / "encoder.pt")
    args = ["protocol=predict", "data=folder", f"data.root={folder}", "checkpoint=encoder.pt",
            *learned_from(synthetic_root), "budget=25"]  # fmt: skip
    run = subprocess.run(
        [sys.executable, str(PROJECT / "evaluate.py"), *args],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    assert "mine" not in run.stderr and "from 25 labels of synthetic" in run.stderr
    table = next((tmp_path / "predictions").rglob("predictions.csv"))
    assert len(pd.read_csv(table)) == 6
