"""The guard: what must never be on both sides of a result is found, whatever it is called."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import NO_LEAKAGE
from omegaconf import DictConfig

from ecg_lightning import question
from ecg_lightning.assessment import assess
from ecg_lightning.build import build_data
from ecg_lightning.data.mitbih import MITBIH
from ecg_lightning.data.ptbxl import PTBXL
from ecg_lightning.encoders.checkpoint import read_checkpoint
from ecg_lightning.errors import UserError
from ecg_lightning.evaluation.leakage import find_leakage
from ecg_lightning.results import read_result


@pytest.fixture(autouse=True)
def fresh_setting() -> Iterator[None]:
    yield
    question._setting.cache_clear()


@pytest.fixture
def leakage_of(evaluation: Callable[..., DictConfig], tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """The leakage that the result of a cell states, or the error that refuses it."""

    def find(data: str, *overrides: str, root: Path | None = None, **pretraining: Any) -> dict[str, Any]:
        task = ("data.task=binary",) if data == "mitbih" else ()
        config = evaluation(data, *task, "budget=10", "resamples=0", "protocol.beside=[]",
                            f"results_dir={tmp_path / 'results'}", *overrides)  # fmt: skip
        if root is not None:
            config.data.root, config.data.cache_dir = str(root), str(tmp_path / "cache")
        content = torch.load(config.checkpoint, weights_only=True)
        content["training"]["data"] |= pretraining
        config.checkpoint = str(tmp_path / "encoder.pt")
        torch.save(content, config.checkpoint)
        question._setting.cache_clear()  # it goes by the file's name
        result = read_result(assess(config))
        assert result is not None
        return {**result["leakage"], "split": result["split"]}

    return find


# --- people -----------------------------------------------------------------------------------------------------

PEOPLE = {
    "a patient of the test split": ("mitbih", ["mitbih/100"], "pretraining saw 1 patient (mitbih/100)"),
    "rows cut from the same patients": (
        "mitbih",
        ["mitbih/kaggle:train-17"],
        "pretraining may have seen|pretraining saw people of mitbih under other names",
    ),
    "the same clinic's recordings under a challenge's names": (
        "ptbxl",
        ["g12ec/cinc:E00001", "ptbxl/cinc:HR00001"],
        "pretraining saw people of ptbxl under other names",
    ),
}


@pytest.mark.parametrize("case", PEOPLE)
def test_an_encoder_that_saw_the_test_splits_people_is_refused_unless_allowed(
    leakage_of: Callable[..., Any], case: str
) -> None:
    data, patients, said = PEOPLE[case]
    with pytest.raises(UserError) as refused:
        leakage_of(data, patients=patients)
    assert any(part in str(refused.value) for part in said.split("|"))
    assert "of the test split" in str(refused.value) and "allow_seen_patients=true" in str(refused.value)
    found = leakage_of(data, "allow_seen_patients=true", patients=patients)
    assert found["allowed"] is True
    assert found["pretraining_patients"] + len(found["pretraining_populations_unclear"]) == 1


@pytest.mark.parametrize(
    ("data", "patients"),
    [
        ("mitbih", ["mitbih/101", "mitbih/106", "ptbxl/100"]),
        ("mitbih", ["incart/kaggle:100", "ptbxl/cinc:HR00100"]),
        ("ptbxl", ["mitbih/100", "synthetic/1", "g12ec/cinc:E00001"]),
    ],
)
def test_other_people_are_none_of_its_business(leakage_of: Callable[..., Any], data: str, patients: list[str]) -> None:
    assert leakage_of(data, patients=patients) == {**NO_LEAKAGE, "split": "inter-patient"}


@pytest.fixture
def holter(synthetic_root: Path, tmp_path: Path) -> Path:
    """Two Holter recordings of DS1 and two of DS2, one of which is now called 202, and its like 201."""
    folder = tmp_path / "mitdb"
    shutil.copytree(synthetic_root / "mitdb", folder)
    for old, new in (("103", "202"), ("106", "201")):
        for path in sorted(folder.glob(f"{old}.*")):
            path.rename(path.with_stem(new))
        header = folder / f"{new}.hea"
        header.write_text(header.read_text().replace(f"{old} ", f"{new} ", 1).replace(f"{old}.dat", f"{new}.dat"))
    return folder


def test_201_and_202_are_one_man(
    holter: Path, tmp_path: Path, leakage_of: Callable[..., Any], tiny_checkpoint: Path
) -> None:
    spec = read_checkpoint(tiny_checkpoint).encoder.spec
    within = MITBIH(name="mitbih", root=holter, spec=spec, cache_dir=tmp_path / "cache", split="intra_patient")
    seen = within.seen()["patients"]
    assert "mitbih/201" in seen and "mitbih/202" not in seen and "202" in within.store.record_id
    between = MITBIH(name="mitbih", root=holter, spec=spec, cache_dir=tmp_path / "cache")
    assert "mitbih/201" not in between.seen()["patients"] and "mitbih/201" in between.patients("test")
    with pytest.raises(UserError, match=r"saw .*mitbih/201"):
        leakage_of("mitbih", root=holter, patients=seen)
    assert not leakage_of("mitbih", root=holter, patients=between.seen()["patients"])["pretraining_patients"]


def test_a_split_within_patients_says_so_and_still_minds_other_data_sets(leakage_of: Callable[..., Any]) -> None:
    found = leakage_of("mitbih", "data.split=intra_patient", patients=["mitbih/100"])
    assert found["split"] == "intra-patient" and found["training_patients"] == 4 and found["allowed"] is False
    with pytest.raises(UserError, match=r"pretraining may have seen people of mitbih under other names"):
        leakage_of("mitbih", "data.split=intra_patient", "seed=1", patients=["mitbih/kaggle:train-1"])


def test_training_patients_in_the_test_split_are_refused(
    leakage_of: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A data set whose author gave one patient's recordings to both sides."""

    def split(self: PTBXL, store: Any) -> Any:
        return np.where(np.arange(len(store)) % 2 == 0, 0, 2).astype(np.int8)

    monkeypatch.setattr(PTBXL, "split_of_records", split)
    with pytest.raises(UserError, match=r"the training split holds \d+ patients? \(ptbxl/.* of the test split"):
        leakage_of("ptbxl")
    found = leakage_of("ptbxl", "allow_seen_patients=true")
    assert found["training_patients"] > 0 and found["training_copies"] == 0 and found["allowed"]


