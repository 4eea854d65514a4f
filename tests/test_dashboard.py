"""The dashboard in code: what W&B would be sent, without a network."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import wandb
from conftest import PROJECT
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig

from ecg_lightning.errors import UserError
from ecg_lightning.reporting.dashboard import build


def composed(*words: str) -> DictConfig:
    with initialize_config_dir(str(PROJECT / "conf"), version_base="1.3"):
        return compose("dashboard", ["entity=clinic", *words])


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    path = tmp_path_factory.mktemp("dashboard") / "dashboard.json"
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("socket.socket.connect", lambda *_: pytest.fail("no network is needed"))
        build(composed(f"out={path}"))
    content: dict[str, Any] = json.loads(path.read_text())
    return content


def panels(content: Any) -> Iterator[dict[str, Any]]:
    """Every panel, however deep."""
    if isinstance(content, dict):
        if "viewType" in content:
            yield content
        for value in content.values():
            yield from panels(value)
    elif isinstance(content, list):
        for value in content:
            yield from panels(value)


def test_the_workspace_has_a_section_for_each_question(written: dict[str, Any]) -> None:
    assert (written["workspace"]["entity"], written["workspace"]["project"]) == ("clinic", "ecg_lightning")
    section = written["workspace"]["spec"]["section"]
    named = {each["name"]: list(panels(each["panels"])) for each in section["panelBankConfig"]["sections"]}
    assert list(named) == ["Leaderboard", "Pretraining", "Label efficiency", "Robustness", "Features", "Cost"]
    assert all(named.values())
    drawn = {metric for panel in named["Pretraining"] for metric in panel["config"].get("metrics", [])}
    assert {"train/loss", "val/loss", "val/probe_auroc"} <= drawn
    assert all(panel["config"]["xAxis"] == "trainer/global_step" for panel in named["Pretraining"][:4])
    assert [panel["viewType"] for panel in named["Label efficiency"]].count("Scatter Plot") == 2
    assert "methods" in json.dumps(named["Leaderboard"])
    assert section["runSets"][0]["grouping"] == [{"section": "run", "name": "group"}]


def test_the_leaderboard_is_of_evaluations_alone_by_sweep_the_best_first(written: dict[str, Any]) -> None:
    grid = next(block for block in written["report"]["spec"]["blocks"] if block["type"] == "panel-grid")
    (runs,) = grid["metadata"]["runSets"]
    assert '"evaluate"' in json.dumps(runs["filters"]) and "jobType" in json.dumps(runs["filters"])
    assert runs["grouping"] == [{"section": "run", "name": "group"}]
    (key,) = runs["sort"]["keys"]
    assert key["key"] == {"section": "summary", "name": "test/macro_f1"} and not key["ascending"]
    columns = runs["runFeed"]["columnPinned"]
    assert {"summary:test/macro_f1", "summary:test/macro_f1_low", "summary:labels"} <= set(columns)


def test_every_name_in_a_panel_is_one_that_runs_log(written: dict[str, Any]) -> None:
    """Against the source: a misspelt metric would be an empty panel that nobody misses."""
    source = "".join(path.read_text() for path in (PROJECT / "ecg_lightning").rglob("*.py") if path.stem != "dashboard")
    text = json.dumps(written)
    asked = set(re.findall(r'"(?:summary_metrics\.|summary:)?((?:train|val|test|cost|robustness)/\w+)"', text))
    assert len(asked) > 12
    for group, name in (each.split("/") for each in asked):
        assert re.search(rf'["/]{name.removesuffix("_low").removesuffix("_high")}"', source), f"{group}/{name}"


def test_without_an_account_there_is_one_clear_error(monkeypatch: Any) -> None:
    def refuse() -> None:
        raise wandb.UsageError("No API key configured. Use `wandb login` to log in.")

    monkeypatch.setattr(wandb, "login", refuse)
    with pytest.raises(UserError, match=r"`wandb login`.*out="):
        build(composed())


@pytest.mark.parametrize("word", ["project=null", "project=3"])
def test_names_are_text(word: str) -> None:
    with pytest.raises(UserError, match="project="):
        build(composed(word))


def test_a_missing_package_is_named_with_its_extra(monkeypatch: Any) -> None:
    there: Callable[[str], Any] = lambda name: None  # noqa: E731
    monkeypatch.setattr("importlib.util.find_spec", there)
    with pytest.raises(UserError, match=r"ecg_lightning\[dashboard\]"):
        build(composed())
