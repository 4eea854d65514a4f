"""Damaged tables of data sets: read as they stand, or refused in one line that names the table.

A table says most things once: another digit in it is another patient, and nobody can tell. What can be told is that
every recording lies in the folder, is there once, and is described by values that can be.
"""

from __future__ import annotations

import gzip
import io
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from shutil import rmtree
from typing import Any

import numpy as np
import pytest
from damage import PATHS, TO_ANY_FILE, TO_ANY_FILE_ONCE, Damage, Files, damaged, to_field, to_text, write
from watch import watch

from ecg_lightning.data.beats import BeatTable
from ecg_lightning.data.folder import Folder
from ecg_lightning.data.heartbeat import SAMPLES, Heartbeat
from ecg_lightning.data.module import ECGDataModule
from ecg_lightning.data.ptbxl import PTBXL
from ecg_lightning.data.snomed import labels_of_codes
from ecg_lightning.signal import SignalSpec

SPEC = SignalSpec(100, ("I", "II"), 1000)
Check = Callable[[Any, Files, Path], bool]


@dataclass(frozen=True)
class TableCase:
    """Tables and their reader; `check` says whether what was read can be."""

    name: str
    files: Files
    read: Callable[[Path], Any]
    check: Check
    damages: Sequence[Damage]


def described(data: ECGDataModule) -> tuple[list[tuple[Any, ...]], tuple[str, ...]]:
    records = [(file.record_id, file.patient, file.fold, file.paths()) for file in data.records()]
    return records, data.classes


def lie_inside(read: Any, files: Files, folder: Path) -> bool:
    records, _ = read
    names, patients, folds, paths = zip(*records, strict=True)
    inside = all(path.resolve().is_relative_to(folder.resolve()) for each in paths for path in each)
    return inside and len(set(names)) == len(names) and all(patients) and None not in folds


# --- PTB-XL -----------------------------------------------------------------------------------------------------

DATABASE = ["ecg_id,patient_id,age,scp_codes,strat_fold,filename_lr,filename_hr"] + [
    f"{i},{1000 + i // 2}.0,{50 + i},\"{{'NORM': 100.0, 'SR': 0.0}}\",{1 + i // 2 % 10},"
    f"records100/00000/{i:05d}_lr,records500/00000/{i:05d}_hr"
    for i in range(1, 21)
]
STATEMENTS = """,description,diagnostic,form,rhythm,diagnostic_class,diagnostic_subclass
NORM,normal ECG,1.0,,,NORM,NORM
SR,sinus rhythm,,,1.0,,
IMI,inferior infarction,1.0,,,MI,IMI
"""


def ptbxl_case() -> TableCase:
    files = {"ptbxl_database.csv": "\n".join([*DATABASE, ""]).encode(), "scp_statements.csv": STATEMENTS.encode()}
    deep = ["{" * 200, "(" * 5000, "[" * 100000, "{'NORM': " + "9" * 5000 + "}", "{'NORM': 1e999}", "{1: 2}", "set()"]
    damages = [
        *to_text(r".*\.csv"),
        *to_field("file", r"ptbxl_.*", r"(records100[^,]*)", PATHS),
        *to_field("statements", r"ptbxl_.*", r"\"(\{[^\"]*)\"", deep),
        *to_field("fold", r"ptbxl_.*", r"\",(\d+),", ["0", "11", "nan", "1e300", "", "-1", "1.5"]),
        *to_field("patient", r"ptbxl_.*", r"^\d+,([\d.]+),", ["nan", "inf", "", "1e300", "a/b", "../x", "-0"]),
    ]
    return TableCase(
        "ptbxl", files, lambda root: described(PTBXL(name="x", root=root, spec=SPEC, cache_dir=root / "cache")),
        lie_inside, damages
    )  # fmt: skip


# --- a folder of one's own --------------------------------------------------------------------------------------


def folder_case() -> TableCase:
    array = io.BytesIO()
    np.save(array, np.random.default_rng(0).normal(size=(2, 500)))
    recordings = {f"r{i}.npy": array.getvalue() for i in range(10)}
    lines = ["path,record,patient,fold,fs,leads,unit,label"]
    lines += [f"r{i}.npy,rec{i},p{i},{'train val test'.split()[i % 3]},100,I II,mV,{'ab'[i % 2]}" for i in range(10)]
    damages = [
        *to_text(r"records\.csv"),
        *to_field("path", r"records\.csv", r"^(r\d\.npy)", PATHS),
        *to_field("rate", r"records\.csv", r",(100),", ["nan", "inf", "0", "-1", "1e999", "x", ""]),
    ]
    return TableCase(
        "folder", {"records.csv": "\n".join([*lines, ""]).encode(), **recordings},
        lambda root: described(Folder(name="x", root=root, spec=SPEC, cache_dir=root / "cache")), inside_and_labelled,
        damages,
    )  # fmt: skip


def inside_and_labelled(read: Any, files: Files, folder: Path) -> bool:
    records, classes = read
    return lie_inside(([(*record[:2], 0, record[3]) for record in records], classes), files, folder)


# --- the challenges' tables of diagnoses ------------------------------------------------------------------------

