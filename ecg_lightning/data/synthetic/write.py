"""Write the synthetic data sets to disk: whole or not at all, and only once."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from itertools import chain
from multiprocessing import get_context
from pathlib import Path
from typing import Any, TypeVar

from tqdm import tqdm

from ecg_lightning.data.synthetic import holter as mitdb
from ecg_lightning.data.synthetic import ptbxl
from ecg_lightning.errors import UserError

GENERATOR_VERSION = 1
STAMP = "synthetic.json"

Job = TypeVar("Job")
Done = TypeVar("Done")


def write_dataset(
    root: Path,
    records: int = 5000,
    holter: int = 12,
    seed: int = 0,
    *,
    holter_minutes: float = 30.0,
    workers: int | None = None,
) -> None:
    """Write synthetic recordings below `root`, unless the same ones already lie there.

    Args:
        root: gets `ptbxl/` (PTB-XL's layout, both rates) and `mitdb/` (MIT-BIH's layout).
        records: how many ten-second 12-lead records; 0 leaves `ptbxl/` alone.
        holter: how many two-lead records, at most 44; 0 leaves `mitdb/` alone.
        seed: the same seed gives the same bytes, whatever the number of workers.
        holter_minutes: length of a two-lead record.
        workers: processes; 0 works in this one, None takes one per core where the set is large enough to gain.

    Raises:
        UserError: a number is out of range, or a folder to write holds a data set that is not synthetic.
    """
    from filelock import FileLock

    if not (0 <= records < 100_000 and 0 <= holter <= len(mitdb.RECORDS) and holter_minutes >= 0.1 and seed >= 0):
        raise UserError(
            f"records={records}, holter={holter}, holter_minutes={holter_minutes}, seed={seed}: allowed are up to "
            f"99999 records, up to {len(mitdb.RECORDS)} Holter records of at least 0.1 minutes, and a seed from 0 on"
        )
    if workers is None:
        workers = (os.cpu_count() or 1) if records + holter * holter_minutes > 300 else 0
    root.mkdir(parents=True, exist_ok=True)
    with FileLock(root / ".synthetic.lock"):
        if records:
            build = partial(_build_ptbxl, records=records, seed=seed, workers=workers)
            _publish(root / "ptbxl", {"records": records, "seed": seed}, build)
        if holter:
            build = partial(_build_mitdb, holter=holter, minutes=holter_minutes, seed=seed, workers=workers)
            _publish(root / "mitdb", {"holter": holter, "minutes": holter_minutes, "seed": seed}, build)


def _build_ptbxl(folder: Path, records: int, seed: int, workers: int) -> None:
    rows = _each(ptbxl.write_records, ptbxl.jobs(folder, records, seed), workers, "12-lead records")
    ptbxl.write_tables(folder, list(chain.from_iterable(rows)), seed)


def _build_mitdb(folder: Path, holter: int, minutes: float, seed: int, workers: int) -> None:
    numbers = _each(mitdb.write_holter, mitdb.jobs(folder, holter, minutes, seed), workers, "Holter records")
    (folder / "RECORDS").write_text("".join(f"{number}\n" for number in sorted(numbers)))


def _each(work: Callable[[Job], Done], jobs: Sequence[Job], workers: int, label: str) -> list[Done]:
    """The results of all jobs, in order, behind a progress bar."""
    progress = partial(tqdm, desc=label, total=len(jobs), disable=None)
    if workers == 0:
        return list(progress(map(work, jobs)))
    with ProcessPoolExecutor(min(workers, len(jobs)), mp_context=get_context("spawn")) as pool:
        return list(progress(pool.map(work, jobs)))


def _publish(target: Path, arguments: dict[str, Any], build: Callable[[Path], None]) -> None:
    """Build a data set beside its place and move it there whole; nothing to do where the same one lies already."""
    stamp = {"generator_version": GENERATOR_VERSION, **arguments}
    if target.exists():
        if not (target / STAMP).exists():
            raise UserError(f"{target} holds data that this generator did not write; choose another --root")
        if json.loads((target / STAMP).read_text()) == stamp:
            return
    unfinished = target.with_name(f".{target.name}.partial")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir()
    build(unfinished)
    (unfinished / STAMP).write_text(json.dumps(stamp, indent=2) + "\n")
    shutil.rmtree(target, ignore_errors=True)
    unfinished.rename(target)
