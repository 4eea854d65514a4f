"""A user's own folder: the same recordings in every format give one store; its table against PTB-XL's own reader."""

from __future__ import annotations

import csv
import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import wfdb
from conftest import PROJECT
from hydra import compose, initialize_config_dir
from hypothesis import given, settings
from hypothesis import strategies as st
from recorders import FORMATS, save_wfdb

from ecg_lightning.assessment import assess
from ecg_lightning.data.folder import Folder
from ecg_lightning.data.folds import split_by_fold, split_by_patient
from ecg_lightning.data.identity import is_known, shared
from ecg_lightning.data.module import SPLITS
from ecg_lightning.data.ptbxl import PTBXL
from ecg_lightning.data.record import BadRecord
from ecg_lightning.errors import UserError
from ecg_lightning.leads import TWELVE_LEADS
from ecg_lightning.results import read_result
from ecg_lightning.signal import SignalSpec

SPEC = SignalSpec(100, TWELVE_LEADS, 1000)
Rows = Sequence[dict[str, Any]]


def module(root: Path, cache: Path, **options: Any) -> Folder:
    return Folder(name="folder", root=root, spec=SPEC, cache_dir=cache, **options)


def table(root: Path, rows: Rows) -> None:
    root.mkdir(parents=True, exist_ok=True)
    with (root / "records.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def recording(path: Path, number: int = 0, fs: int = 100) -> None:
    """A WFDB recording of two leads and five seconds, of its own content."""
    path.parent.mkdir(parents=True, exist_ok=True)
    save_wfdb(path, np.random.default_rng(number).integers(-500, 500, (2, 5 * fs), np.int16), fs, ("II", "V1"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Six recordings without a table."""
    for number in range(6):
        recording(tmp_path / f"ecgs/r{number}.hea", number)
    return tmp_path / "ecgs"


def rows_of(folder: Path, **columns: Sequence[Any]) -> Rows:
    """A table of the recordings of `folder`, with these columns beside the paths."""
    paths = sorted(path.name for path in folder.glob("*.hea"))
    return [{"path": path, **{key: cells[i] for key, cells in columns.items()}} for i, path in enumerate(paths)]


# --- the same recordings ----------------------------------------------------------------------------------------


def test_recordings_in_every_format_rate_and_order_of_leads_give_the_store_of_the_originals(
    synthetic_root: Path, tmp_path: Path
) -> None:
    source = pd.read_csv(synthetic_root / "ptbxl/ptbxl_database.csv").head(len(FORMATS))
    originals, mixed, random = [], [], np.random.default_rng(0)
    for i, (name, kind) in enumerate(zip(source.itertuples(), FORMATS, strict=True)):
        path = synthetic_root / "ptbxl" / (name.filename_hr if i % 2 else name.filename_lr)
        truth = wfdb.rdrecord(str(path))
        order = random.permutation(12)
        digits = np.rint(truth.p_signal.T[order] * 1000).astype(np.int16)
        leads = tuple(truth.sig_name[k] for k in order)
        file, write, complete = FORMATS[kind]
        place = Path(f"ward {i % 3}/{i}") / file
        (tmp_path / "mixed" / place).parent.mkdir(parents=True)
        write(tmp_path / "mixed" / place, digits, truth.fs, leads)
        told = (
            {"fs": "", "leads": "", "unit": ""}
            if complete
            else {"fs": truth.fs, "leads": "; ".join(leads), "unit": "uV"}
        )
        mixed.append({"path": place, "record": i, **told})
        for suffix in (".hea", ".dat"):
            shutil.copy(f"{path}{suffix}", tmp_path / "mixed")
        originals.append({"path": f"{path.name}.hea", "record": i})
    table(tmp_path / "mixed", originals)
    expected = module(tmp_path / "mixed", tmp_path).store
    table(tmp_path / "mixed", mixed)
    store = module(tmp_path / "mixed", tmp_path).store
    assert store.record_id.tolist() == expected.record_id.tolist() == [str(i) for i in range(len(FORMATS))]
    assert set(store.fs_source) == {100, 500} and not store.substituted
    np.testing.assert_array_equal(store.fs_source, expected.fs_source)
    np.testing.assert_allclose(store.signals, expected.signals, atol=1)  # a microvolt, where rounding falls otherwise
    assert (store.signals == expected.signals).mean() > 0.999


@pytest.fixture(scope="module", params=["synthetic", pytest.param("real", marks=pytest.mark.realdata)])
def as_ptbxl(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Callable[..., Folder], PTBXL]:
    """PTB-XL as a folder with a table made of its own, and PTB-XL as its own reader has it."""
    root = request.getfixturevalue("synthetic_root" if request.param == "synthetic" else "data_root") / "ptbxl"
    cache = tmp_path_factory.mktemp("cache")
    ptbxl = PTBXL(name="ptbxl", root=root, spec=SPEC, cache_dir=cache)
    source, y = pd.read_csv(root / "ptbxl_database.csv"), ptbxl.record_labels(ptbxl.store)
    labels = [";".join(np.array(ptbxl.classes)[row > 0]) for row in y]
    rows = [{"path": f"{path}.hea", "record": n, "patient": f"{who:.0f}", "fold": fold, "label": label,
             **dict(zip(ptbxl.classes, row if row.any() else [""] * len(row), strict=True))}
            for n, path, who, fold, label, row in zip(source.ecg_id, source.filename_lr, source.patient_id,
                                                      source.strat_fold, labels, y, strict=True)]  # fmt: skip
    copy = Path(shutil.copytree(root / "records100", tmp_path_factory.mktemp("copy") / "records100")).parent
    table(copy, rows)
    return lambda **options: module(copy, cache, **options), ptbxl


@pytest.mark.parametrize("labels", ["label", "columns"])
def test_a_table_made_of_ptbxl_gives_what_its_own_reader_gives(
    as_ptbxl: tuple[Callable[..., Folder], PTBXL], labels: str
) -> None:
    make, ptbxl = as_ptbxl
    data = make(labels="label" if labels == "label" else list(ptbxl.classes), population="ptbxl")
    assert data.classes == ptbxl.classes and data.split_kind == "inter-patient" and data.multi_label
    np.testing.assert_array_equal(data.store.signals, ptbxl.store.signals)
    for part in ("row", "offset", "y", "split", "unit"):
        np.testing.assert_array_equal(getattr(data.labelled, part), getattr(ptbxl.labelled, part))
    for split in SPLITS:
        assert data.patients(split).tolist() == ptbxl.patients(split).tolist()


def test_a_folder_is_pretrained_on_and_evaluated_by_the_commands(
    as_ptbxl: tuple[Callable[..., Folder], PTBXL], tiny_checkpoint: Path, tmp_path: Path
) -> None:
    root = as_ptbxl[0]().root
    keys = ["data=folder", f"data.root={root}", "budget='10'", f"cache_dir={tmp_path}", f"results_dir={tmp_path}",
            f"checkpoint={tiny_checkpoint}", "resamples=50", "protocol.beside=[]"]  # fmt: skip
    with initialize_config_dir(str(PROJECT / "conf"), version_base="1.3"):
        result = read_result(assess(compose("evaluate", keys)))
    assert result is not None and result["split"] == "inter-patient" and result["labels"]["read"] == 10
    assert result["classes"] == list(as_ptbxl[1].classes)
    assert result["data"]["test_examples"] == len(as_ptbxl[1].labelled.of("test").row)


# --- what belongs to a folder -----------------------------------------------------------------------------------


def test_without_a_table_every_readable_file_below_belongs_to_it(folder: Path) -> None:
    recording(folder / "b/deep/x.hea", 7)
    recording(folder / ".hidden/y.hea", 8)
    (folder / "b/._x.hea").write_text("what another system left beside it")
    recording(folder / "cache/z.hea", 10)
    (folder / "b/notes.txt").write_text("no recording")
    (folder / "b/circle").symlink_to(folder)
    data = module(folder, folder / "cache")
    assert data.store.record_id.tolist() == ["b/deep/x.hea", *(f"r{number}.hea" for number in range(6))]
    assert data.store.record_id.tolist() == module(folder, folder / "cache").store.record_id.tolist()


def test_a_challenge_recording_of_two_files_is_one_recording(folder: Path) -> None:
    header = (folder / "r0.hea").read_text().replace("r0.dat", "r0.mat")
    (folder / "r0.hea").write_text(header)
    (folder / "r0.dat").rename(folder / "r0.mat")
    assert len(module(folder, folder / "cache").records()) == 6


def test_recordings_without_a_known_patient_are_strangers_to_one_another(folder: Path, tmp_path: Path) -> None:
    data = module(folder, tmp_path)
    assert data.split_kind == "unknown"
    assert data.store.patient.tolist() == [f"ecgs/folder:r{number}.hea" for number in range(6)]
    assert not any(map(is_known, data.store.patient))


def test_whose_patients_they_are_can_be_said(folder: Path, tmp_path: Path) -> None:
    table(folder, rows_of(folder, patient=["15709", "2", "3", "4", "5", "6"]))
    data = module(folder, tmp_path, population="ptbxl")
    assert data.store.patient.tolist()[:2] == ["ptbxl/15709", "ptbxl/2"]
    assert shared(data.store.patient.tolist(), ["ptbxl/15709"]).patients == ("ptbxl/15709",)
    assert not shared(module(folder, tmp_path).store.patient.tolist(), ["ptbxl/15709"])


def test_another_rate_in_the_table_makes_another_store(folder: Path, tmp_path: Path) -> None:
    root = tmp_path / "arrays"
    root.mkdir()
    np.save(root / "a.npy", np.random.default_rng(0).integers(-500, 500, (2, 1000), np.int16))
    for fs, length in ((100, 1000), (200, 500)):
        table(root, [{"path": "a.npy", "fs": fs, "leads": "II V1", "unit": "uV"}])
        assert module(root, tmp_path).store.length.tolist() == [length]


@pytest.mark.parametrize("way", ["a path", "an absolute path", "a link", "a link to a folder", "a link of a signal",
                                 "a segment", "a link found by looking"])  # fmt: skip
def test_nothing_outside_the_folder_is_read(folder: Path, tmp_path: Path, way: str) -> None:
    recording(tmp_path / "outside/x.hea", 7)
    path = {"a path": "../outside/x.hea", "an absolute path": str(tmp_path / "outside/x.hea"),
            "a link to a folder": "there/x.hea", "a segment": "long.hea"}.get(way, "x.hea")  # fmt: skip
    if "link" in way:
        (folder / "there").symlink_to(tmp_path / "outside")
        for suffix in ("dat",) if "signal" in way else ("hea", "dat"):
            (folder / f"x.{suffix}").symlink_to(tmp_path / f"outside/x.{suffix}")
    if "signal" in way:
        shutil.copy(tmp_path / "outside/x.hea", folder)
    (folder / "long.hea").write_text("long/2 2 100 1000\n../outside/x 500\n../outside/x 500\n")
    if way == "a link found by looking":
        (folder / "long.hea").unlink()
    else:
        table(folder, [{"path": path}])
    with pytest.raises(UserError, match=r"leads out of data\.root|lies outside its folder"):
        for file in module(folder, tmp_path).records():
            file.layout()


def test_a_link_inside_the_folder_is_no_matter(folder: Path, tmp_path: Path) -> None:
    (folder / "annex").mkdir()
    shutil.move(folder / "r0.dat", folder / "annex/r0.dat")
    (folder / "r0.dat").symlink_to(folder / "annex/r0.dat")
    assert len(module(folder, tmp_path).store) == 6


def test_a_missing_recording_is_named_and_can_be_left_out(folder: Path, tmp_path: Path) -> None:
    table(folder, [*rows_of(folder), {"path": "gone.edf"}])
    with pytest.raises(BadRecord, match=r"gone\.edf: is missing.*on_bad_record=skip"):
        _ = module(folder, tmp_path).store
    data = module(folder, tmp_path, on_bad_record="skip")
    assert len(data.store) == 6 and list(data.store.skipped) == ["gone.edf"]


# --- splits -----------------------------------------------------------------------------------------------------


names = st.lists(st.text("abcdef0123456789", min_size=1, max_size=8), min_size=3, max_size=60, unique=True)


@given(names)
def test_every_split_is_somebodys(patients: list[str]) -> None:
    split = split_by_patient(patients)
    assert split.keys() == set(patients) and set(split.values()) == {0, 1, 2}
    assert split == split_by_patient(patients[::-1])


@settings(max_examples=20)
@given(st.integers(0, 10**6), st.integers(1, 300))
def test_a_patient_keeps_the_split_when_others_come(start: int, more: int) -> None:
    some = [str(start + i) for i in range(200)]
    split = split_by_patient([*some, *(f"new {i}" for i in range(more))])
    assert {name: split[name] for name in some} == split_by_patient(some)


def test_of_many_patients_70_in_100_train_10_validate_and_20_test() -> None:
    shares = np.bincount(list(split_by_patient([str(i) for i in range(20_000)]).values())) / 20_000
    np.testing.assert_allclose(shares, [0.7, 0.1, 0.2], atol=0.01)


@pytest.mark.parametrize(
    ("folds", "split"),
    [("train val test train", [0, 1, 2, 0]), ("train test", [0, 2]), ("1 2 10 9", [0, 0, 2, 1]), ("0 1 2", [0, 1, 2]),
     ("7 7 3 5 5", [2, 2, 0, 1, 1])],
)  # fmt: skip
def test_folds_are_words_or_numbers(folds: str, split: list[int]) -> None:
    assert split_by_fold(folds.split()) == split


def test_recordings_of_one_patient_lie_in_one_split(folder: Path, tmp_path: Path) -> None:
    table(folder, rows_of(folder, patient=list("abcabc")))
    data = module(folder, tmp_path)
    split = data.split_of_records(data.store)
    assert data.split_kind == "inter-patient"
    assert split[:3].tolist() == split[3:].tolist() and sorted(split[:3]) == [0, 1, 2]


def test_a_patient_in_two_folds_is_refused_unless_that_is_meant(folder: Path, tmp_path: Path) -> None:
    table(folder, rows_of(folder, patient=list("abcabd"), fold=["train", "val", "test", "test", "val", "test"]))
    with pytest.raises(UserError, match=r"patient a into train and test.*data\.split=intra_patient"):
        module(folder, tmp_path).records()
    data = module(folder, tmp_path, split="intra_patient")
    assert data.split_kind == "intra-patient"
    assert data.split_of_records(data.store).tolist() == [0, 1, 2, 2, 1, 2]


# --- labels -----------------------------------------------------------------------------------------------------


def test_a_column_of_names_is_a_single_label(folder: Path, tmp_path: Path) -> None:
    table(folder, rows_of(folder, label=["AF", "sinus", "", "AF ", "block", "sinus"]))
    data = module(folder, tmp_path)
    assert data.classes == ("AF", "block", "sinus") and not data.multi_label
    assert data.record_labels(data.store).tolist() == [0, 2, -1, 0, 1, 2]
    assert data.labelled.row.tolist() == [0, 1, 3, 4, 5]


def test_several_names_in_a_cell_are_several_labels(folder: Path, tmp_path: Path) -> None:
    table(folder, rows_of(folder, rhythm=["AF", "AF; block", "", "sinus;", "block;AF", "AF"]))
    data = module(folder, tmp_path, labels="rhythm")
    assert data.classes == ("AF", "block", "sinus") and data.multi_label
    expected = [[1, 0, 0], [1, 1, 0], [0, 0, 0], [0, 0, 1], [1, 1, 0], [1, 0, 0]]
    assert data.record_labels(data.store).tolist() == expected


def test_columns_of_zeros_and_ones_are_several_labels_in_their_order(folder: Path, tmp_path: Path) -> None:
    table(folder, rows_of(folder, lbbb=[*"0110", "", "1.0"], af=[*"1100", "", "0"]))
    data = module(folder, tmp_path, labels=["lbbb", "af"])
    assert data.classes == ("lbbb", "af")
    assert data.record_labels(data.store).tolist() == [[0, 1], [1, 1], [1, 0], [0, 0], [0, 0], [1, 0]]
    assert data.labelled.row.tolist() == [0, 1, 2, 5]


def test_new_labels_leave_the_prepared_recordings_as_they_are(folder: Path, tmp_path: Path) -> None:
    table(folder, rows_of(folder, label=list("ababab")))
    before = module(folder, tmp_path).store.path
    table(folder, rows_of(folder, label=list("aabbab")))
    data = module(folder, tmp_path)
    assert data.store.path == before and data.labelled.y.tolist() == [0, 0, 1, 1, 0, 1]


@pytest.mark.parametrize("with_table", [True, False])
def test_without_labels_a_folder_serves_pretraining_and_says_what_evaluation_needs(
    folder: Path, tmp_path: Path, with_table: bool
) -> None:
    if with_table:
        table(folder, rows_of(folder, patient=list("abcdef")))
    data = module(folder, tmp_path, batch_size=4)
    assert next(iter(data.train_dataloader())).steps.shape[1:] == (1000, 12)
    for ask in (lambda: data.classes, lambda: data.labelled):
        with pytest.raises(UserError, match=r"no labels to evaluate on: add a column label to records\.csv"):
            ask()


# --- faults of a table ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no column path"),
        ("record,patient\na,b\n", "no column path"),
        ("path\n", "names no recording"),
        ("path,label,label\nr0.hea,a,b\n", "column 'label' twice"),
        ("path,fold\nr0.hea\n", "line 2 has 1 cells and the header 2"),
        ("path,record\nr0.hea,a\n\n,b\n", "line 4 has no path"),
        ("path,record\nr0.hea,a\nr1.hea,a\n", r"lines 2 and 3 have the same record \(a\)"),
        ("path,record\nr0.hea,a\n./r0.hea,b\n", r"lines 2 and 3 have the same path \(b\)"),
        ("path\nr0.xml\n", r"r0\.xml: not a format.*\.edf"),
        ("path\nr0\0.hea\n", "is no path|cannot be read"),
        ("path,fs\nr0.hea,fast\n", r"line 2 \(recording r0\.hea\): fs 'fast' is not a rate"),
        ("path,fs\nr0.hea,500\n", r"recorded at 100 Hz and column fs of records\.csv says 500"),
        ("path,fold\nr0.hea,train\nr1.hea,holdout\n", "'holdout' is not one of train, val, test"),
        ("path,fold\nr0.hea,1\nr1.hea,2\n", "there are 2 of them"),
        ("path,fold\nr0.hea,1\nr1.hea,\n", "'' is not one of"),
        ("path,patient\nr0.hea,a\nr1.hea,\n", r"line 3 \(recording r1\.hea\): patient is empty"),
        ("path,patient\nr0.hea,a:b\n", "holds a colon"),
        ("path,label\nr0.hea,a\nr1.hea,\n", "fewer than two classes"),
        ("path,label\nr0.hea,\n", "fewer than two classes"),
    ],
)
def test_a_table_that_cannot_be_meant_is_one_message(folder: Path, tmp_path: Path, text: str, message: str) -> None:
    (folder / "records.csv").write_text(text)
    data = module(folder, tmp_path)
    with pytest.raises(UserError, match=message) as error:
        _ = data.store, data.labelled
    assert "\n" not in str(error.value)


def test_a_cell_that_is_neither_0_nor_1_is_named(folder: Path, tmp_path: Path) -> None:
    table(folder, rows_of(folder, af=list("010120"), vt=list("110000")))
    with pytest.raises(UserError, match=r"line 6 \(recording r4\.hea\): af is '2', not 0 or 1"):
        _ = module(folder, tmp_path, labels=["af", "vt"]).classes


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"labels": []}, r"data\.labels=\[\] must be columns"),
        ({"labels": ["a", "a"]}, "must be columns"),
        ({"labels": "patient"}, "data.labels=patient must be columns of records.csv other than path"),
        ({"population": "a/b"}, "without slash"),
        ({"split": "random"}, "data.split='random' is neither"),
    ],
)
def test_an_option_that_cannot_be_is_told_at_once(tmp_path: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        module(tmp_path, tmp_path, **options)


def test_a_missing_folder_an_empty_one_and_a_missing_table_are_told_apart(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"data\.root=.*nowhere is missing"):
        module(tmp_path / "nowhere", tmp_path).records()
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=r"empty holds no recording; known are files that end in \.hea"):
        module(tmp_path / "empty", tmp_path).records()
    with pytest.raises(UserError, match=r"mine\.csv: cannot be read"):
        module(folder, tmp_path, manifest="mine.csv").records()
    with pytest.raises(UserError, match="has no column fold"):
        module(folder, tmp_path, split="intra_patient").records()


def test_a_recording_that_may_not_be_read_is_named(folder: Path, tmp_path: Path) -> None:
    if os.geteuid() == 0:
        pytest.skip("root may read everything")
    np.save(folder / "x.npy", np.zeros((2, 500)))
    (folder / "x.npy").chmod(0)
    table(folder, [{"path": "x.npy", "fs": 100, "leads": "II V1", "unit": "mV"}])
    with pytest.raises(BadRecord, match=r"x\.npy"):
        _ = module(folder, tmp_path).store
