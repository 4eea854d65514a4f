"""How long a job is going to take, by those that are done."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import median
from typing import NamedTuple

from ecg_lightning.job import JobRecord, records


class Past(NamedTuple):
    """A job that is done.

    Attributes:
        command: `train` or `evaluate`.
        words: that set its keys.
        seconds: that it took.
    """

    command: str
    words: frozenset[str]
    seconds: float


def history(sweeps: Path) -> list[Past]:
    """The jobs that are done in the sweeps of a folder.

    Args:
        sweeps: folder of the folders of sweeps.
    """
    return [past for sweep in sorted(sweeps.glob("*")) for past in pasts(records(sweep))]


def pasts(noted: Iterable[JobRecord]) -> list[Past]:
    """Those among some jobs that are done."""
    return [Past(each.command, _about(each.words), each.ended - each.began) for each in noted
            if each.status == "done" and each.ended is not None]  # fmt: skip


def expected_seconds(command: str, words: Iterable[str], before: Sequence[Past]) -> float | None:
    """What a job takes: the median of those that have most words in common with it.

    Args:
        command: `train` or `evaluate`.
        words: that set its keys.
        before: what is known.

    Returns:
        None where no job of the command is known.
    """
    about, best, alike = _about(words), -1, list[float]()
    for past in before:
        if past.command == command:
            common = len(about & past.words)
            if common > best:
                best, alike = common, []
            if common == best:
                alike.append(past.seconds)
    return median(alike) if alike else None


def in_words(seconds: float) -> str:
    """A length of time as one says it."""
    for size, name in ((86400.0, "d"), (3600.0, "h"), (60.0, "min")):
        if seconds >= 1.5 * size:
            return f"{seconds / size:.1f} {name}" if seconds < 10 * size else f"{seconds / size:.0f} {name}"
    return f"{seconds:.0f} s"


def _about(words: Iterable[str]) -> frozenset[str]:
    """The words that bear on the time; a seed does not."""
    return frozenset(word for word in words if not word.startswith(("seed=", "model_seed=")))
