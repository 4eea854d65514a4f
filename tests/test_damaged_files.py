"""Damaged files of every reader: read right, or reported by name; never a crash, a hang or silently wrong samples.

`make test` takes a sample of the corpus, `make test-damage` all of it. What is damaged and how is decided by seeds, so
that a name in a failure is enough to see it again.
"""

from __future__ import annotations

import resource
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from shutil import rmtree
from time import perf_counter
from typing import NamedTuple

import numpy as np
import pytest
from damage import TO_ANY_FILE, TO_ANY_FILE_ONCE, Files, damaged, write
from undamaged import CASES, Case

from ecg_lightning.data.record import Record
from ecg_lightning.errors import UserError

ROOM = 2**29
"""Bytes that a reader of a damaged file may ask for; a recording takes a thousandth."""

PATIENCE = 2.0
"""Seconds for one damaged file."""

OPENED: list[str] | None = None
"""The files that this process opens, while somebody watches."""


def _note_opened(event: str, args: tuple[object, ...]) -> None:
    if event == "open" and OPENED is not None and isinstance(args[0], str | bytes):
        OPENED.append(args[0] if isinstance(args[0], str) else args[0].decode())


sys.addaudithook(_note_opened)


@contextmanager
def watched() -> Iterator[list[str]]:
    """Limits the memory and lists the files that are opened."""
    global OPENED  # noqa: PLW0603
    taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    limits = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (taken + ROOM, limits[1]))
    OPENED = []
    try:
        yield OPENED
    finally:
        OPENED = None
        resource.setrlimit(resource.RLIMIT_AS, limits)


class Outcome(NamedTuple):
    """What became of one damaged recording: something `good`, or a `fault` of the reader."""

    good: str = ""
    fault: str = ""


def examine(case: Case, truth: Record, file: str, files: Files, folder: Path) -> Outcome:
    """Read one damaged recording."""
    write(folder, files)
    begin = perf_counter()
    message, read = "", None
    with watched() as opened:
        try:
            source = case.reader(folder)
            layout = source.layout()
            read = source.read()
        except UserError as error:
            message = str(error)
        except BaseException as error:
            return Outcome(fault=f"{type(error).__name__}: {error}")
    seconds = perf_counter() - begin
    outside = [path for path in opened if not Path(path).absolute().is_relative_to(folder) and ".py" not in path]
    if outside or seconds > PATIENCE:
        return Outcome(fault=f"opened {outside}" if outside else f"took {seconds:.1f} s")
    if read is None:
        named = str(folder) in message and "\n" not in message
        return Outcome("refused") if named else Outcome(fault=f"does not name the file: {message!r}")
    if (layout.fs, layout.leads, layout.samples) != (read.fs, read.leads, read.signal.shape[1]):
        return Outcome(fault=f"{layout} announced, {read.leads} read, {read.signal.shape} at {read.fs} Hz")
    return compare(case, file, truth, read)


def compare(case: Case, file: str, truth: Record, read: Record) -> Outcome:
    """Judge a recording that was read from damaged files."""
    if read.fs == truth.fs and by_lead(read) == by_lead(truth) and read.annotation == truth.annotation:
        return Outcome("read right")
    if read.signal.dtype != np.float32 or len(read.leads) != len(read.signal):
        return Outcome(fault=f"{read.signal.dtype} {read.signal.shape} for {read.leads}")
    if not np.isfinite(read.signal).all():
        return Outcome("invalid samples, which `prepare` reports")
    reason = case.unnoticed(file, truth, read)
    return Outcome(f"cannot be noticed: {reason}") if reason else Outcome(fault="silently read as another recording")


def by_lead(record: Record) -> dict[str, bytes]:
    return {lead: row.tobytes() for lead, row in zip(record.leads, record.signal, strict=False)}


def examine_all(case: Case, rounds: range, folder: Path, every: int = 1) -> None:
    """Damage and read, every so many of the corpus; says how it went."""
    write(folder / "whole", case.files)
    truth = case.reader(folder / "whole").read()
    corpus = [
        *damaged(case.files, [*TO_ANY_FILE, *case.damages], rounds),
        *damaged(case.files, TO_ANY_FILE_ONCE, range(1)),
    ][::every]
    outcomes, faults = Counter[str](), []
    for number, (what, file, files) in enumerate(corpus):
        place = folder / str(number)
        outcome = examine(case, truth, file, files, place)
        rmtree(place)
        outcomes[outcome.good] += 1
        faults += [f"{file}: {what}: {outcome.fault}"] * bool(outcome.fault)
    print(f"{case.name}: {len(corpus)} damaged recordings", *outcomes.most_common(), sep="\n  ")
    assert not faults, f"{len(faults)} of {len(corpus)}\n" + "\n".join(faults[:40])


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_some_damaged_files_are_read_right_or_reported(case: Case, tmp_path: Path) -> None:
    examine_all(case, range(1), tmp_path, every=17)


@pytest.mark.damage
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_all_damaged_files_are_read_right_or_reported(case: Case, tmp_path: Path) -> None:
    examine_all(case, range(1, 4), tmp_path)
