"""PTB-XL's tasks, folds and files against its own tables, read with pandas alone."""

from __future__ import annotations

import ast
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from ecg_lightning.data.ptbxl import PTBXL
from ecg_lightning.data.record import BadRecord
from ecg_lightning.errors import UserError
from ecg_lightning.signal import TWELVE_LEADS, SignalSpec

TASKS = ("all", "diagnostic", "subdiagnostic", "superdiagnostic", "form", "rhythm")


def spec(fs: int = 100) -> SignalSpec:
    return SignalSpec(fs, TWELVE_LEADS, 10 * fs)


@pytest.fixture(scope="module", params=["synthetic", pytest.param("real", marks=pytest.mark.realdata)])
def folder(request: pytest.FixtureRequest) -> Path:
    root = request.getfixturevalue("synthetic_root" if request.param == "synthetic" else "data_root")
    return root / "ptbxl"


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def copy(synthetic_root: Path, tmp_path: Path) -> Path:
    """A data set of one's own to damage."""
    return Path(shutil.copytree(synthetic_root / "ptbxl", tmp_path / "ptbxl"))


def module(root: Path, cache: Path, fs: int = 100, **options: Any) -> PTBXL:
    return PTBXL(name="ptbxl", root=root, spec=spec(fs), cache_dir=cache, **options)


def labels_by_pandas(folder: Path, task: str) -> pd.DataFrame:
    """One row a recording with a label, by `ecg_id`; one column a class."""
    statements = pd.read_csv(folder / "scp_statements.csv", index_col=0)
    statements["all"] = 1.0
    kind, column = {"subdiagnostic": ("diagnostic", "diagnostic_subclass"),
                    "superdiagnostic": ("diagnostic", "diagnostic_class")}.get(task, (task, None))  # fmt: skip
    statements = statements[statements[kind] == 1]
    label = statements[column] if column else statements.index.to_series()
    codes = pd.read_csv(folder / "ptbxl_database.csv", index_col="ecg_id").scp_codes
    found = codes.map(lambda text: list(ast.literal_eval(text))).explode().map(label).dropna()
    return pd.crosstab(found.index, found).clip(upper=1)


# --- labels and splits ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("task", TASKS)
def test_a_task_has_the_labels_that_its_tables_give(folder: Path, cache: Path, task: str) -> None:
    data, truth = module(folder, cache, task=task), labels_by_pandas(folder, task)
    examples = data.labelled
    assert data.classes == tuple(truth.columns) and len(truth)
    assert data.store.record_id[examples.row].astype(int).tolist() == truth.index.tolist()
    np.testing.assert_array_equal(examples.y, truth.to_numpy())
    assert data.multi_label and examples.y.dtype == np.uint8


def test_published_folds_become_the_splits_and_keep_each_patient_in_one(folder: Path, cache: Path) -> None:
    data = module(folder, cache)
    table = pd.read_csv(folder / "ptbxl_database.csv", index_col="ecg_id")
    split = table.strat_fold.map(lambda fold: 0 if fold <= 8 else fold - 8)
    assert data.split_of_records(data.store).tolist() == split.tolist()
    assert data.labelled.split.tolist() == split.iloc[data.labelled.row].tolist()
    assert data.store.patient.tolist() == [f"ptbxl/{int(who)}" for who in table.patient_id]
    train, val, test = (set(data.patients(name)) for name in ("train", "val", "test"))
    assert train and val and test and not (train & val or train & test or val & test)


def test_every_example_is_its_whole_recording(folder: Path, cache: Path) -> None:
    data = module(folder, cache)
    microvolts, _, valid = data.windows(data.labelled).windows.gather(np.arange(3))
    assert valid is None
    for window, row in zip(microvolts, data.labelled.row, strict=False):
        np.testing.assert_array_equal(window.numpy().T, data.store.signal(row))


