"""What happens around a sweep: its progress in one line, its tables at the end, its exit code."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, ClassVar

from hydra.experimental.callback import Callback
from omegaconf import DictConfig

from ecg_lightning.faults import told
from ecg_lightning.job import records
from ecg_lightning.sweeps.grid import grid_of
from ecg_lightning.sweeps.history import history
from ecg_lightning.sweeps.parallel import jobs_at_once
from ecg_lightning.sweeps.progress import ProgressLine


class SweepCallback(Callback):
    """Tells how far a sweep is, and leaves one table for each checkpoint and data set of it.

    The process ends with exit code 1 where a job failed.
    """

    _progress: ClassVar[ProgressLine | None] = None  # of the class, for the instance is sent to other processes

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Called by Hydra before the first job."""
        hydra = config.hydra
        sweep, at_once = Path(hydra.sweep.dir), jobs_at_once(hydra.launcher)
        grid = grid_of(hydra.sweeper, hydra.overrides.task)
        before = history(sweep.parent)
        SweepCallback._progress = ProgressLine(sweep, hydra.job.name, grid, at_once, before, alone=_is_alone(hydra))
        SweepCallback._progress.start()

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        """Called by Hydra after the last job."""
        jobs = list(records(Path(config.hydra.sweep.dir)))
        state = None if self._progress is None else self._progress.finish()
        if not _is_alone(config.hydra):
            for reason in dict.fromkeys(job.error for job in jobs if job.error is not None):
                print(reason, file=sys.stderr)
        folders = sorted({*_tables(job.made for job in jobs)})
        tables = [summarised(folder) for folder in folders]
        if "wandb" in (config.get("logger") or {}):
            _tell_wandb(config, folders)
        failed = sum(job.status == "failed" for job in jobs) if state is None else state.failed
        if failed:
            print(f"{failed} jobs failed; run the same command again to try only those", file=sys.stderr)
        if failed or not all(tables):
            sys.exit(1)


def _is_alone(hydra: DictConfig) -> bool:
    """Whether the jobs run in this process, one after the other."""
    return str(hydra.launcher._target_).endswith("BasicLauncher")


def _tables(made: Iterable[str | None]) -> Iterator[Path]:
    """The folders of cells among what jobs made."""
    from ecg_lightning.results import FILENAME

    for path in (Path(each) for each in made if each is not None):
        if (path / FILENAME).exists():
            yield path.parent
        elif path.is_dir() and any(path.glob(f"*/{FILENAME}")):
            yield path


def _tell_wandb(config: DictConfig, folders: Iterable[Path]) -> None:
    """Have W&B hold the tables of a sweep that it followed; why it cannot is told."""
    from ecg_lightning.followed import follow_sweep

    try:
        follow_sweep(config, folders)
    except Exception as error:  # see `summarised`
        print(told(error), file=sys.stderr)


def summarised(folder: Path) -> bool:
    """Whether the table of a folder's cells could be made; why not is told.

    Args:
        folder: the cells of one checkpoint on one data set.
    """
    from ecg_lightning.reporting.sweep import summarise_sweep

    try:
        summarise_sweep(folder)
    except Exception as error:  # Hydra makes a warning of what a callback raises and exits with code 0.
        print(f"{told(error)}\n{folder}: there is no new table of its cells", file=sys.stderr)
        return False
    return True
