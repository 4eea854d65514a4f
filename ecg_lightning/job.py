"""The job of a sweep: which one runs in this process, and what each has come to, for every process to read."""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
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
        sweep: folder of the sweep.
        number: of the job in it, from 0.
        words: of the command line that make it this job, `objective=mae`, ....
    """

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
        number: see `Job`.
        words: see `Job`.
        status: `running` until the job says otherwise, also where its process was killed; see `is_alive`.
        began: seconds since 1970.
        ended: seconds since 1970; None while it runs.
        host: on which it runs.
        process: its number there.
        error: why it failed, as the user was told; else None.
        made: what it wrote, a folder or file; None where it failed.
    """

    number: int
    words: tuple[str, ...]
    status: Status
    began: float
    ended: float | None
    host: str
    process: int
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
    return Job(Path(hydra.sweep.dir), int(hydra.job.num), tuple(hydra.overrides.task))


def begin(job: Job) -> JobRecord:
    """Note that a job runs in this process."""
    record = JobRecord(job.number, job.words, "running", time.time(), None, socket.gethostname(), os.getpid())
    _write(job.folder, record)
    return record


def end(job: Job, begun: JobRecord, *, error: str | None = None, made: str | None = None) -> JobRecord:
    """Note what a job has come to.

    Args:
        job: which one.
        begun: what `begin` noted.
        error: why it failed; None where it did not.
        made: what it wrote.
    """
    status: Status = "done" if error is None else "failed"
    said = {**asdict(begun), "status": status, "ended": time.time(), "error": error, "made": made}
    record = JobRecord(**said)
    _write(job.folder, record)
    return record


def records(sweep: Path) -> Iterator[JobRecord]:
    """What is noted of the jobs of a sweep, in their order.

    Args:
        sweep: its folder.
    """
    for path in sorted(sweep.glob(f"{JOBS}/*/{RECORD}"), key=lambda path: int(path.parent.name)):
        yield record_of(path)


def record_of(path: Path) -> JobRecord:
    """What is noted of one job.

    Args:
        path: its `job.json`.
    """
    content = json.loads(path.read_text())
    return JobRecord(**{**content, "words": tuple(content["words"])})


def _write(folder: Path, record: JobRecord) -> None:
    with replacing(folder / RECORD) as partial:
        partial.write_text(json.dumps(asdict(record), indent=1) + "\n")
