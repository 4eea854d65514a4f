"""The doctor: each fault is told of a recording that has it and of no other, and the command says what to do."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from conftest import PROJECT
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from ecg_lightning.cli import command_line
from ecg_lightning.data import doctor
from ecg_lightning.data.examination.cohort import Count, survey
from ecg_lightning.data.examination.examine import examine
from ecg_lightning.data.examination.finding import Finding, by_severity
from ecg_lightning.data.examination.layout import check_layouts, check_list, edition
from ecg_lightning.data.examination.reading import read_headers
from ecg_lightning.data.examination.signals import duplicates, judge, left_out, unit_of
from ecg_lightning.data.examination.vitals import Vitals, measure, runs, take_vitals
from ecg_lightning.data.folder import Folder
from ecg_lightning.data.mitbih import MITBIH
from ecg_lightning.data.module import Examples
from ecg_lightning.data.ptbxl import PTBXL
from ecg_lightning.data.record import Layout, Record
from ecg_lightning.data.synthetic.format16 import write_record
from ecg_lightning.data.wfdb_files import WFDBFile
from ecg_lightning.errors import UserError
from ecg_lightning.signal import TWELVE_LEADS, SignalSpec

Signal = NDArray[np.float64]
SPEC = SignalSpec(100, TWELVE_LEADS, 1000)


def first(findings: Sequence[Finding]) -> dict[str, str]:
    """Severity of each finding by what it says, without its count."""
    return {finding.what.split(", in ")[0]: finding.severity for finding in findings}


@pytest.fixture(scope="module")
def clean(synthetic_root: Path) -> Record:
    """A synthetic 12-lead recording at 500 Hz."""
    return WFDBFile(synthetic_root / "ptbxl/records500/00000/00001_hr", "1", "x/1").read()


def vitals(signal: NDArray[Any], like: Record | None = None, fs: float = 100, leads: Sequence[str] = ()) -> Vitals:
    names = tuple(leads) or (like.leads if like else tuple(f"lead {i}" for i in range(len(signal))))
    return measure(Record(signal.astype(np.float32), like.fs if like else fs, names), "r", "x/1")


# --- measures ---------------------------------------------------------------------------------------------------

samples = st.lists(st.sampled_from([0.0, 0.5, 1.0, np.nan]), min_size=2, max_size=40)


@given(st.lists(st.lists(st.booleans(), min_size=5, max_size=5), min_size=1, max_size=4))
def test_runs_are_those_that_one_counts_by_hand(rows: list[list[bool]]) -> None:
    truth = []
    for lead, row in enumerate(rows):
        at = 0
        for value, group in groupby(row):
            length = len(list(group))
            truth += [(lead, at, length)] if value else []
            at += length
    assert list(zip(*(each.tolist() for each in runs(np.array(rows))), strict=True)) == truth


@given(samples)
def test_measures_of_a_lead_are_those_of_a_naive_loop(row: list[float]) -> None:
    found = vitals(np.array([row]), fs=10)
    finite = [value for value in row if not np.isnan(value)]
    longest = max((len(list(group)) for value, group in groupby(row) if not np.isnan(value)), default=0)
    assert found.invalid.tolist() == [len(row) - len(finite)]
    if finite:
        assert (found.low[0], found.high[0]) == (min(finite), max(finite))
    assert found.still[0] == pytest.approx(longest / 10 if longest > 1 else 0)
    assert found.flat[0] == (len(set(finite)) == 1)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_limb_leads_by_einthovens_law_do_not_contradict_each_other(seed: int) -> None:
    one, two = np.random.default_rng(seed).normal(size=(2, 500))
    assert vitals(np.stack([one, two, two - one]), leads=("I", "II", "III")).mismatch == pytest.approx(0, abs=1e-5)
    other = vitals(np.stack([one, two, two + one]), leads=("I", "II", "III")).mismatch
    assert other is not None and other > 0.5
    assert vitals(np.stack([one, two]), leads=("I", "II")).mismatch is None


def test_shares_of_the_spectrum_are_those_of_the_waves_put_in() -> None:
    t = np.arange(16 * 500) / 500
    drift, heart, mains = (np.sin(2 * np.pi * hz * t) for hz in (0.1875, 8, 50))
    found = vitals(np.stack([drift + heart, mains + heart, heart]), fs=500)  # each of the same power
    np.testing.assert_allclose(found.wander, [0.5, 0, 0], atol=0.03)
    np.testing.assert_allclose(found.hum, [0, 0.5, 0], atol=0.01)


def test_a_recording_that_is_all_invalid_and_one_of_a_single_sample_are_measured() -> None:
    nothing = vitals(np.full((2, 100), np.nan))
    assert nothing.invalid.tolist() == [100, 100] and not nothing.flat.any() and nothing.amplitude == 0
    assert set(first(judge([nothing]))) == {"invalid samples (NaN)"}
    assert vitals(np.ones((1, 1))).samples == 1
    json.dumps(nothing.to_dict(), allow_nan=False)


# --- faults of single recordings --------------------------------------------------------------------------------


def changed(lead: int, change: Callable[[Signal], Any]) -> Callable[[Signal], Signal]:
    def apply(signal: Signal) -> Signal:
        signal[lead] = change(signal[lead])
        return signal

    return apply


def held(row: Signal, begin: int, end: int) -> Signal:
    row[begin:end] = row[begin]
    return row


def gone(row: Signal) -> Signal:
    row[100:112] = np.nan
    return row


def wave(hz: float, size: float) -> Callable[[Signal], Signal]:
    def add(signal: Signal) -> Signal:
        added = np.tile(size * np.sin(2 * np.pi * hz * np.arange(signal.shape[1]) / 500), (len(signal), 1))
        added[2] = 0  # III = II - I
        return signal + added

    return add


def standard(signal: Signal) -> Signal:
    return (signal - signal.mean(axis=1, keepdims=True)) / signal.std(axis=1, keepdims=True)


def to_one(signal: Signal) -> Signal:
    low, high = signal.min(axis=1, keepdims=True), signal.max(axis=1, keepdims=True)
    return (signal - low) / (high - low)


DAMAGES: dict[str, tuple[str, str, Callable[[Signal], Signal]]] = {
    "nan": ("error", "invalid samples", changed(6, gone)),
    "flat": ("error", "flat leads", changed(7, lambda row: 0 * row + 0.3)),
    "off": ("warning", "a lead that stands still for 20% of", changed(3, lambda row: held(row, 1000, 3200))),
    "off for a moment": ("note", "a lead that stands still for 1 s", changed(3, lambda row: held(row, 1000, 1600))),
    "clipped above": ("warning", "clipped leads", changed(9, lambda row: np.minimum(row, np.percentile(row, 97)))),
    "clipped below": ("warning", "clipped leads", changed(6, lambda row: np.maximum(row, np.percentile(row, 3)))),
    "microvolts": ("error", "amplitudes of microvolts", lambda x: 1000 * x),
    "steps": ("error", "amplitudes of the recorder's steps", lambda x: 200 * x),
    "volts": ("error", "amplitudes a thousand times too small", lambda x: x / 1000),
    "too large": ("warning", "amplitudes above 15 mV", lambda x: 20 * x),
    "too small": ("warning", "amplitudes below 0.1 mV", lambda x: x / 20),
    "z-scored": ("warning", "z-scored leads", standard),
    "min-max": ("warning", "leads scaled to their smallest", to_one),
    "swapped": ("warning", "limb leads that contradict", lambda x: x[[1, 0, *range(2, 12)]]),
    "copied": ("warning", "two leads with the very same", lambda x: x[[*range(10), 9, 11]]),
    "hum": ("note", "mains hum", wave(50, 0.2)),
    "wander": ("note", "baseline wander", wave(0.2, 1.0)),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_fault_is_told_of_the_recording_that_has_it_and_of_no_other(damage: str, clean: Record) -> None:
    severity, what, change = DAMAGES[damage]
    well = vitals(clean.signal, clean)
    ill = replace(vitals(change(clean.signal.astype(np.float64)), clean), record_id="ill")
    found = judge([well, ill])
    assert [(finding.severity, list(finding.where)) for finding in found] == [(severity, ["ill"])]
    assert found[0].what.startswith(what) and found[0].what.endswith(", in 1 of 2 recordings") and found[0].remedy
    assert not judge([well])


@settings(max_examples=30, deadline=None)
@given(size=st.floats(0.4, 4.7), scale=st.sampled_from([("mV", 1.0), ("microvolts", 1e3), ("volts", 1e-3)]))
def test_the_unit_is_told_at_every_amplitude_of_real_recordings(size: float, scale: tuple[str, float]) -> None:
    row = np.random.default_rng(0).normal(size=(3, 2000))
    row = row / np.ptp(np.percentile(row, (0.5, 99.5), axis=1), axis=0)[:, None] + 0.5
    assert unit_of(vitals(scale[1] * size * row)) == scale[0]


def test_recordings_without_a_physical_unit_are_not_blamed_for_it(clean: Record) -> None:
    scaled = vitals(to_one(clean.signal.astype(np.float64)), clean)
    assert first(judge([scaled])) and not judge([scaled], physical=False)


@pytest.mark.parametrize(("fs", "folder"), [(100, "records100"), (500, "records500")])
def test_synthetic_recordings_are_well(fs: int, folder: str, synthetic_root: Path) -> None:
    files = sorted((synthetic_root / "ptbxl" / folder).rglob("*.hea"))
    found = judge([take_vitals(WFDBFile(path.with_suffix(""), path.stem, "x/1")) for path in files[:40]])
    assert len(files) == 60 and all(finding.severity == "note" for finding in found), found


# --- duplicates -------------------------------------------------------------------------------------------------


def test_duplicates_are_as_grave_as_what_they_falsify(clean: Record) -> None:
    one = vitals(clean.signal, clean)
    other = vitals(clean.signal[::-1], clean)
    names = {name: replace(one, record_id=name, patient=who) for name, who in
             {"a": "x/1", "b": "x/1", "c": "x/2", "d": "x/1", "e": "x/naming:e"}.items()}  # fmt: skip
    split = dict.fromkeys("abce", "train") | {"d": "test"}

    def told(*which: str) -> list[tuple[str, list[str]]]:
        found = duplicates([names[name] for name in which] + [replace(other, record_id="other")], split)
        return [(finding.severity, list(finding.where)) for finding in found]

    assert told("a") == []
    assert told("a", "b") == [("note", ["a = b"])]
    assert told("a", "c") == [("warning", ["a = c"])]
    assert told("a", "e") == [("note", ["a = e"])]  # nobody knows whose e is
    assert told("a", "d") == [("error", ["a = d"])]
    assert told("a", "b", "d") == [("error", ["a = d", "b = d"]), ("note", ["a = b"])]


def test_what_could_not_be_prepared_is_told_once() -> None:
    assert not left_out({"a": "is flat"}, {"a"})
    assert dict(left_out({"a": "is flat", "b": "is odd"}, {"a"})[0].where) == {"b": "is odd"}


# --- headers and folders ----------------------------------------------------------------------------------------


def test_leads_and_rates_and_lengths_that_differ_from_the_spec_are_told() -> None:
    layouts = {
        "whole": Layout(100, TWELVE_LEADS, 1000),
        "holter": Layout(360, ("MLII", "V5"), 36000),
        "slow": Layout(50, TWELVE_LEADS, 500),
        "short": Layout(100, (*TWELVE_LEADS, "resp"), 900),
        "double": Layout(100, ("MLII", *TWELVE_LEADS), 1000),
        "strange": Layout(100, ("ECG",), 1000),
    }
    found = {finding.what: finding for finding in check_layouts(layouts, SPEC)}
    where = {what.split(",")[0]: dict(finding.where) for what, finding in found.items()}
    assert where.pop("V1 not recorded (V5 in its place)") == {"holter": "V5"}
    assert where.pop("no standard lead") == {"strange": "ECG"}
    assert where.pop("2 leads that no encoder takes") == {"resp": "1 recording", "ECG": "1 recording"}
    assert where.pop("rates below data.spec.fs=100") == {"slow": "50 Hz"}
    assert where.pop("recordings shorter than the window of 10 s") == {"short": "9 s"}
    assert list(where.pop("a lead named twice")) == ["double"]
    assert len(where) == 12 - 3 and all(list(each) == ["holter"] for each in where.values())
    assert not check_layouts({"whole": layouts["whole"]}, SPEC)


def test_how_much_of_a_published_set_is_there_is_told(tmp_path: Path) -> None:
    def files(count: int, folder: str = "mitdb") -> list[WFDBFile]:
        return [WFDBFile(tmp_path / folder / str(i), str(i), f"mitbih/{i}") for i in range(count)]

    assert edition("mitbih", files(48)) == "all 48 recordings of version 1.0.0"
    assert "a part of it: 3 of the 48" in edition("mitbih", files(3))
    assert edition("own", files(3)) == "3 recordings"
    nested = edition("ptbxl", files(3, "files/ptb-xl/1.0.1"))
    assert nested.startswith("version 1.0.1 by its folder") and "3 of the 21,837" in nested


def test_recordings_that_a_list_names_and_that_are_not_there_are_told(synthetic_root: Path, tmp_path: Path) -> None:
    shutil.copytree(synthetic_root / "mitdb", tmp_path / "mitdb")
    data = MITBIH(name="mitbih", root=tmp_path / "mitdb", spec=SignalSpec(100, ("II",), 100))
    assert not check_list(data.root, data.records())
    lost = sorted(path.stem for path in data.root.glob("*.hea"))[0]
    for path in data.root.glob(f"{lost}.*"):
        path.unlink()
    assert [list(finding.where) for finding in check_list(data.root, data.records())] == [[lost]]


# --- patients and labels ----------------------------------------------------------------------------------------


def test_counts_are_those_of_the_table(synthetic_root: Path, tmp_path: Path) -> None:
    root = synthetic_root / "ptbxl"
    data = PTBXL(name="synthetic", root=root, spec=SPEC, cache_dir=tmp_path)
    cohort, _ = survey(data)
    table = pd.read_csv(root / "ptbxl_database.csv")
    table["split"] = table["strat_fold"].map(lambda fold: {9: "val", 10: "test"}.get(fold, "train"))
    kinds = pd.read_csv(root / "scp_statements.csv", index_col=0)["diagnostic_class"].dropna()
    statements = table["scp_codes"].map(lambda text: {kinds[code] for code in eval(text) if code in kinds})
    for split, rows in table.groupby("split"):
        assert cohort.recordings[split] == Count(len(rows), rows["patient_id"].nunique())
    for name, counts in cohort.classes.items():
        for split, rows in table[[name in each for each in statements]].groupby("split"):
            assert counts[split] == Count(len(rows), rows["patient_id"].nunique())
    assert set(cohort.classes) == set().union(*statements) and cohort.unknown == 0
    assert cohort.unlabelled == sum(not each for each in statements)


def stub(split: Sequence[int], patient: Sequence[str], y: Any, kind: str = "inter-patient", classes: int = 2) -> Any:
    """What the survey asks of a data module: one example a recording."""
    rows, splits = np.arange(len(split)), np.array(split, np.int8)
    store = SimpleNamespace(patient=np.array(patient), record_id=rows.astype(str))
    store_with_length = type("S", (SimpleNamespace,), {"__len__": lambda self: len(rows)})(**vars(store))
    names = tuple("abcdef"[:classes])
    return SimpleNamespace(store=store_with_length, split_of_records=lambda _: splits, split_kind=kind, classes=names,
                           labelled=Examples(rows, rows, np.array(y), splits))  # fmt: skip


def test_a_patient_in_two_splits_is_an_error_unless_it_is_meant() -> None:
    split, y = [0, 1, 2, 2], [0, 1, 0, 1]
    told = [survey(stub(split, patient, y, kind))[1] for patient, kind in (
        (["x/1", "x/2", "x/1", "x/3"], "inter-patient"), (["x/1", "x/2", "x/1", "x/3"], "intra-patient"),
        (["x/1", "x/2", "x/3", "x/3"], "inter-patient"))]  # fmt: skip
    of = [[(f.severity, dict(f.where)) for f in found if "patient in" in f.what] for found in told]
    assert of == [[("error", {"x/1": "train and test"})], [("note", {"x/1": "train and test"})], []]


def test_a_patient_who_is_left_out_elsewhere_is_in_one_split() -> None:
    found = survey(stub([0, 1, 2, -1], ["x/1", "x/2", "x/3", "x/3"], [0, 1, 0, 1]))[1]
    assert not [finding for finding in found if "patient in" in finding.what]


def test_unknown_people_empty_splits_and_classes_without_examples_are_told() -> None:
    split = [0] * 12 + [2] * 12
    y = np.array([0, 1] * 6 + [0] * 12)
    cohort, found = survey(stub(split, [f"x/naming:{i}" for i in range(24)], y, "unknown", classes=3))
    told = {finding.what.split(" with")[0]: finding for finding in found}
    assert cohort.unknown == 24
    assert told["no recording in val"].severity == "error"
    assert "nobody knows whose 24 recordings are, so a patient may be in two splits" in told
    assert told["2 classes"].where == {"b": "none in test", "c": "none in train and test"}
    few = next(finding for finding in found if "fewer than" in finding.what)
    assert few.severity == "note" and few.where == {"a": "6 in train, none in val"}


def test_the_windows_of_a_recording_count_once() -> None:
    data = stub([0, 1, 2], ["x/1", "x/2", "x/3"], [0, 1, 1])
    row = np.array([0, 0, 0, 1, 2, 2])
    y = np.array([[1, 0], [1, 0], [1, 0], [0, 1], [0, 1], [0, 1]], np.uint8)
    data.labelled = Examples(row, row, y, row.astype(np.int8), unit=row)
    cohort, _ = survey(data)
    assert [cohort.classes["a"]["train"], cohort.classes["b"]["val"], cohort.classes["b"]["test"]] == [(1, 1)] * 3


def test_a_folder_without_labels_is_examined_too(synthetic_root: Path, tmp_path: Path) -> None:
    shutil.copytree(synthetic_root / "ptbxl/records100/00000", tmp_path / "mine")
    data = Folder(name="folder", root=tmp_path / "mine", spec=SPEC, cache_dir=tmp_path, on_bad_record="skip")
    examination = examine(data)
    assert examination.cohort is not None and not examination.cohort.classes
    assert [finding.severity for finding in examination.findings if finding.what.startswith("no labels")] == ["note"]


# --- the command ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def damaged(synthetic_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The synthetic set at 100 Hz: 1 NaN, 2 in microvolts, 3 missing, 4 truncated; 5 of fold 10 a copy of 6."""
    root = tmp_path_factory.mktemp("damaged") / "ptbxl"
    ignored = shutil.ignore_patterns("records500")
    shutil.copytree(synthetic_root / "ptbxl", root, ignore=ignored)
    table = pd.read_csv(root / "ptbxl_database.csv")
    table["strat_fold"] = 1 + np.arange(len(table)) % 8
    table.loc[table["ecg_id"] == 5, "strat_fold"] = 10
    table["patient_id"] = table["ecg_id"]
    table.to_csv(root / "ptbxl_database.csv", index=False)
    path = {number: root / name for number, name in zip(table["ecg_id"], table["filename_lr"], strict=True)}
    digits = np.rint(1000 * WFDBFile(path[1], "1", "x/1").read().signal).astype(np.int16)
    digits[0, 50:60] = -32768
    write_record(path[1], 100, TWELVE_LEADS, digits)
    header = path[2].with_suffix(".hea")
    header.write_text(header.read_text().replace("1000.0(0)/mV", "1.0(0)/mV"))
    path[3].with_suffix(".dat").unlink()
    path[4].with_suffix(".dat").write_bytes(path[4].with_suffix(".dat").read_bytes()[:-10])
    copy = np.rint(1000 * WFDBFile(path[6], "6", "x/1").read().signal).astype(np.int16)
    write_record(path[5], 100, TWELVE_LEADS, copy)
    return root


