"""What `--help` says: how a command is used, what it takes with one line on each choice, its own keys."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator, Mapping
from textwrap import wrap

from ecg_lightning.choices import CONF, Group, groups, head, keys, sweeps

WIDEST = 120
"""Longer lines are hard to read, however wide the terminal is."""

ANY = {"--cfg job": "prints the whole configuration, with the words beside it heard; any key in it can be set"}
SWEEP = {
    "-m": "sweeps: a job for every combination of the words that name several values, seed=0,1,2",
    "--dry-run": "prints the jobs of a sweep, their number and the time they take, and runs none",
    "--hydra-help": "lists what else Hydra's command lines understand",
}


def gave_help(command: str) -> bool:
    """Whether the command line asks for help, whatever else it says; it has then been given.

    Args:
        command: `train`, for `conf/train.yaml`.
    """
    if not {"--help", "-h"} & set(sys.argv[1:]):
        return False
    try:
        print(help_of(command), flush=True)
    except BrokenPipeError:  # `| head` has seen enough; what is left goes nowhere
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return True


def help_of(command: str) -> str:
    """The whole help of a command, wrapped to the terminal.

    Args:
        command: `train`, for `conf/train.yaml`.
    """
    width = min(shutil.get_terminal_size().columns, WIDEST)
    parts = [head(CONF / f"{command}.yaml"), ["WORD=CHOICE, where * is what is taken unless another is named"]]
    parts += [list(_group(group, width)) for group in groups(command)]
    parts += [["KEY=VALUE", *(line for key in keys(command) for line in _key(key, width))]]
    parts += [["Besides", *_table(ANY | (SWEEP if sweeps(command) else {}), width)]]
    return "\n\n".join("\n".join(part) for part in parts)


def _group(group: Group, width: int) -> Iterator[str]:
    yield from _wrapped(f"{group.word}=  ", group.remark, width)
    yield from _table(group.choices, width, group.chosen)


def _table(told: Mapping[str, str], width: int, marked: str | None = None) -> Iterator[str]:
    """Names in one column, what is told of each in another."""
    column = max(map(len, told), default=0) + 2
    for name, line in told.items():
        yield from _wrapped(f"{'*' if name == marked else ' '} {name:{column}}", line, width)


def _key(line: str, width: int) -> Iterator[str]:
    """A key as its file has it, its comment in a column of its own."""
    key, _, comment = line.partition("# ")
    return _wrapped(f"  {key}", comment, width)


def _wrapped(left: str, right: str, width: int) -> Iterator[str]:
    """A text with something left of its first line."""
    lines = wrap(right, width - len(left), break_on_hyphens=False, break_long_words=False) or [""]
    for number, line in enumerate(lines):
        yield f"{left if number == 0 else ' ' * len(left)}{line}".rstrip()
