"""What is done to the words of a command line before Hydra reads them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from glob import glob
from hashlib import blake2b
from pathlib import Path

HOW_NOT_WHAT = ("hydra", "logger", "cache_dir")
"""Beginnings of words that say how and where a sweep runs, not what it is about."""


def keys_of(words: Iterable[str]) -> list[str]:
    """The words that set keys, not options of the command and their values."""
    return [word for word in words if word[:1] == "~" or ("=" in word and word[0] != "-")]


def quote_numeric_options(arguments: list[str], group: str) -> list[str]:
    """Quote whole numbers that are options of a group: to Hydra `budget=100` is a value, `budget='100'` an option.

    Args:
        arguments: of the command line.
        group: whose options may be numbers.
    """
    return [
        re.sub(r"(?<![\w'\"])\d+(?![\w'\"])", r"'\g<0>'", argument) if argument.startswith(f"{group}=") else argument
        for argument in arguments
    ]


def expand_pattern(arguments: list[str], key: str) -> list[str]:
    """Put the files that a pattern names in its place: `checkpoint=runs/*/*/encoder.pt` asks for each of them.

    Args:
        arguments: of the command line.
        key: whose value may be a pattern.
    """

    def expanded(argument: str) -> str:
        name, _, value = argument.partition("=")
        pattern = value.strip("'\"") if name == key and "*" in value else ""
        found = sorted(glob(pattern))  # noqa: PTH207  as it is typed, absolute or not
        return f"{key}={','.join(map(repr, found))}" if found else argument

    return [expanded(argument) for argument in arguments]


def name_sweep(script: str, words: list[str]) -> list[str]:
    """Add the folder in which a sweep notes what its jobs came to: the same for the same question, however it is run.

    Args:
        script: that is run, without its suffix.
        words: of its command line.
    """
    about = sorted(word for word in keys_of(words) if not word.startswith(HOW_NOT_WHAT))
    name = next((word.partition("=")[2] for word in about if word.startswith("+sweep=")), script)
    state = blake2b(" ".join([script, *about]).encode(), digest_size=4).hexdigest()
    first = next((place for place, word in enumerate(words) if "=" in word and word[0] != "-"), len(words))
    folder = Path.cwd() / "runs" / "sweeps" / f"{name}-{state}"
    return [*words[:first], f"hydra.sweep.dir='{folder}'", *words[first:]]