@pytest.mark.realdata
def test_the_real_super_classes_are_as_many_as_published(data_root: Path, tmp_path: Path) -> None:
    data = module(data_root / "ptbxl", tmp_path)
    counts = dict(zip(data.classes, data.labelled.y.sum(axis=0).tolist(), strict=True))
    assert counts == {"NORM": 297, "STTC": 96, "CD": 78, "MI": 73, "HYP": 40}


# --- files ------------------------------------------------------------------------------------------------------


def test_each_rate_is_read_from_its_own_files(synthetic_root: Path, tmp_path: Path) -> None:
    table = pd.read_csv(synthetic_root / "ptbxl/ptbxl_database.csv")
    for fs, source, column in [(100, None, "filename_lr"), (500, None, "filename_hr"), (250, None, "filename_hr"),
                               (250, 100, "filename_lr")]:  # fmt: skip
        data = module(synthetic_root / "ptbxl", tmp_path, fs, source_fs=source)
        stems = [str(file.paths()[0].relative_to(synthetic_root / "ptbxl").with_suffix("")) for file in data.records()]
        assert stems == table[column].tolist()
        assert set(data.store.fs_source) == {100 if column == "filename_lr" else 500}
        assert set(data.store.length) == {10 * fs}


def test_where_the_500_hz_files_are_not_there_another_rate_is_made_from_100_hz(copy: Path, tmp_path: Path) -> None:
    shutil.rmtree(copy / "records500")
    assert set(module(copy, tmp_path, 250).store.fs_source) == {100}


@pytest.mark.realdata
def test_the_first_missing_500_hz_file_is_named_and_can_be_left_out(data_root: Path, tmp_path: Path) -> None:
    with pytest.raises(BadRecord, match=r"00101_hr\.hea.*data\.on_bad_record=skip"):
        _ = module(data_root / "ptbxl", tmp_path, 500).store
    data = module(data_root / "ptbxl", tmp_path, 500, on_bad_record="skip")
    assert data.store.record_id.tolist() == [str(number) for number in range(1, 101)]
    assert list(data.store.skipped) == [str(number) for number in range(101, 501)]
    numbers = data.store.record_id[data.labelled.row].astype(int)
    truth = labels_by_pandas(data_root / "ptbxl", "superdiagnostic")
    np.testing.assert_array_equal(data.labelled.y, truth[truth.index <= 100].to_numpy())
    assert numbers.tolist() == truth.index[truth.index <= 100].tolist()


@pytest.mark.parametrize("nested", ["files/ptb-xl/1.0.3", "physionet.org/files/ptb-xl/1.0.1"])
@pytest.mark.parametrize("root", [".", "ptbxl"])
def test_the_nested_layout_of_a_download_is_found(copy: Path, tmp_path: Path, nested: str, root: str) -> None:
    base = tmp_path / "downloads"
    shutil.copytree(copy, base / nested)
    assert module(base / root, tmp_path).folder.resolve() == (base / nested).resolve()


# --- faults -----------------------------------------------------------------------------------------------------


