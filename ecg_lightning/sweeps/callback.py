"""What happens around a sweep: its tables at the end, its exit code."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from hydra.experimental.callback import Callback
from omegaconf import DictConfig

from ecg_lightning.faults import told
from ecg_lightning.job import records


class SweepCallback(Callback):
    """Leaves one table for each checkpoint and data set of a sweep; exit code 1 when a job failed."""

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        """Called by Hydra after the last job."""
        jobs = list(records(Path(config.hydra.sweep.dir)))
        tables = [summarised(folder) for folder in sorted({*_tables(job.made for job in jobs)})]
        failed = [job for job in jobs if job.status == "failed"]
        if failed:
            print(f"{len(failed)} jobs failed; run the same command again to try only those", file=sys.stderr)
        if failed or not all(tables):
            sys.exit(1)


def _tables(made: Iterable[str | None]) -> Iterator[Path]:
    """The folders of cells among what jobs made."""
    from ecg_lightning.results import FILENAME

    for path in (Path(each) for each in made if each is not None):
        if (path / FILENAME).exists():
            yield path.parent
        elif path.is_dir() and any(path.glob(f"*/{FILENAME}")):
            yield path


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
