"""Everything below some folders that has something to say: results, failures, jobs, and files that cannot be read."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple

from ecg_lightning.errors import UserError
from ecg_lightning.job import JOBS, RECORD, JobRecord, record_of
from ecg_lightning.reporting.report.shape import check
from ecg_lightning.results import FILENAME, read_result

Cells = list[tuple[Path, dict[str, Any]]]
"""The folder of each cell, and its result."""

Kind = Literal["failed cell", "failed job", "interrupted job", "running job", "unreadable", "left out"]

REPEATED = ("baselines",)
"""What a result repeats of other cells that have one of their own."""


class Trouble(NamedTuple):
    """Something that gave no number.

    Attributes:
        kind: of trouble.
        where: the file or folder.
        what: was asked for, in a few words.
        why: there is no number, and what to do about it.
    """

    kind: Kind
    where: str
    what: str
    why: str


@dataclass
class Collected:
    """What lies below some folders.

    Attributes:
        done: finished cells, in the order of their paths.
        troubles: everything else.
    """

    done: Cells = field(default_factory=list)
    troubles: list[Trouble] = field(default_factory=list)


def collect(folders: Sequence[Path]) -> Collected:
    """Read every result below some folders once, and what is noted of every job of a sweep.

    Args:
        folders: they may lie in one another.

    Raises:
        UserError: a folder is missing, or nothing at all lies below them.
    """
    for folder in folders:
        if not folder.is_dir():
            raise UserError(f"{folder}: no such folder; name folders of runs, such as runs")
    found = Collected()
    for path in sorted({path for folder in folders for path in _files(folder)}):
        if path.name == FILENAME:
            _add_cell(path.parent, found)
        else:
            _add_job(path, found)
    if not found.done and not found.troubles:
        where = ", ".join(map(str, folders))
        raise UserError(
            f"{where}: no {FILENAME} lies below; evaluate an encoder first: python evaluate.py "
            "checkpoint=RUN/encoder.pt data=mitbih protocol=linear budget=100"
        )
    return found


def _files(folder: Path) -> Iterator[Path]:
    for where, _, names in os.walk(folder.resolve()):
        if FILENAME in names:
            yield Path(where, FILENAME)
        if RECORD in names and Path(where).parent.name == JOBS:
            yield Path(where, RECORD)


def _add_cell(folder: Path, found: Collected) -> None:
    try:
        result = read_result(folder)
        assert result is not None
        if result.get("status") == "failed":
            found.troubles.append(
                Trouble("failed cell", str(folder), _asked(result), str(result.get("error", "it does not say why")))
            )
            return
        check(result)
    except UserError as error:
        where = str(folder / FILENAME)
        found.troubles.append(Trouble("unreadable", where, "", str(error).removeprefix(f"{where}: ")))
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError, OSError, RecursionError) as error:
        why = f"no whole result ({error}); delete it and run again"
        found.troubles.append(Trouble("unreadable", str(folder / FILENAME), "", why))
    else:
        found.done.append((folder, {key: value for key, value in result.items() if key not in REPEATED}))


def _asked(result: Mapping[str, Any]) -> str:
    data = result.get("config", {}).get("data", {}).get("name", "")
    protocol, budget, seed = (result.get(key, "?") for key in ("protocol", "budget", "seed"))
    return f"{protocol} on {data}, budget {budget}, seed {seed}"


def _add_job(path: Path, found: Collected) -> None:
    try:
        trouble = _trouble_of(record_of(path), path.parent)
    except (AttributeError, LookupError, TypeError, ValueError, OSError, RecursionError) as error:
        why = f"not readable ({type(error).__name__}: {error}); delete it and run the sweep again"
        trouble = Trouble("unreadable", str(path), "", why)
    if trouble is not None:
        found.troubles.append(trouble)


def _trouble_of(job: JobRecord, folder: Path) -> Trouble | None:
    what, where = " ".join(job.words), str(folder)
    if job.status == "failed":
        return Trouble("failed job", where, what, f"{job.error}")
    if job.status == "running" and job.is_alive:
        return Trouble("running job", where, what, "not finished yet")
    if job.status == "running":
        return Trouble("interrupted job", where, what, "its process is gone; run the same command again to go on")
    return None
