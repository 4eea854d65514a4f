"""The two commands as they are typed: what they list, do, skip and refuse."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import PROJECT
from omegaconf import OmegaConf

from ecg_lightning.cli import run

Command = Callable[..., subprocess.CompletedProcess[str]]
Tiny = Callable[[str], list[str]]


@pytest.fixture
def command(tmp_path: Path) -> Command:
    """Runs a script of the project in an empty folder: `command("train.py", "objective=mae")`."""

    def start(script: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        environment = {key: value for key, value in os.environ.items() if key != "ECG_DATA_ROOT"}
        line = [sys.executable, str(PROJECT / script), *arguments]
        return subprocess.run(line, check=False, cwd=tmp_path, env=environment, capture_output=True, text=True)

    return start


def choices(group: str) -> list[str]:
    return sorted(path.stem for path in (PROJECT / "conf" / group).glob("*.yaml"))


GROUPS = {
    "train.py": ("data", "encoder", "objective", "trainer", "logger", "optimizer"),
    "evaluate.py": ("data", "protocol", "budget"),
}


@pytest.mark.parametrize("script", GROUPS)
def test_help_shows_a_command_all_choices_and_all_keys(script: str, command: Command) -> None:
    shown = command(script, "--help")
    assert shown.returncode == 0 and f"python {script} " in shown.stdout and not shown.stderr
    for group in GROUPS[script]:
        assert f"{group}: {', '.join(choices(group))}\n" in shown.stdout
    assert "seed: 0" in shown.stdout and "cache_dir: cache" in shown.stdout


# What each command says to a mistake, and what the message must name.
MISTAKES = {
    "train.py data.taks=form": ["data.taks"],
    "train.py objectiv=mae": ["objectiv"],
    "train.py data=foo": ["data/foo", "mitbih", "ptbxl", "synthetic"],
    "train.py data=ptbxl data.root=nowhere": ["data.root=nowhere", "ecg_lightning.data.download ptbxl"],
    "evaluate.py checkpoint=no/encoder.pt data=mitbih": ["checkpoint=no/encoder.pt", "train.py writes encoder.pt"],
    "evaluate.py budget=11": ["budget/11", "per_class"],
}


@pytest.mark.parametrize("line", MISTAKES)
def test_a_mistake_gives_one_message_that_names_it_and_no_traceback(line: str, command: Command) -> None:
    refused = command(*line.split())
    assert refused.returncode != 0 and not refused.stdout
    assert "Traceback" not in refused.stderr
    for named in MISTAKES[line]:
        assert named in refused.stderr
    if "Hydra" not in refused.stderr.title():
        assert refused.stderr.startswith("error: ") and refused.stderr.count("\n") == 1


def test_a_value_left_out_is_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        run(lambda: OmegaConf.load(PROJECT / "conf" / "evaluate.yaml").checkpoint)
    assert capsys.readouterr().err == "error: checkpoint is not given; add checkpoint=... to the command\n"


def results(folder: Path) -> dict[Path, dict[str, object]]:
    return {path: json.loads(path.read_text()) for path in folder.rglob("result.json")}


def test_a_cell_a_sweep_the_sweep_again_and_a_failing_cell(
    command: Command, tiny: Tiny, finished_run: Path, tmp_path: Path
) -> None:
    where = [word for word in tiny("synthetic") if word.startswith(("data", "cache_dir"))]
    common = [*where, f"checkpoint={finished_run / 'encoder.pt'}", f"results_dir={tmp_path / 'out'}", "resamples=20"]

    one = command("evaluate.py", *common, "protocol=linear", "budget=10", "seed=0")
    assert one.returncode == 0, one.stderr
    cells = results(tmp_path / "out")
    assert sorted(content["protocol"] for content in cells.values()) == ["classical", "linear", "random_encoder"]
    assert all(content["status"] == "done" and content["budget"] == "10" for content in cells.values())
    written = {path: path.stat().st_mtime_ns for path in cells}

    sweep = ["-m", *common, "protocol=random_encoder", "seed=range(0,2)"]
    failing = command("evaluate.py", *sweep, "budget=10,25,100")
    assert failing.returncode == 1 and "Traceback" not in failing.stderr
    assert failing.stderr.count("error: budget=100 asks for more than the") == 1, "the same reason is said once"
    assert "2 cells failed" in failing.stderr and "done before" in failing.stderr
    for shown in ("random encoder, linear probe", "10 labels", "25 labels", "failed: random_encoder with 100 labels"):
        assert shown in failing.stdout
    done = {path for path, content in results(tmp_path / "out").items() if content["status"] == "done"}
    assert len(done) == len(cells) + 3 and {path: path.stat().st_mtime_ns for path in cells} == written
    for name in ("table.md", "results.csv", "label_efficiency.png"):
        assert len(list((tmp_path / "out").rglob(name))) == 1

    written = {path: path.stat().st_mtime_ns for path in done}
    again = command("evaluate.py", *sweep, "budget=10,25")
    assert again.returncode == 0, again.stderr
    assert again.stderr.count("done before") == 4
    assert {path: path.stat().st_mtime_ns for path in done} == written
