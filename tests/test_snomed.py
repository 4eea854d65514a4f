"""The challenges' tables of diagnoses: which codes share a label, read naively from the same text."""

from __future__ import annotations

import csv
import re
import shutil
from collections.abc import Callable
from itertools import combinations, product
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecg_lightning.data.snomed import Task, labels_of_codes
from ecg_lightning.errors import UserError

NAMES = {100001: "A", 100002: "B", 100003: "C", 100004: "D", 100005: "E"}
"""Five diagnoses of our own, in the tables' layout."""

SCORED = {"scored2020": "dx_mapping_scored.csv", "scored2021": "dx_mapping_scored_2021.csv"}
WEIGHTS = {"scored2020": "weights.csv", "scored2021": "weights_2021.csv"}


def write_tables(folder: Path, task: str, notes: dict[int, str] | None = None, columns: str = "") -> Path:
    code = "SNOMED CT Code" if task == "scored2020" else "SNOMEDCTCode"
    rows = [f"dx,{number},{name},1,{(notes or {}).get(number, '')}\n" for number, name in NAMES.items()]
    (folder / SCORED[task]).write_text(f"Dx,{code},Abbreviation,Total,Notes\n" + "".join(rows))
    columns = columns or ",".join(map(str, NAMES))
    (folder / WEIGHTS[task]).write_text(f",{columns}\n" + "".join(f"{c},1.0\n" for c in columns.split(",")))
    return folder


@pytest.mark.parametrize("task", ["scored2020", "scored2021"])
def test_diagnoses_without_a_note_are_classes_of_their_own(tmp_path: Path, task: Task) -> None:
    labels = labels_of_codes(write_tables(tmp_path, task), task)
    assert labels == {str(number): name for number, name in NAMES.items()}


@pytest.mark.parametrize("task", ["scored2020", "scored2021"])
def test_a_note_makes_two_diagnoses_one(tmp_path: Path, task: Task) -> None:
    note = "We score 100004 and 100002 as the same diagnosis."
    labels = labels_of_codes(write_tables(tmp_path, task, {100002: note, 100004: note}), task)
    assert list(labels.values()) == ["A", "B|D", "C", "B|D", "E"]


def test_a_column_of_the_matrix_makes_several_diagnoses_one(tmp_path: Path) -> None:
    folder = write_tables(tmp_path, "scored2021", columns="100005|100001|100003,100002,100004")
    assert list(labels_of_codes(folder, "scored2021").values()) == ["A|C|E", "B", "A|C|E", "D", "A|C|E"]


@given(st.lists(st.sampled_from(list(combinations(NAMES, 2))), unique=True))
def test_diagnoses_share_a_label_just_where_a_chain_of_notes_joins_them(pairs: list[tuple[int, int]]) -> None:
    reached = {number: {number} for number in NAMES}
    for _ in NAMES:
        for who, (a, b) in product(NAMES, pairs):
            reached[who] |= {a, b} if reached[who] & {a, b} else set()
    with TemporaryDirectory() as folder:
        table = write_tables(Path(folder), "scored2020") / SCORED["scored2020"]
        noted = [f"dx,{a},{NAMES[a]},1,We score {a} and {b} as the same diagnosis.\n" for a, b in pairs]
        table.write_text(table.read_text() + "".join(noted))
        labels = labels_of_codes(Path(folder), "scored2020")
    for a, b in combinations(NAMES, 2):
        assert (labels[str(a)] == labels[str(b)]) == (b in reached[a])


# --- the real tables --------------------------------------------------------------------------------------------


def naive_rows(data_root: Path, name: str) -> list[dict[str, str]]:
    text = (data_root / "cinc2020_meta" / name).read_text().replace("SNOMED CT Code", "SNOMEDCTCode")
    return list(csv.DictReader(text.splitlines()))


