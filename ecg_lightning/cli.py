"""What the command lines share: quiet libraries, one-line errors, exit codes."""

from __future__ import annotations

import logging
import re
import sys
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

from hydra.experimental.callback import Callback as HydraCallback
from omegaconf import DictConfig
from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException

from ecg_lightning.errors import UserError

log = logging.getLogger(__name__)

QUIET = (
    r".*does not have many workers.*",  # whole batches come from one fancy index; workers only slow it
    r".*Checkpoint directory .* exists and is not empty.*",  # a continued run's own
    r".*isinstance\(treespec, LeafSpec\).*",
)


CHATTER = ("Tip:", "TPU available", "GPU available", "Loading `train_dataloader`", "Restoring states", "Restored all")


USER_FAULTS = (UserError, OmegaConfBaseException)
"""What the person at the keyboard can mend."""


class _Chatter(logging.Filter):
    """Drops what says nothing about the run."""

    def filter(self, record: logging.LogRecord) -> bool:
        message = record.getMessage()
        return not any(part in message for part in CHATTER)


def quote_numeric_options(arguments: list[str], group: str) -> list[str]:
    """Quote whole numbers that are options of a group: to Hydra `budget=100` is a value, `budget='100'` an option.

    Args:
        arguments: of the command line.
        group: whose options may be numbers.
    """
    return [
        re.sub(r"(?<![\w'\"])\d+(?![\w'\"])", r"'\g<0>'", argument) if argument.startswith(f"{group}=") else argument
        for argument in arguments
    ]


def run(job: Callable[[], object]) -> None:
    """Run a job; a fault that the user can mend is printed alone and ends the process with exit code 2."""
    _quieten()
    try:
        job()
    except USER_FAULTS as error:
        print(f"error: {_one_message(error)}", file=sys.stderr)
        sys.exit(2)


def run_cell(config: DictConfig) -> None:
    """Evaluate one cell; within a sweep a failing one is reported, counted and does not stop the others."""
    from hydra.core.hydra_config import HydraConfig
    from hydra.types import RunMode

    from ecg_lightning.assessment import assess, results_folder

    if HydraConfig.get().mode != RunMode.MULTIRUN:
        run(lambda: assess(config))
        return
    _quieten()
    try:
        SweepEnd.folders.add(results_folder(config))
        assess(config)
    except USER_FAULTS as error:
        SweepEnd.fail(f"error: {_one_message(error)}")
    except Exception:
        SweepEnd.fail(traceback.format_exc())


class SweepEnd(HydraCallback):
    """Leaves one table for each checkpoint and data set of a sweep; exit code 1 when a cell failed."""

    folders: ClassVar[set[Path]] = set()
    failed: ClassVar[list[str]] = []

    @classmethod
    def fail(cls, message: str) -> None:
        """Count a failed cell and say why, unless another one failed for the very same reason."""
        if message not in cls.failed:
            print(message, file=sys.stderr)
        cls.failed.append(message)

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        """Called by Hydra after the last job."""
        from ecg_lightning.reporting.sweep import summarise_sweep

        for folder in sorted(self.folders):
            summarise_sweep(folder)
        if self.failed:
            print(f"{len(self.failed)} cells failed; run the same command again to try only those", file=sys.stderr)
            sys.exit(1)


def _one_message(error: Exception) -> str:
    if isinstance(error, MissingMandatoryValue):
        return f"{error.full_key} is not given; add {error.full_key}=... to the command"
    return str(error)


def _quieten() -> None:
    """Let the libraries say only what concerns the run."""
    for pattern in QUIET:
        warnings.filterwarnings("ignore", message=pattern)
    for name in ("lightning", "lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).handlers.clear()  # Hydra's root handler prints what they hand up
    for name in ("lightning.pytorch.utilities.rank_zero", "lightning.fabric.utilities.rank_zero"):
        library = logging.getLogger(name)
        if not any(isinstance(each, _Chatter) for each in library.filters):
            library.addFilter(_Chatter())
