"""The two commands as they are typed: what they list, do, skip and refuse."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import PROJECT
from omegaconf import DictConfig, OmegaConf

from ecg_lightning.cli import command_line, run
from ecg_lightning.errors import UserError
from ecg_lightning.job import Job, JobNote
from ecg_lightning.precheck import check_evaluation
from ecg_lightning.sweeps.callback import SweepCallback

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


@pytest.mark.parametrize("words", [["objective=mae", "--help"], ["-h"], ["--help", "data=none"]])
def test_help_is_given_whatever_else_is_said(words: list[str], command: Command) -> None:
    shown = command("train.py", *words)
    assert shown.returncode == 0 and "python train.py objective=mae" in shown.stdout and not shown.stderr
    assert "cache_dir: cache" in shown.stdout


# What each command says to a mistake, and what the message must name.
MISTAKES = {
    "train.py data.taks=form": ["data.taks"],
    "train.py objectiv=mae": ["objectiv"],
    "train.py data=foo": ["data/foo", "mitbih", "ptbxl", "synthetic"],
    "train.py data=ptbxl data.root=nowhere": ["data.root=nowhere", "ecg_lightning.data.download ptbxl"],
    "evaluate.py checkpoint=no/encoder.pt data=mitbih": ["checkpoint=no/encoder.pt", "train.py writes encoder.pt"],
    "evaluate.py checkpoint=x data.spec.fs=50": ["data.spec.fs=50", "the encoder brings"],
    "evaluate.py budget=11": ["budget/11", "per_class"],
    "evaluate.py checkpoint=x -m budget=10 protocol=foo,linear": ["protocol/foo", "classical"],
}


@pytest.mark.parametrize("line", MISTAKES)
def test_a_mistake_gives_one_message_that_names_it_and_no_traceback(line: str, command: Command) -> None:
    refused = command(*line.split())
    assert refused.returncode != 0 and not refused.stdout
    assert "Traceback" not in refused.stderr
    for named in MISTAKES[line]:
        assert named in refused.stderr
    assert refused.stderr.startswith("error: ") and refused.stderr.count("\n") == 1


@pytest.mark.parametrize(
    "line",
    [
        "evaluate.py checkpoint=no/encoder.pt data=mitbih",
        "evaluate.py checkpoint=x data.spec.fs=50",
        "train.py data=foo",
        "train.py seed=-1",
    ],
)
def test_a_mistake_is_told_before_what_takes_seconds_is_imported(
    line: str, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPROFILEIMPORTTIME", "1")
    refused = command(*line.split())
    imported = {each.rsplit("|", 1)[-1].strip() for each in refused.stderr.splitlines()}
    assert refused.returncode == 2 and "\nerror: " in refused.stderr and "hydra" in imported
    assert not imported & {"torch", "lightning", "sklearn", "scipy", "pandas", "matplotlib"}


def test_a_value_left_out_is_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        run(lambda: OmegaConf.load(PROJECT / "conf" / "evaluate.yaml").checkpoint)
    assert capsys.readouterr().err == "error: checkpoint is not given; add checkpoint=... to the command\n"


def test_a_group_set_to_nothing_is_refused_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    def compose() -> None:
        raise ValueError("Config group override must be a string or a list.\nGot NoneType")

    with pytest.raises(SystemExit, match="2"):
        command_line(compose)
    told = "error: Config group override must be a string or a list. Got NoneType; --help lists"
    assert capsys.readouterr().err.startswith(told)


def test_the_flag_of_a_sweep_may_stand_anywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["evaluate.py", "checkpoint=x", "-m", "seed=0,1"])
    command_line(lambda: None)
    assert sys.argv == ["evaluate.py", "-m", "checkpoint=x", "seed=0,1"]


@pytest.mark.parametrize("fault", [errno.EACCES, errno.EROFS, errno.ENOSPC])
def test_a_folder_that_cannot_be_written_is_named(fault: int, capsys: pytest.CaptureFixture[str]) -> None:
    def job() -> None:
        raise OSError(fault, os.strerror(fault), "/full/cache")

    with pytest.raises(SystemExit, match="2"):
        run(job)
    told = capsys.readouterr().err
    assert told.startswith("error: /full/cache: cannot be written") and "cache_dir" in told and told.count("\n") == 1


def test_a_sweep_whose_table_cannot_be_made_says_so_and_fails(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "cell").mkdir()
    (tmp_path / "cell" / "result.json").write_text("no result")
    JobNote(Job("evaluate", tmp_path / "sweep", 0, ())).done(str(tmp_path / "cell"))
    hydra = {"sweep": {"dir": str(tmp_path / "sweep")}, "launcher": {"_target_": "BasicLauncher"}}
    with pytest.raises(SystemExit, match="1"):
        SweepCallback().on_multirun_end(OmegaConf.create({"hydra": hydra}))
    told = capsys.readouterr().err
    assert (
        told.startswith(f"error: {tmp_path / 'cell' / 'result.json'}: not readable as JSON")
        and f"{tmp_path}: there is no new table" in told
    )


def test_a_fault_of_the_program_keeps_its_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="1"):
        run(lambda: {}["a key"])
    assert "Traceback" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ("seed=-1", r"seed=-1 must be a whole number"),
        ("seed=x", r"seed='x' must be a whole number"),
        ("model_seed=99999999999", r"model_seed=99999999999 must be .* to 4294967295"),
        ("resamples=x", r"resamples='x' must be a whole number, 0 or more"),
        ("finetune_steps=0", r"finetune_steps=0 must be a whole number, 1 or more"),
        ("allow_seen_patients=2", r"allow_seen_patients=2 must be true or false"),
        ("results_dir=3", r"results_dir=3 must be the name"),
        ("checkpoint=null", r"checkpoint=None must be the name"),
        (
            "protocol.beside=[foo]",
            r"protocol\.beside=\['foo'\] must be a list out of linear, knn",
        ),
        ("protocol.method.features=foo", r"protocol\.method\.features='foo' must be pretrained or random or classical"),
        ("protocol=scratch protocol.method.lr=x", r"protocol\.method\.lr='x' must be a number"),
        ("protocol=ensemble protocol.method.member.lr=x", r"protocol\.method\.member\.lr='x' must be a number"),
        (
            "protocol=finetune protocol.method.recipe=x",
            r"protocol\.method\.recipe='x' must be full or discriminative or",
        ),
        ("protocol=scratch protocol.method.batch_size=0", r"protocol\.method\.batch_size=0 must be 1 or more"),
        ("budget.total=x", r"budget\.total='x' must be a whole number"),
    ],
)
def test_a_value_of_an_evaluation_is_refused_before_the_work(
    wrong: str, named: str, evaluation: Callable[..., DictConfig]
) -> None:
    with pytest.raises(UserError, match=named):
        check_evaluation(evaluation("mitbih", *wrong.split()))


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
    assert "2 jobs failed" in failing.stderr and "done before" in failing.stderr
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
