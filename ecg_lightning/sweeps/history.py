"""How long a job is going to take, by those that are done."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import median
from typing import NamedTuple

from ecg_lightning.job import JobRecord, records

KIND = ("protocol=", "objective=", "encoder=")
"""Beginnings of words that change the time most."""


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


class Guess(NamedTuple):
    """What a job may take.

    Attributes:
        seconds: a median.
        sure: whether it is that of jobs of the same protocol, objective and encoder.
    """

    seconds: float
    sure: bool


def guess(command: str, words: Iterable[str], before: Sequence[Past]) -> Guess | None:
    """What a job takes: the median of those that have most words in common with it, of its own kind if there are any.

    Args:
        command: `train` or `evaluate`.
        words: that set its keys.
        before: what is known.

    Returns:
        None where no job of the command is known.
    """
    about = _about(words)
    kind = frozenset(word for word in about if word.startswith(KIND))
    known = [past for past in before if past.command == command]
    own = [past for past in known if kind <= past.words]
    if not known:
        return None
    likeness = [len(about & past.words) for past in own or known]
    alike = [past.seconds for past, like in zip(own or known, likeness, strict=True) if like == max(likeness)]
    return Guess(median(alike), bool(own))


def total(guesses: Iterable[Guess | None], at_once: int) -> Guess | None:
    """What several jobs take together; None where nothing is known of one of them."""
    each = list(guesses)
    known = [one for one in each if one is not None]
    if len(known) < len(each):
        return None
    return Guess(sum(one.seconds for one in known) / at_once, all(one.sure for one in known))


def said(time: Guess) -> str:
    """`about 3.5 min`, or `perhaps 3.5 min` where no such jobs were timed."""
    return f"{'about' if time.sure else 'perhaps'} {in_words(time.seconds)}"


def in_words(seconds: float) -> str:
    """A length of time as one says it."""
    for size, name in ((86400.0, "d"), (3600.0, "h"), (60.0, "min")):
        if seconds >= 1.5 * size:
            return f"{seconds / size:.1f} {name}" if seconds < 10 * size else f"{seconds / size:.0f} {name}"
    return f"{seconds:.0f} s"


def _about(words: Iterable[str]) -> frozenset[str]:
    """The words that bear on the time; a seed does not."""
    return frozenset(word for word in words if not word.startswith(("seed=", "model_seed=")))
