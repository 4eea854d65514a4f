"""Maps of labels: what they say of two data sets, what they refuse, and that the ones we ship name what there is."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import PROJECT

from ecg_lightning.data.cinc import CinC
from ecg_lightning.data.mitbih import TASKS
from ecg_lightning.errors import UserError
from ecg_lightning.evaluation.label_map import LabelMap, read_label_map
from ecg_lightning.signal import SignalSpec

SHIPPED = sorted((PROJECT / "conf" / "label_map").glob("*.yaml"))
PATH = Path("map.yaml")
A, B = ("AFIB", "CRBBB", "IRBBB", "SR"), ("AF", "CRBBB|RBBB", "LAD", "NSR", "PR")
MAP = LabelMap(PATH, "me", {}, {"AF": ["AFIB"], "RBBB": ["CRBBB", "IRBBB"], "NSR": ["SR"], "PR": ["PACE"]})


def test_a_map_covers_the_classes_that_can_be_learned_and_says_why_not_the_others() -> None:
    found = MAP.between(A, B)
    assert found.meant == {"AF": ("AFIB",), "CRBBB|RBBB": ("CRBBB", "IRBBB"), "NSR": ("SR",)}
    assert found.left_out == {"LAD": "not in the map", "PR": "nobody to learn PACE from"}


@pytest.mark.parametrize("multi_label", [True, False])
def test_probabilities_are_translated_class_by_class(multi_label: bool) -> None:
    p = np.array([[0.1, 0.2, 0.3, 0.4], [0.7, 0.1, 0.1, 0.1]])
    found = MAP.between(A, B).translate(p, A, multi_label)
    joined = [0.3, 0.1] if multi_label else [0.5, 0.2]
    np.testing.assert_allclose(found, np.transpose([[0.1, 0.7], joined, [0.4, 0.1]]))


def test_entries_that_meet_in_one_joint_class_count_together() -> None:
    entries = LabelMap(PATH, "me", {}, {"PVC": ["a"], "VPB": ["b"]})
    assert entries.between(("a", "b"), ("PVC|VPB",)).meant == {"PVC|VPB": ("a", "b")}


@pytest.mark.parametrize(
    ("a", "b", "message"),
    [
        (A, B, r"map\.yaml: classes\.PR names PACE, which is no class.*AFIB, CRBBB"),
        ((*A, "PACE"), ("AF", "RBBB", "PR"), r"map\.yaml: classes names NSR, which is no class.*AF, PR, RBBB"),
    ],
)
def test_a_name_that_there_is_not_is_refused(a: tuple[str, ...], b: tuple[str, ...], message: str) -> None:
    with pytest.raises(UserError, match=message):
        MAP.check(a, b)
    MAP.check((*A, "PACE"), B)


def test_a_map_that_covers_nothing_is_refused() -> None:
    with pytest.raises(UserError, match=r"map\.yaml: classes covers no class .*LAD: not in the map.*PR: nobody"):
        MAP.between(A, ("LAD", "PR"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "cannot be read"),
        ("classes: [", "cannot be read"),
        ("[1, 2]", "has the keys source, learn_from, classes"),
        ("classes: {AF: [AFIB]}\nsource: me", "has the keys"),
        ("classes: {AF: [AFIB]}\nsource: me\nlearn_from: {}\nclases: {}", "and no other"),
        ("classes: {AF: AFIB}\nsource: me\nlearn_from: {}", "entries such as"),
        ("classes: {AF: []}\nsource: me\nlearn_from: {}", "entries such as"),
        ("classes: {}\nsource: me\nlearn_from: {}", "entries such as"),
        ("classes: {AF: [AFIB]}\nsource: 3\nlearn_from: {}", "source must be text"),
        ("classes: {AF: [AFIB]}\nsource: me\nlearn_from: all", "learn_from keys"),
    ],
)
def test_what_is_no_map_is_refused(tmp_path: Path, text: str | None, message: str) -> None:
    path = tmp_path / "mine.yaml"
    if text is not None:
        path.write_text(text)
    with pytest.raises(UserError, match=rf"mine\.yaml: .*{message}"):
        read_label_map(path)


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_every_map_says_where_it_comes_from_and_uses_a_statement_once(path: Path) -> None:
    known = read_label_map(path)
    assert "Wagner et al. 2020" in known.source and known.learn_from == {"task": "all"}
    assert len({each for of in known.classes.values() for each in of}) == len(known.classes)


@pytest.mark.realdata
@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_every_map_learns_from_published_statements(path: Path, data_root: Path) -> None:
    known = read_label_map(path)
    assert {each for of in known.classes.values() for each in of} <= set(published(data_root))


def published(data_root: Path) -> list[str]:
    return pd.read_csv(data_root / "ptbxl" / "scp_statements.csv", index_col=0).index.tolist()


def test_the_map_for_mitbih_names_beat_classes() -> None:
    path = next(path for path in SHIPPED if path.stem == "ptbxl_mitbih")
    assert set(read_label_map(path).classes) <= set(TASKS["aami4"])


@pytest.mark.realdata
@pytest.mark.parametrize("task", ["scored2020", "scored2021"])
def test_the_map_for_g12ec_names_scored_diagnoses_that_the_challenge_found_in_ptbxl(
    data_root: Path, tmp_path: Path, task: str
) -> None:
    known = read_label_map(next(path for path in SHIPPED if path.stem == "ptbxl_g12ec"))
    spec = SignalSpec.of_seconds(100, ("I",), 10)
    data = CinC(data_root / "cinc2020_meta", task=task, name="g12ec", root=tmp_path, spec=spec)
    known.check(published(data_root), data.vocabulary)
    table = pd.read_csv(data_root / "cinc2020_meta" / "dx_mapping_scored.csv").set_index("Abbreviation")
    counts = table["PTB-XL"].rename({"RBBB": "-", "VPB": "-"})
    assert [name for name in known.classes if counts[name] == 0] == ["PVC"]
    assert set(counts.index[counts > 0]) - set(known.classes) == {"LAD", "RAD", "SVPB", "TAb"}, "as its comment says"