def test_the_command_names_each_fault_and_its_remedy(damaged: Path, tmp_path: Path) -> None:
    line = [sys.executable, "-m", "ecg_lightning.data.doctor", "data=ptbxl", f"data.root={damaged}", "out=seen"]
    done = subprocess.run(line, check=False, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 1, done.stderr
    for words in ("error    files missing, truncated or damaged, in 2 of 60 recordings: 3 (", "4 (",
                  "error    amplitudes of microvolts that are read as mV, in 1 of 58 recordings: 2 (",
                  "error    invalid samples (NaN), in 1 of 58 recordings: 1 (I: 10)",
                  "error    1 pair of recordings in two splits with the very same samples: 5 = 6 (test and train",
                  "error    no recording in val", "a part of it: 60 of the 21,799"):  # fmt: skip
        assert words in done.stdout
    assert done.stdout.count("  -> ") == sum(map(done.stdout.count, ("\nerror ", "\nwarning ", "\nnote ")))
    told = json.loads((tmp_path / "seen/doctor.json").read_text())
    assert set(told["unreadable"]) == {"3", "4"} and not told["well"] and len(told["recordings"]) == 58
    assert told["cohort"]["split"]["5"] == "test"
    pictures = sorted(path.name for path in (tmp_path / "seen/pictures").iterdir())
    assert len(pictures) == 4 and {name.partition("-")[2] for name in pictures} >= {"1.png", "2.png", "5.png"}


def said(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *words: str) -> tuple[Any, str, str]:
    """Exit code and output of the command, in this process."""
    monkeypatch.setattr(sys, "argv", ["doctor", *words])
    try:
        command_line(doctor.main)
    except SystemExit as end:
        return end.code, *capsys.readouterr()
    return None, *capsys.readouterr()


def test_a_set_that_is_well_ends_with_code_0(
    synthetic_root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "own"
    root.mkdir()
    names = sorted((synthetic_root / "ptbxl/records100").rglob("*.hea"))[:12]
    for path in names:
        shutil.copy(path, root)
        shutil.copy(path.with_suffix(".dat"), root)
    rows = [f"{path.name},{i},{(1, 9, 10)[i % 3]},{'ab'[i // 3 % 2]}" for i, path in enumerate(names)]
    (root / "records.csv").write_text("\n".join(["path,patient,fold,label", *rows]))
    where = [f"data.root={root}", f"out={tmp_path / 'seen'}", f"cache_dir={tmp_path / 'cache'}"]
    code, out, _ = said(capsys, monkeypatch, "data=folder", *where)
    assert code == 0 and "folder: nothing to mend" in out and "error" not in out
    assert json.loads((tmp_path / "seen/doctor.json").read_text())["well"]


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["data=ptbxl", "data.root=nowhere"], "data.root=nowhere is missing"),
        (["data=foo"], "foo"),
        (["data=ptbxl", "data.taks=form"], "data.taks"),
        (["data=ptbxl", "data.task=forms"], "data.task"),
    ],
)
def test_a_mistake_is_told_in_one_line_with_code_2(
    words: list[str], named: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    code, out, err = said(capsys, monkeypatch, *words, f"out={tmp_path}")
    assert code == 2 and err.startswith("error: ") and err.count("\n") == 1 and named in err and not out


def test_help_names_every_data_set(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    code, out, _ = said(capsys, monkeypatch, "--help")
    assert code is None and "out: runs/doctor-" in out
    assert all(path.stem in out for path in (PROJECT / "conf/data").glob("*.yaml"))


def test_the_gravest_finding_is_told_first() -> None:
    each = [Finding(severity, severity, "") for severity in ("note", "error", "warning")]
    assert [finding.what for finding in by_severity(each)] == ["error", "warning", "note"]


def test_a_set_of_bad_recordings_alone_is_told_so(tmp_path: Path) -> None:
    write_record(tmp_path / "a", 100, ("I", "II"), np.zeros((2, 300), np.int16))
    data = Folder(name="folder", root=tmp_path, spec=SPEC, cache_dir=tmp_path / "cache", on_bad_record="skip")
    examination = examine(data)
    assert examination.cohort is None and {"flat leads": "error"}.items() <= first(examination.findings).items()


# --- real recordings --------------------------------------------------------------------------------------------


def some(folder: Path, step: int = 1) -> list[Vitals]:
    files = sorted(folder.rglob("*.hea"))[::step]
    return [take_vitals(WFDBFile(path.with_suffix(""), path.stem, "x/1")) for path in files]


@pytest.mark.realdata
@pytest.mark.parametrize(("folder", "step"), [("ptbxl/records100", 5), ("ptbxl/records500", 2), ("g12ec", 1)])
def test_real_recordings_are_well(data_root: Path, folder: str, step: int) -> None:
    assert all(finding.severity == "note" for finding in judge(some(data_root / folder, step)))


@pytest.mark.realdata
def test_z_scored_recordings_are_known_for_what_they_are(data_root: Path) -> None:
    recordings = some(data_root / "ptbxl_filtered", 20)
    found = [finding for finding in judge(recordings) if finding.severity != "note"]
    assert len(found) == 1 and found[0].what.startswith("z-scored") and len(found[0].where) == len(recordings)


@pytest.mark.realdata
def test_mitbih_is_well_and_lacks_what_it_is_known_to_lack(data_root: Path) -> None:
    data = MITBIH(name="mitbih", root=data_root / "mitdb", spec=SignalSpec(100, ("II", "V1"), 400))
    layouts, faults = read_headers(data.records())
    found = {finding.what.split(" (")[0]: finding for finding in check_layouts(layouts, data.spec)}
    assert not faults and {finding.severity for finding in found.values()} == {"note"}
    assert list(found["II not recorded"].where) == ["102", "104"]
    assert not check_list(data.root, data.records()) and edition("mitbih", data.records()).startswith("all 48")
    recordings = [take_vitals(file) for file in data.records() if file.record_id in ("100", "103")]
    assert set(first(judge(recordings)).values()) == {"note"}  # 103 does reach the recorder's limit


@pytest.mark.realdata
def test_the_pair_of_ptbxl_that_is_one_recording_is_found(data_root: Path) -> None:
    folder = data_root / "ptbxl/records100/00000"
    pair = [take_vitals(WFDBFile(folder / f"{n:05}_lr", str(n), "ptbxl/16773")) for n in (455, 456, 457)]
    assert [list(finding.where) for finding in duplicates(pair, {})] == [["456 = 457"]]


def test_a_module_without_recordings_is_refused() -> None:
    with pytest.raises(UserError, match="holds no recordings"):
        examine(SimpleNamespace(records=list, name="empty", root=Path("there")))  # type: ignore[arg-type]
