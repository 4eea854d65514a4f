"""A small valid recording for a reader, and what of it may be damaged without anybody being able to tell.

`unnoticed` holds the exceptions: the ways in which a damaged file may be read as another recording, because its format
says nothing twice that would tell.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import numpy as np
from damage import Damage, Files
from numpy.typing import NDArray

from ecg_lightning.data.record import Record, RecordFile

FS, SAMPLES = 250, 750
LEADS = ("I", "II", "V1")


@dataclass(frozen=True)
class Change:
    """A damaged file that was read as another recording.

    Attributes:
        file: its name.
        content: what is in it now.
        was: the recording.
        read: what was read.
    """

    file: str
    content: bytes
    was: Record
    read: Record


@dataclass(frozen=True)
class Case:
    """A valid recording and its reader.

    Attributes:
        name: of the reader and format.
        files: the recording.
        reader: opens the recording in a folder, under a name.
        damages: those that this format alone can suffer.
        rounds: how often the whole corpus does each of what chance decides.
        unnoticed: why a change could not be noticed; None where it should have been.
    """

    name: str
    files: Files
    reader: Callable[[Path, str], RecordFile]
    damages: Sequence[Damage] = field(default=(), repr=False)
    unnoticed: Callable[[Change], str | None] = lambda _: None
    rounds: int = 3


@cache
def millivolts() -> NDArray[np.float64]:
    """Three seconds of three leads, (T, L)."""
    t = np.arange(SAMPLES) / FS
    beat = np.exp(-(((t % 0.8 - 0.3) / 0.02) ** 2))
    noise = np.random.default_rng(0).normal(0, 0.01, (SAMPLES, len(LEADS)))
    return np.outer(beat, [0.7, 1.1, -0.8]) + 0.1 * np.sin(2 * np.pi * t)[:, None] + noise


def is_rescaled(change: Change) -> bool:
    """Whether each lead is the old one in other units and from another zero: what a header says once."""
    was, read = change.was.signal.astype(np.float64), change.read.signal.astype(np.float64)
    if was.shape != read.shape:
        return False
    lines = [np.polyfit(one, other, 1) for one, other in zip(was, read, strict=True)]
    fitted = [np.polyval(line, one) for line, one in zip(lines, was, strict=True)]
    return all(
        np.allclose(other, one, rtol=0, atol=1e-4 * np.ptp(other)) for other, one in zip(read, fitted, strict=True)
    )