@pytest.mark.realdata
@pytest.mark.parametrize(("task", "number"), [("scored2020", 24), ("scored2021", 26)])
def test_the_real_tables_give_the_classes_that_were_scored(data_root: Path, task: Task, number: int) -> None:
    labels, rows = labels_of_codes(data_root / "cinc2020_meta", task), naive_rows(data_root, SCORED[task])
    noted = {frozenset(re.findall(r"\d+", row["Notes"])) for row in rows if row["Notes"]}
    assert noted and len(set(labels.values())) == number == len(rows) - len(noted)
    for a, b in combinations([row["SNOMEDCTCode"] for row in rows], 2):
        assert (labels[a] == labels[b]) == ({a, b} in noted)
    for row in rows:
        assert row["Abbreviation"] in labels[row["SNOMEDCTCode"]].split("|")


@pytest.mark.realdata
def test_the_real_pairs_are_named_by_both_abbreviations(data_root: Path) -> None:
    joined = {label for label in labels_of_codes(data_root / "cinc2020_meta", "scored2021").values() if "|" in label}
    assert joined == {"CLBBB|LBBB", "CRBBB|RBBB", "PAC|SVPB", "PVC|VPB"}


@pytest.mark.realdata
def test_diagnoses_are_one_where_the_matrix_weighs_them_alike(data_root: Path) -> None:
    """In 2020's matrix, 1.0 off the diagonal says what the notes say."""
    lines = (data_root / "cinc2020_meta/weights.csv").read_text().splitlines()
    codes, labels = lines[0].split(",")[1:], labels_of_codes(data_root / "cinc2020_meta", "scored2020")
    for line in lines[1:]:
        code, *weights = line.split(",")
        same = {other for other, weight in zip(codes, weights, strict=True) if float(weight) == 1}
        assert same == {other for other in codes if labels[other] == labels[code]}


@pytest.mark.realdata
def test_all_is_every_code_of_every_table(data_root: Path) -> None:
    names = [*SCORED.values(), "dx_mapping_unscored.csv"]
    codes = {row["SNOMEDCTCode"] for name in names for row in naive_rows(data_root, name)}
    labels = labels_of_codes(data_root / "cinc2020_meta", "all")
    assert labels.keys() == codes and labels["164909002"] == labels["733534002"] == "CLBBB|LBBB"


# --- faults -----------------------------------------------------------------------------------------------------


def overwrite(name: str, content: str) -> Callable[[Path], object]:
    return lambda folder: (folder / name).write_text(content)


def swap(folder: Path) -> None:
    other = folder / "other"
    other.mkdir()
    write_tables(other, "scored2021", columns=",".join(map(str, [*NAMES, 100006])))
    shutil.copy(other / "weights_2021.csv", folder / "weights.csv")


FAULTS: dict[str, tuple[Callable[[Path], object], str]] = {
    "no folder": (shutil.rmtree, r"dx_mapping_scored\.csv: cannot be read.*evaluation-2020.*data\.tables"),
    "no table": (lambda folder: (folder / "dx_mapping_scored.csv").unlink(), r"dx_mapping_scored\.csv.*evaluation-20"),
    "no matrix": (lambda folder: (folder / "weights.csv").unlink(), r"weights\.csv: cannot be read.*evaluation-2020"),
    "an empty table": (overwrite("dx_mapping_scored.csv", ""), r"dx_mapping_scored\.csv: cannot be read"),
    "a heading of another table": (overwrite("dx_mapping_scored.csv", "a,b\n1,2\n"), "has no column SNOMEDCTCode"),
    "a code of letters": (
        overwrite("dx_mapping_scored.csv", "SNOMEDCTCode,Abbreviation\nAF,AF\n"),
        "'AF' is no SNOMED",
    ),
    "the other year's matrix": (swap, r"weights\.csv and .*dx_mapping_scored\.csv are about different diagnoses"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_faulty_table_is_one_message_that_says_where_it_is_published(tmp_path: Path, fault: str) -> None:
    folder = tmp_path / "tables"
    folder.mkdir()
    write_tables(folder, "scored2020")
    happen, names = FAULTS[fault]
    happen(folder)
    with pytest.raises(UserError, match=names) as error:
        labels_of_codes(folder, "scored2020")
    assert "\n" not in str(error.value) and "physionetchallenges/evaluation-2020" in str(error.value)


def test_2021s_tables_are_asked_for_under_the_names_that_they_were_published_by(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"take dx_mapping_scored\.csv from \S+evaluation-2021 .* as \S+_2021\.csv"):
        labels_of_codes(tmp_path, "scored2021")