# --- copies -----------------------------------------------------------------------------------------------------


def put_in_place_of(folder: Path, original: int, copy: int) -> None:
    """The samples of one recording under another's number, at both rates."""
    table = pd.read_csv(folder / "ptbxl_database.csv", index_col="ecg_id")
    for column in ("filename_lr", "filename_hr"):
        source, target = (folder / table.loc[number, column] for number in (original, copy))
        for suffix in (".hea", ".dat"):
            content = source.with_name(source.name + suffix).read_bytes()
            if suffix == ".hea":
                content = content.replace(source.name.encode(), target.name.encode())
            target.with_name(target.name + suffix).write_bytes(content)


@pytest.fixture
def clinic(synthetic_root: Path, tmp_path: Path) -> tuple[Path, int, int]:
    """A folder in PTB-XL's layout of one's own, with numbers of a training and a test recording that are labelled."""
    folder = Path(shutil.copytree(synthetic_root / "ptbxl", tmp_path / "ptbxl"))
    data = PTBXL(name="p", root=folder, spec=build_spec(), cache_dir=tmp_path / "first")
    train, test = (int(data.store.record_id[data.labelled.of(split).row[0]]) for split in ("train", "test"))
    return folder, train, test


def build_spec() -> Any:
    from ecg_lightning.signal import SignalSpec

    return SignalSpec.of_seconds(100, ("II", "V1"), 4)


