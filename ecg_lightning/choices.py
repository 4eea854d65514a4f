"""What a command can be told to take, as the files of `conf/` say it themselves; nothing is composed to know it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import inf
from pathlib import Path

CONF = Path(__file__).resolve().parent.parent / "conf"

RECIPES = ("experiment", "sweep")
"""Groups of whole settings, each for one command."""

LAUNCHERS = "hydra/launcher"

ENTRY = re.compile(r"^  - ([\w/]+)(?:@(\w+))?: (\S+)(?: +# (.*))?$", re.MULTILINE)
"""One of the defaults that can be chosen otherwise: group, package, choice, remark; `protocol@beside.knn` is none."""


@dataclass(frozen=True)
class Group:
    """Choices for one word of a command.

    Attributes:
        word: of the command line, `data`, `data@learn_from`, `+experiment`.
        choices: what each is, by name.
        chosen: what is taken where the command line does not say.
        remark: on the group, or nothing.
    """

    word: str
    choices: Mapping[str, str]
    chosen: str | None = None
    remark: str = ""


def head(path: Path) -> list[str]:
    """The comment that a file begins with, without its marks; where its keys go (`@package`) is no part of it."""
    lines = path.read_text().splitlines()
    comment = lines[: next((at for at, line in enumerate(lines) if not line.startswith("#")), len(lines))]
    return [line[1:].removeprefix(" ") for line in comment if not line.startswith("# @package")]


def choices(group: str) -> dict[str, str]:
    """What each choice of a group is, in one line, by name; those that are numbers in their order.

    Args:
        group: a folder of `conf/`.
    """
    found = {path.stem: next(iter(head(path)), "") for path in (CONF / group).glob("*.yaml")}
    return dict(sorted(found.items(), key=lambda each: (float(each[0]) if each[0].isdecimal() else inf, each[0])))


def groups(command: str) -> list[Group]:
    """Every group that a command takes.

    Args:
        command: `train`, for `conf/train.yaml`.
    """
    found = [
        Group(f"{group}@{package}", {}, remark=f"as {group}=, {remark}")
        if package
        else Group(group, choices(group), chosen.strip('"'), remark)
        for group, package, chosen, remark in ENTRY.findall(_text(command))
    ]
    if any(group.word == "protocol" for group in found):
        found.append(Group("protocol.map", choices("label_map"), remark="for protocol=transfer"))
    found += [Group(f"+{recipe}", _recipes(recipe, command)) for recipe in RECIPES]
    if sweeps(command):
        found.append(Group(LAUNCHERS, choices(LAUNCHERS), remark="with -m, where the jobs run; without: here, in turn"))
    return [group for group in found if group.choices or "@" in group.word]


def _recipes(group: str, command: str) -> dict[str, str]:
    """The settings that are a command's: what is of another than `train.py` says so, `evaluate.py: ...`."""
    named = {name: f"train.py: {told}" if ".py: " not in told else told for name, told in choices(group).items()}
    mine = f"{command}.py: "
    return {name: told.removeprefix(mine) for name, told in named.items() if told.startswith(mine)}


def sweeps(command: str) -> bool:
    """Whether a command can run a sweep of jobs."""
    return "\n  sweep:\n" in _text(command)


def keys(command: str) -> Iterator[str]:
    """The lines of a command's own keys with their comments; the entries of a list are left out."""
    body = _text(command).partition("  - _self_\n")[2].partition("\nhydra:")[0]
    yield from re.sub(r"(?m)^ *- .*\n(?:^ {4}.*\n)*", "", body).strip("\n").splitlines()


def _text(command: str) -> str:
    return (CONF / f"{command}.yaml").read_text()
