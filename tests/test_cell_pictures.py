"""A single evaluation is drawn, once and whole; a sweep draws none."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from omegaconf import DictConfig

from ecg_lightning.assessment import assess
from ecg_lightning.errors import UserError
from ecg_lightning.precheck import check_evaluation
from ecg_lightning.reporting.cell_pictures import draw_predictions
from ecg_lightning.reporting.pictures import draw

Evaluation = Callable[..., DictConfig]
SMALL = ("budget=10", "resamples=20", "protocol.beside=[]", "attributions=2")
CHARTS = {f"{name}{dark}.png" for name in ("confusion", "roc_pr", "reliability", "embedding") for dark in ("", "-dark")}


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


@pytest.fixture(scope="module")
def drawn(evaluation: Evaluation, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cell about beats, with its pictures."""
    out = tmp_path_factory.mktemp("out")
    return assess(evaluation("mitbih", "data.task=binary", *SMALL, f"results_dir={out}"), pictures=True)


def test_a_cell_has_its_charts_light_and_dark_and_the_records_asked_for(drawn: Path) -> None:
    found = names(drawn / "pictures")
    records = {name for name in found if name.startswith("attribution-")}
    assert found - records == CHARTS and len(records) == 2
    assert {name.rpartition("-")[2] for name in records} == {"right.png", "wrong.png"}
    assert not [name for name in names(drawn) if name.startswith(".")]


def test_a_drawn_cell_is_not_drawn_again(drawn: Path, evaluation: Evaluation, caplog: pytest.LogCaptureFixture) -> None:
    written = {path: path.stat().st_mtime_ns for path in drawn.rglob("*")}
    with caplog.at_level("INFO"):
        config = evaluation("mitbih", "data.task=binary", *SMALL, f"results_dir={drawn.parent.parent}")
        assert assess(config, pictures=True) == drawn
    assert {path: path.stat().st_mtime_ns for path in drawn.rglob("*")} == written
    assert caplog.messages[-1] == f"pictures of it in {drawn / 'pictures'}"


WITHOUT_MAP = {name for name in CHARTS if "embedding" not in name}


@pytest.mark.parametrize(
    ("protocol", "charts", "records"), [("finetune", CHARTS, 1), ("knn", CHARTS, 0), ("classical", WITHOUT_MAP, 0)]
)
def test_what_is_drawn_depends_on_what_reads_the_signals(
    evaluation: Evaluation, tmp_path: Path, protocol: str, charts: set[str], records: int
) -> None:
    own = (f"protocol={protocol}", "finetune_steps=2", "attributions=1", f"results_dir={tmp_path}")
    folder = assess(evaluation("mitbih", "data.task=binary", *SMALL, *own), pictures=True)
    found = names(folder / "pictures")
    assert {name for name in found if not name.startswith("attribution")} == charts
    assert len(found - charts) == records


def test_a_cell_of_a_sweep_is_not_drawn_and_can_be_drawn_later(
    evaluation: Evaluation, tmp_path: Path, drawn: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = assess(evaluation("mitbih", "data.task=binary", *SMALL, f"results_dir={tmp_path}"))
    assert not (folder / "pictures").exists()
    draw([str(folder)])
    assert capsys.readouterr().out == f"{folder / 'pictures'}\n"
    for name in names(folder / "pictures"):
        assert (folder / "pictures" / name).read_bytes() == (drawn / "pictures" / name).read_bytes()
    assert names(folder / "pictures") == WITHOUT_MAP
    with pytest.raises(UserError, match="no finished cell"):
        draw_predictions(tmp_path)


def test_the_number_of_records_is_checked_before_any_work(evaluation: Evaluation) -> None:
    for value in ("-1", "many", "null"):
        with pytest.raises(UserError, match="attributions"):
            check_evaluation(evaluation("mitbih", f"attributions={value}"))
