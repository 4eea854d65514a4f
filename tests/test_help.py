"""What `--help` tells of each command, and that it tells it without importing what takes long."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from conftest import PROJECT
from omegaconf import OmegaConf

from ecg_lightning.cli import composed_command
from ecg_lightning.help import help_of

CONF = PROJECT / "conf"
YAMLS = sorted(CONF.rglob("*.yaml"))

GROUPS = {
    "train": ["data", "encoder", "augment", "optimizer", "trainer", "logger", "objective", "experiment"],
    "evaluate": ["data", "budget", "protocol", "robustness", "label_map", "logger"],
    "adopt": ["encoder"],
    "doctor": ["data"],
    "gallery": ["data"],
}
"""By command, the folders of `conf/` whose every choice it takes."""


@pytest.fixture(autouse=True)
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")


def about(path: Path) -> str:
    """The first line of a file that is not about where its keys go."""
    return next(line for line in path.read_text().splitlines() if not line.startswith("# @package"))


def in_one_line(text: str) -> str:
    return " ".join(text.split())


@pytest.mark.parametrize("path", YAMLS, ids=lambda path: str(path.relative_to(CONF)))
def test_every_file_says_in_its_first_line_what_it_is(path: Path) -> None:
    line = about(path)
    assert line.startswith("# ") and line[2].isalnum() and len(line.split()) > 3, line
    assert not line.startswith("# python ") and len(line) <= 120, line


@pytest.mark.parametrize(("command", "group"), [(command, group) for command in GROUPS for group in GROUPS[command]])
def test_every_choice_of_a_group_has_its_line(command: str, group: str) -> None:
    told = in_one_line(help_of(command))
    for path in (CONF / group).glob("*.yaml"):
        assert in_one_line(f" {path.stem} {about(path)[2:]}") in told


def test_each_sweep_is_told_by_the_command_that_it_is_for() -> None:
    told = {command: in_one_line(help_of(command)) for command in GROUPS}
    for path in (CONF / "sweep").glob("*.yaml"):
        script, _, line = about(path)[2:].partition(".py: ")
        assert [command for command in told if f" {path.stem} {in_one_line(line)}" in told[command]] == [script]


@pytest.mark.parametrize("command", GROUPS)
def test_every_key_of_a_command_is_told_and_no_group_of_another_one(command: str) -> None:
    told = help_of(command)
    content = OmegaConf.load(CONF / f"{command}.yaml")
    for key in content:
        assert key in ("defaults", "hydra") or f"\n  {key}:" in told
    headings = {line.split("=  ")[0].rstrip("=") for line in told.splitlines() if line[:1].isalpha() or line[:1] == "+"}
    named = {each.replace("protocol.map", "label_map").lstrip("+") for each in headings}
    folders = {str(path.parent.relative_to(CONF)) for path in YAMLS} - {"."}
    assert named & folders - {"sweep", "hydra/launcher"} == set(GROUPS[command])


def test_what_is_taken_where_nothing_is_said_is_marked() -> None:
    for command in ("train", "evaluate"):
        marked = {line.split()[1] for line in help_of(command).splitlines() if line.startswith("* ")}
        composed = OmegaConf.load(CONF / f"{command}.yaml").defaults
        chosen = [each for each in composed if each != "_self_" and "@" not in next(iter(each))]
        assert marked == {str(choice) for each in chosen for choice in each.values() if choice is not None}


def test_the_remark_on_a_key_stands_beside_it() -> None:
    assert in_one_line("seed: 0 of initial weights, data order, masks and views") in in_one_line(help_of("train"))


def test_it_fits_a_narrow_terminal_but_for_commands_to_be_copied(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    for command in GROUPS:
        too_long = [line for line in help_of(command).splitlines() if len(line) > 80]
        assert all(line.startswith("  python ") for line in too_long), too_long


HEAVY = ("torch", "lightning", "hydra", "omegaconf", "numpy", "sklearn", "matplotlib", "pandas", "wandb")


@pytest.mark.parametrize(
    "line",
    ["train.py --help", "train.py objective=mae -h", "evaluate.py --help", "adopt.py --help",
     "-m ecg_lightning.data.doctor --help"],
)  # fmt: skip
def test_it_imports_nothing_that_takes_long(line: str) -> None:
    command = [sys.executable, "-X", "importtime", *line.split()]
    shown = subprocess.run(command, check=False, cwd=PROJECT, capture_output=True, text=True)
    assert (shown.returncode == 0 and " ptbxl" in shown.stdout) or "xresnet1d50" in shown.stdout
    imported = {each.rsplit("|", 1)[-1].strip() for each in shown.stderr.splitlines()}
    assert "textwrap" in imported and not imported & set(HEAVY)


def test_whoever_has_read_enough_of_it_sees_no_error() -> None:
    line = f"{sys.executable} train.py --help | true"
    shown = subprocess.run(line, check=False, cwd=PROJECT, shell=True, capture_output=True, text=True)
    assert not shown.stderr


def test_a_command_of_one_job_shows_its_configuration(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["doctor", "seed=3", "--cfg", "job"])
    composed_command("doctor", lambda _: pytest.fail("the job is run"))
    assert OmegaConf.create(capsys.readouterr().out).seed == 3
