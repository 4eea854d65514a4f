"""One `metrics.csv` for a run, however often it is continued."""

from __future__ import annotations

import csv
from pathlib import Path

from lightning.fabric.loggers.logger import rank_zero_experiment
from lightning.pytorch.loggers import CSVLogger
from lightning.pytorch.loggers.csv_logs import ExperimentWriter


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
        if self.metrics and not self.metrics_keys and Path(self.metrics_file_path).exists():
            self._take_up(int(self.metrics[0]["step"]))
        super().save()

    def _take_up(self, step: int) -> None:
        path = Path(self.metrics_file_path)
        with path.open(newline="") as file:
            table = csv.DictReader(file)
            rows = [row for row in table if row["step"].isdigit() and int(row["step"]) < step]  # a kill may cut a line
            self.metrics_keys = list(table.fieldnames or [])
        partial = path.with_name(f".{path.name}.partial")
        with partial.open("w", newline="") as file:
            writer = csv.DictWriter(file, self.metrics_keys)
            writer.writeheader()
            writer.writerows(rows)
        partial.replace(path)
