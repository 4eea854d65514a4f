"""What a command line asks for, told without doing it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from omegaconf import DictConfig

from ecg_lightning.choices import CONF
from ecg_lightning.job import records
from ecg_lightning.sweeps.grid import Grid, first_of, grid_of
from ecg_lightning.sweeps.history import guess, history, said, total
from ecg_lightning.sweeps.parallel import jobs_at_once


def dry_run(command: str, words: Sequence[str]) -> Iterator[str]:
    """The grid, the number of jobs and the time they are going to take, a line each.

    Args:
        command: `train` or `evaluate`.
        words: of the command line that set keys.

    Raises:
        HydraException: a value of one of them is none.
    """
    from hydra import compose, initialize_config_dir

    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = compose(command, first_of(words), return_hydra_config=True)
        hydra = config.hydra
        grid = grid_of(hydra.sweeper, [word for word in words if not word.startswith(("hydra.", "hydra/"))])
        for word in [] if grid.jobs is None else _different(grid):
            compose(command, [*first_of(words), word])  # a wrong value is told now, not when its job is to begin
    sweep = Path(hydra.sweep.dir)
    done = {each.words for each in records(sweep) if each.status == "done"}
    jobs = [()] * grid.size if grid.jobs is None else [job for job in grid.jobs if job not in done]
    yield _counted(sweep.name if grid.size > 1 else command, grid, len(jobs), hydra)
    yield from grid.lines()
    yield _time(command, jobs, sweep, jobs_at_once(hydra.launcher))


def _different(grid: Grid) -> Iterator[str]:
    """Each word that is not in all jobs, once."""
    assert grid.jobs is not None
    shared = set.intersection(*(set(job) for job in grid.jobs))
    yield from dict.fromkeys(word for job in grid.jobs for word in job if word not in shared)


def _counted(name: str, grid: Grid, left: int, hydra: DictConfig) -> str:
    jobs = "1 job" if grid.size == 1 else f"{grid.size} jobs"
    done = f", {grid.size - left} of them done" if left < grid.size else ""
    at_once = jobs_at_once(hydra.launcher)
    how = "as many at once as the cluster gives" if at_once is None else f"{at_once} at once"
    return f"{name}: {jobs}{done}" + (f", {how}" if grid.size > 1 else "")


def _time(command: str, jobs: Sequence[tuple[str, ...]], sweep: Path, at_once: int | None) -> str:
    if not jobs:
        return "nothing is left to do"
    before = history(sweep.parent)
    time = total([guess(command, words, before) for words in jobs], min(len(jobs), at_once or 1))
    if time is None:
        one = f"; time one: python {command}.py -m {' '.join(jobs[0])}" if jobs[0] else ""
        return f"no such job has been timed here yet{one}"
    unsure = "" if time.sure else ", some of them of another kind"
    told = f"{said(time)} in all, by {len(before)} earlier jobs{unsure}"
    return told if at_once is not None else f"{told}, one after the other"
