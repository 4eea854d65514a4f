"""The job of a sweep: which one runs in this process, and what each has come to, for every process to read."""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal

from ecg_lightning.files import replacing

Status = Literal["running", "done", "failed"]

JOBS, RECORD, LOG = "jobs", "job.json", "job.log"
"""In the folder of a sweep each job has one, `jobs/NUMBER/`, with these files."""


@dataclass(frozen=True)
class Job:
    """One job of a sweep.

    Attributes:
        command: the script, `train` or `evaluate`.
        sweep: folder of the sweep.
        number: of the job in it, from 0.
        words: of the command line that make it this job, `objective=mae`, ....
    """

    command: str
    sweep: Path
    number: int
    words: tuple[str, ...]

    @property
    def folder(self) -> Path:
        """Where its record and log lie."""
        return self.sweep / JOBS / str(self.number)


@dataclass(frozen=True)
class JobRecord:
    """What a job has come to.

    Attributes:
        command: the script, `train` or `evaluate`.
        number: see `Job`.
        words: see `Job`.
        status: `running` until the job says otherwise, also where its process was killed; see `is_alive`.
        began: the work, in seconds since 1970.
        ended: the work, in seconds since 1970; None while it runs, or where it was done before and nobody timed it.
        noted: when this was written, in seconds since 1970; later than `ended` where a job found its work done before.
        host: on which it runs.
        process: its number there.
        devices: the accelerators that it was given, as `CUDA_VISIBLE_DEVICES` names them; None for all there are.
        error: why it failed, as the user was told; else None.
        made: what it wrote, a folder or file; None where it failed.
    """

    command: str
    number: int
    words: tuple[str, ...]
    status: Status
    began: float
    ended: float | None
    noted: float
    host: str
    process: int
    devices: str | None
    error: str | None = None
    made: str | None = None

    @property
    def is_alive(self) -> bool:
        """Whether a running job's process is still there, as far as this machine can tell."""
        if self.status != "running" or self.host != socket.gethostname():
            return self.status == "running"
        try:
            os.kill(self.process, 0)
        except ProcessLookupError:
            return False
        except PermissionError:
            return True
        return True


def sweep_job() -> Job | None:
    """The job that this process runs, as Hydra says it; None outside a sweep."""
    from hydra.core.hydra_config import HydraConfig
    from hydra.types import RunMode

    if not HydraConfig.initialized() or HydraConfig.get().mode != RunMode.MULTIRUN:
        return None
    hydra = HydraConfig.get()
    return Job(str(hydra.job.name), Path(hydra.sweep.dir), int(hydra.job.num), tuple(hydra.overrides.task))


class JobNote:
    """Notes that a job runs in this process, and at its end what it has come to.

    Args:
        job: which one.
    """

    def __init__(self, job: Job) -> None:
        self.job, self.before = job, _readable(job.folder / RECORD)
        now = time.time()
        self.record = JobRecord(job.command, job.number, job.words, "running", now, None, now, socket.gethostname(),
                                os.getpid(), os.environ.get("CUDA_VISIBLE_DEVICES"))  # fmt: skip
        _write(job.folder, self.record)

    def done(self, made: str | None) -> None:
        """It ended well.

        Args:
            made: what it wrote, or found written already by an earlier start of the same job.
        """
        now, before = time.time(), self.before
        done = replace(self.record, status="done", ended=now, noted=now, made=made)
        if made is not None and _written(Path(made)) < done.began:
            timed = (before.began, before.ended) if before is not None and before.made == made else (now, None)
            done = replace(done, began=timed[0], ended=timed[1])
        _write(self.job.folder, done)

    def failed(self, error: str) -> None:
        """It did not.

        Args:
            error: why, as the user is told.
        """
        now = time.time()
        _write(self.job.folder, replace(self.record, status="failed", ended=now, noted=now, error=error))


def records(sweep: Path) -> Iterator[JobRecord]:
    """What is noted of the jobs of a sweep, in their order.

    Args:
        sweep: its folder.
    """
    for path in sorted(sweep.glob(f"{JOBS}/*/{RECORD}"), key=lambda path: int(path.parent.name)):
        record = _readable(path)
        if record is not None:
            yield record


def record_of(path: Path) -> JobRecord:
    """What is noted of one job.

    Args:
        path: its `job.json`.

    Raises:
        OSError, ValueError, TypeError, KeyError: there is none, or it is no such note.
    """
    content = json.loads(path.read_text())
    return JobRecord(**{**content, "words": tuple(content["words"])})


def _readable(path: Path) -> JobRecord | None:
    """None where there is none, or one of another version."""
    try:
        return record_of(path)
    except (OSError, ValueError, TypeError, KeyError):
        return None


def _written(made: Path) -> float:
    """When what a job made was last written: a file, the folder of a cell, or a folder of such folders."""
    files = [made] if made.is_file() else [*made.glob("result.json"), *made.glob("*/result.json")]
    return max((file.stat().st_mtime for file in files), default=float("inf"))


def _write(folder: Path, record: JobRecord) -> None:
    with replacing(folder / RECORD) as partial:
        partial.write_text(json.dumps(asdict(record), indent=1) + "\n")
