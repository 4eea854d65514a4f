"""One `metrics.csv` for a run, however often it is continued."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from lightning.fabric.loggers.logger import rank_zero_experiment
from lightning.pytorch.loggers import CSVLogger
from lightning.pytorch.loggers.csv_logs import ExperimentWriter

from ecg_lightning.files import replacing


class MetricsLog(CSVLogger):
    """Lightning's CSV logger, which would begin another file, or delete the earlier one, when a run is continued.

    Args:
        save_dir: the run directory.
        name: of the folder in it.
    """

    def __init__(self, save_dir: str, name: str = "csv") -> None:
        super().__init__(save_dir, name, version=0)

    @property
    @rank_zero_experiment
    def experiment(self) -> ExperimentWriter:
        """What writes the file."""
        if not isinstance(self._experiment, _ContinuedTable):
            self._experiment = _ContinuedTable(self.log_dir)
        return self._experiment


class _ContinuedTable(ExperimentWriter):
    """Takes up the rows of an earlier process, but for those of the steps that are now repeated."""

    def _check_log_dir_exists(self) -> None:
        """Where Lightning deletes the earlier rows."""

    def save(self) -> None:
        path = Path(self.metrics_file_path)
        if self.metrics and not self.metrics_keys and path.exists():
            self._take_up(path, int(self.metrics[0]["step"]))
        whole = path.stat().st_size if path.exists() else 0
        try:
            super().save()
        except OSError:  # the disk is full: no half line stays, to be continued when it is not
            os.truncate(path, min(whole, path.stat().st_size))
            raise

    def _take_up(self, path: Path, step: int) -> None:
        with path.open(newline="") as file:
            lines = [line for line in file if line.endswith("\n")]  # a kill may cut the last one
        table = csv.DictReader(lines)
        rows = [row for row in table if int(row["step"]) < step]
        self.metrics_keys = list(table.fieldnames or [])
        self._write(path, rows)

    def _rewrite_with_new_header(self, fieldnames: list[str]) -> None:
        """Where Lightning would lose the earlier rows if it were killed."""
        del fieldnames  # they are in `metrics_keys`
        path = Path(self.metrics_file_path)
        with path.open(newline="") as file:
            rows = list(csv.DictReader(file))
        self._write(path, rows)

    def _write(self, path: Path, rows: Iterable[Mapping[str, str]]) -> None:
        with replacing(path) as partial, partial.open("w", newline="") as file:
            writer = csv.DictWriter(file, self.metrics_keys)
            writer.writeheader()
            writer.writerows(rows)