DIAGNOSES = {
    "dx_mapping_scored.csv": "SNOMED CT Code,Abbreviation,Notes\n426783006,NSR,\n164889003,AF,\n"
    "713427006,CRBBB,We score 713427006 and 59118001 as the same diagnosis.\n59118001,RBBB,\n",
    "weights.csv": ",426783006,164889003,713427006,59118001\n",
}


def diagnoses_case() -> TableCase:
    files = {name: text.encode() for name, text in DIAGNOSES.items()}
    return TableCase("cinc", files, lambda folder: labels_of_codes(folder, "scored2020"), are_labels, to_text(".*"))


def are_labels(read: Any, files: Files, folder: Path) -> bool:
    return all(code.isdigit() and isinstance(label, str) for code, label in read.items())


# --- the heartbeat files ----------------------------------------------------------------------------------------


def beats() -> bytes:
    rng = np.random.default_rng(0)
    rows = np.zeros((12, SAMPLES + 1))
    for i, row in enumerate(rows):
        row[: 100 + i] = np.round(rng.uniform(0.01, 1, 100 + i), 4)
        row[-1] = i % 5
    return "".join(",".join(f"{value:g}" for value in row) + "\n" for row in rows).encode()


def zipped() -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as file:
        for name in ("mitbih_train.csv", "mitbih_test.csv"):
            file.writestr(name, beats())
    return content.getvalue()


def heartbeat_case(kind: str) -> TableCase:
    names = ("mitbih_train.csv", "mitbih_test.csv")
    files: dict[str, dict[str, bytes]] = {
        "csv": dict.fromkeys(names, beats()),
        "gz": {f"{name}.gz": gzip.compress(beats(), mtime=0) for name in names},
        "zip": {"archive.zip": zipped()},
    }
    spec = SignalSpec(125, ("II",), SAMPLES)
    return TableCase(
        f"heartbeat, {kind}", files[kind],
        lambda root: Heartbeat(name="x", root=root, spec=spec, cache_dir=root / "cache").table(), are_rows,
        to_text(r".*\.csv"),
    )  # fmt: skip


def are_rows(read: BeatTable, files: Files, folder: Path) -> bool:
    """Each beat is a line of its file, by its number."""
    texts = {"train": beats(), "test": beats()}
    for name, content in files.items():
        assert isinstance(content, bytes)
        if name.startswith("mitbih"):
            texts[name[7:].split(".")[0]] = gzip.decompress(content) if name.endswith(".gz") else content
    for name, signal, label in zip(read.record_id, read.signal, read.label, strict=True):
        part, _, row = name.partition("-")
        lines = [line for line in io.StringIO(texts[part].decode(), newline=None) if line.strip()]
        values = np.array([float(cell or "nan") for cell in lines[int(row)].removeprefix("\ufeff").split(",")])
        if not (np.allclose(values[:SAMPLES], signal) and values[SAMPLES] == label and (signal >= 0).all()):
            return False
    return bool((read.signal <= 1).all()) and set(read.label.tolist()) <= set(range(5))


CASES = [ptbxl_case(), folder_case(), diagnoses_case(), *map(heartbeat_case, ("csv", "gz", "zip"))]


def examine_all(case: TableCase, rounds: range, folder: Path, every: int = 1) -> None:
    write(folder / "whole", case.files)
    assert case.check(case.read(folder / "whole"), case.files, folder / "whole")
    tables = {name: content for name, content in case.files.items() if not name.endswith(".npy")}
    corpus = [*damaged(tables, [*TO_ANY_FILE, *case.damages], rounds),
              *damaged(tables, TO_ANY_FILE_ONCE, range(1))][::every]  # fmt: skip
    faults, refused = [], 0
    for number, (what, file, files) in enumerate(corpus):
        place = folder / str(number)
        others = {name: content for name, content in case.files.items() if name not in tables}
        write(place, {**others, **files})
        seen = watch(lambda place=place: case.read(place), place)  # type: ignore[misc]
        fault = seen.fault
        if not fault and seen.result is not None and not case.check(seen.result, files, place):
            fault = "what was read cannot be"
        refused += bool(seen.message)
        faults += [f"{file}: {what}: {fault}"] * bool(fault)
        rmtree(place)
    print(f"{case.name}: {len(corpus)} damaged tables, {refused} refused")
    assert not faults, f"{len(faults)} of {len(corpus)}\n" + "\n".join(faults[:40])


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_some_damaged_tables_are_read_or_refused(case: TableCase, tmp_path: Path) -> None:
    examine_all(case, range(1), tmp_path, every=7)


@pytest.mark.parametrize(("piece", "said"), [(b"0," * SAMPLES + b"0\n", "more than"), (b"0,", "longer than")])
def test_a_small_file_that_unpacks_to_a_gigabyte_is_refused(tmp_path: Path, piece: bytes, said: str) -> None:
    member = gzip.compress(piece * (10_000_000 // len(piece)))  # A gzip file may have many.
    write(tmp_path, {**heartbeat_case("gz").files, "mitbih_train.csv.gz": 100 * member})
    seen = watch(lambda: heartbeat_case("gz").read(tmp_path), tmp_path)
    assert said in seen.message and not seen.fault


@pytest.mark.damage
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_all_damaged_tables_are_read_or_refused(case: TableCase, tmp_path: Path) -> None:
    examine_all(case, range(1, 6), tmp_path)