def test_a_training_recording_under_another_name_in_the_test_split_is_found(
    leakage_of: Callable[..., Any], clinic: tuple[Path, int, int]
) -> None:
    folder, train, test = clinic
    assert leakage_of("ptbxl", root=folder) == {**NO_LEAKAGE, "split": "inter-patient"}
    put_in_place_of(folder, train, test)
    question._setting.cache_clear()
    with pytest.raises(
        UserError, match=rf"the training split holds exact copies of 1 recording \({test}\) of the test"
    ):
        leakage_of("ptbxl", root=folder)
    found = leakage_of("ptbxl", "allow_seen_patients=true", root=folder)
    assert found == {**NO_LEAKAGE, "training_copies": 1, "allowed": True, "split": "inter-patient"}


def test_a_recording_of_pretraining_under_another_name_and_population_is_found(
    leakage_of: Callable[..., Any], clinic: tuple[Path, int, int], tmp_path: Path
) -> None:
    folder, _, test = clinic
    elsewhere = PTBXL(name="e", root=folder, spec=build_spec(), cache_dir=tmp_path / "other", population="elsewhere")
    numbers = elsewhere.store.record_id.tolist()
    # As if all of its folds had been trained on.
    digests = [int(each, 16) - (1 << 64) * (int(each, 16) >> 63) for each in elsewhere.store.digest]
    seen = {"patients": sorted(set(elsewhere.store.patient.tolist())), "digests": digests}
    tested = int(np.sum(elsewhere.labelled.of("test").row >= 0))
    with pytest.raises(UserError, match=rf"pretraining saw exact copies of {tested} recordings \({test}, "):
        leakage_of("ptbxl", root=folder, **seen)
    seen["digests"] = [digests[numbers.index(str(test))]]
    found = leakage_of("ptbxl", "allow_seen_patients=true", root=folder, **seen)
    assert found == {**NO_LEAKAGE, "pretraining_copies": 1, "allowed": True, "split": "inter-patient"}


def test_what_pretraining_really_saw_is_not_the_test_split(
    leakage_of: Callable[..., Any], clinic: tuple[Path, int, int], tmp_path: Path
) -> None:
    """The same folder, its training folds alone: `seen` is what `encoder.pt` would say."""
    folder, *_ = clinic
    data = PTBXL(name="e", root=folder, spec=build_spec(), cache_dir=tmp_path / "other")
    seen = data.seen()
    assert len(seen["digests"]) == (data.split_of_records(data.store) == 0).sum()
    assert leakage_of("ptbxl", root=folder, **seen) == {**NO_LEAKAGE, "split": "inter-patient"}


def test_an_encoder_from_before_digests_were_kept_is_compared_by_name(
    leakage_of: Callable[..., Any], tiny_checkpoint: Path
) -> None:
    assert "digests" not in torch.load(tiny_checkpoint, weights_only=True)["training"]["data"]
    assert leakage_of("ptbxl") == {**NO_LEAKAGE, "split": "inter-patient"}


# --- from training to result ------------------------------------------------------------------------------------


def test_pretraining_leaves_the_last_folds_out_and_the_result_says_which_it_saw(
    finished_run: Path, evaluation: Callable[..., DictConfig], tmp_path: Path
) -> None:
    checkpoint = finished_run / "encoder.pt"
    trained_on = read_checkpoint(checkpoint).training["data"]
    config = evaluation("ptbxl", f"checkpoint={checkpoint}", "data.population=synthetic", "budget=10", "resamples=0",
                        "protocol.beside=[]", f"results_dir={tmp_path}")  # fmt: skip
    data = build_data(config.data, read_checkpoint(checkpoint).encoder.spec)
    table = pd.read_csv(Path(config.data.root) / "ptbxl_database.csv")
    assert trained_on["folds"] == sorted(set(table.strat_fold) - {9, 10})
    outside = {f"synthetic/{who:.0f}" for who in table[table.strat_fold > 8].patient_id}
    assert set(trained_on["patients"]) == {f"synthetic/{who:.0f}" for who in table[table.strat_fold <= 8].patient_id}
    assert outside and not outside & set(trained_on["patients"])
    assert not find_leakage({"data": trained_on}, data).reasons()
    result = read_result(assess(config))
    assert result is not None
    assert result["encoder"]["pretraining_folds"] == trained_on["folds"]
    assert result["leakage"] == NO_LEAKAGE