def drop(file: str, column: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        table = pd.read_csv(folder / file, index_col=None if file == "ptbxl_database.csv" else 0)
        table.drop(columns=column).to_csv(folder / file, index=file != "ptbxl_database.csv")

    return change


def spoil_codes(text: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        table = pd.read_csv(folder / "ptbxl_database.csv")
        table["scp_codes"] = table.scp_codes.where(table.index != 5, text)
        table.to_csv(folder / "ptbxl_database.csv", index=False)

    return change


def replace_cell(column: str, row: int, value: Any) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        table = pd.read_csv(folder / "ptbxl_database.csv")
        table[column] = table[column].astype(object).where(table.index != row, value)
        table.to_csv(folder / "ptbxl_database.csv", index=False)

    return change


def one_patient(folder: Path) -> None:
    table = pd.read_csv(folder / "ptbxl_database.csv")
    table.assign(patient_id=7).to_csv(folder / "ptbxl_database.csv", index=False)


def overwrite(file: str, content: bytes) -> Callable[[Path], object]:
    return lambda folder: (folder / file).write_bytes(content)


# What happens to the folder, and what the message must name.
FAULTS: dict[str, tuple[Callable[[Path], object], str]] = {
    "no database": (lambda folder: (folder / "ptbxl_database.csv").unlink(), "data.root=.* holds no .*csv; .*download"),
    "no folder": (shutil.rmtree, "data.root=.* is missing.*download"),
    "no statements": (lambda folder: (folder / "scp_statements.csv").unlink(), "scp_statements.csv"),
    **{f"no column {column}": (drop("ptbxl_database.csv", column), f"ptbxl_database.csv: has no column {column}")
       for column in ("ecg_id", "patient_id", "scp_codes", "strat_fold", "filename_lr")},
    "no column diagnostic": (drop("scp_statements.csv", "diagnostic"), "scp_statements.csv: has no column diagnostic"),
    "codes cut short": (spoil_codes("{'NORM': 100.0, 'SR'"), r"scp_codes .*'SR'"),
    "codes that are a list": (spoil_codes("['NORM']"), r"scp_codes .*NORM"),
    "codes with words": (spoil_codes("{'NORM': 'surely'}"), r"scp_codes .*surely"),
    "no codes": (spoil_codes(""), "scp_codes is empty"),
    "empty table": (overwrite("ptbxl_database.csv", b""), "ptbxl_database.csv: cannot be read"),
    "noise": (overwrite("ptbxl_database.csv", bytes(range(128, 256))), "ptbxl_database.csv: cannot be read"),
    "a recording twice": (replace_cell("ecg_id", 6, 6), r"ptbxl_database.csv: ecg_id 6 is there twice"),
    "a patient of letters": (replace_cell("patient_id", 5, "x"), r"patient_id x is no number \(ecg_id 6\)"),
    "no patient": (replace_cell("patient_id", 5, None), r"patient_id is empty \(ecg_id 6\)"),
    "a fold past the last": (replace_cell("strat_fold", 5, 11), "strat_fold .*11.* is not one of 1 to 10"),
    "a fold of letters": (replace_cell("strat_fold", 5, "x"), "strat_fold x is not one of 1 to 10"),
    "a patient in two folds": (one_patient, "patient_id .* is in several folds"),
    "no file": (replace_cell("filename_lr", 5, None), "filename_lr is empty"),
    "a heading alone": (lambda folder: pd.read_csv(folder / "ptbxl_database.csv").head(0).to_csv(
        folder / "ptbxl_database.csv", index=False), "ptbxl_database.csv: has no row"),
    "no signal": (lambda folder: (folder / "records100/00000/00007_lr.dat").unlink(), "00007_lr.dat"),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_a_faulty_data_set_is_one_message_that_names_the_file(copy: Path, tmp_path: Path, fault: str) -> None:
    happen, names = FAULTS[fault]
    happen(copy)
    with pytest.raises(UserError, match=names):
        _ = module(copy, tmp_path / "cache").labelled


def test_a_label_corrected_in_the_table_reaches_the_examples(copy: Path, tmp_path: Path) -> None:
    seen = []
    for codes in ("{'NORM': 80.0}", "{'HYP': 0.0, 'LVH': 0.0, 'AMI': 15.0}"):
        spoil_codes(codes)(copy)
        data = module(copy, tmp_path)
        labels = data.labelled.y[data.labelled.row == 5][0]
        seen.append({data.classes[c] for c in np.flatnonzero(labels)})
    assert seen == [{"NORM"}, {"HYP", "MI"}]


@pytest.mark.parametrize(
    ("option", "key"),
    [
        ({"task": "diagnosis"}, "data.task"),
        ({"source_fs": 250}, "data.source_fs"),
        ({"on_bad_record": "ignore"}, "data.on_bad_record"),
        ({"batch_size": 0}, "data.batch_size"),
        ({"residency": "gpu"}, "data.residency"),
    ],
)
def test_an_option_that_cannot_be_names_its_key(tmp_path: Path, option: dict[str, Any], key: str) -> None:
    with pytest.raises(UserError, match=key):
        module(tmp_path, tmp_path, **option)
