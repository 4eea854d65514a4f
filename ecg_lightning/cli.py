"""What the command lines share: quiet libraries, one-line errors, exit codes."""

from __future__ import annotations

import errno
import logging
import os
import re
import sys
import traceback
import warnings
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

from hydra.experimental.callback import Callback as HydraCallback
from omegaconf import DictConfig
from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException

from ecg_lightning.errors import UserError
from ecg_lightning.members import CONF

log = logging.getLogger(__name__)

QUIET = (
    r".*does not have many workers.*",  # whole batches come from one fancy index; workers only slow it
    r".*Checkpoint directory .* exists and is not empty.*",  # a continued run's own
    r".*isinstance\(treespec, LeafSpec\).*",
    r".*in eval mode at the start of training.*",  # an encoder that stays as it is while its head learns
)


CHATTER = ("Tip:", "TPU available", "GPU available", "Loading `train_dataloader`", "Restoring states", "Restored all")


NOT_WRITABLE = {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.ENOTDIR, errno.EEXIST,
                errno.EISDIR}  # fmt: skip
"""Faults of a disk or a folder, whichever step of the work meets them."""


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


def command_line(main: Callable[[], None]) -> None:
    """Hand the command line to Hydra; what it cannot make a configuration of is told in one message.

    Args:
        main: decorated with `hydra.main`, its job run by `run` or `run_cell`.
    """
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra raises instead of printing messages of its own kind
    # Python's parser takes no further words after an option that stands between them.
    sys.argv[1:] = sorted(sys.argv[1:], key=lambda word: word not in ("-m", "--multirun"))
    try:
        main()
    except Exception as error:  # A job lets nothing out: this is the composition's.
        text = str(error).split("Config search path")[0].replace(":\n\t", ": ").replace("\n\t", ", ")
        print(f"error: {_in_one_line(text)}; --help lists the groups, their choices and the keys", file=sys.stderr)
        sys.exit(2)


def run(job: Callable[[], object]) -> None:
    """Run a job; a fault that the user can mend is printed alone and ends the process with exit code 2."""
    _quieten()
    try:
        job()
    except Exception as error:
        print(_report(error), file=sys.stderr)
        sys.exit(2 if _mendable(error) else 1)


def composed_command(name: str, about: str | None, job: Callable[[DictConfig], bool | None]) -> None:
    """A command of one job, for `command_line`: the words after it set keys of `conf/NAME.yaml`.

    The process ends with exit code 0, with 1 where the job says that not all is well, and 2 where it cannot be done.

    Args:
        name: of the configuration.
        about: what `--help` says before the choices of the data set and the configuration.
        job: given the composed configuration; returns False where not all is well.
    """
    from hydra import compose, initialize_config_dir
    from omegaconf import OmegaConf

    words, asked = sys.argv[1:], {"--help", "-h"}
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = compose(name, [word for word in words if word not in asked])
    if asked & set(words):
        choices = ", ".join(sorted(path.stem for path in (CONF / "data").glob("*.yaml")))
        keys = f"Configuration (any key can be set as key=value)\n\n{OmegaConf.to_yaml(config)}"
        print(f"{about}\nChoices (group=option)\n\ndata: {choices}\n\n{keys}")
        return
    said: list[bool | None] = []
    run(lambda: said.append(job(config)))
    sys.exit(1 if False in said else 0)


def run_cell(config: DictConfig) -> None:
    """Evaluate one cell; within a sweep a failing one is reported, counted and does not stop the others."""
    from hydra.core.hydra_config import HydraConfig
    from hydra.types import RunMode

    from ecg_lightning.assessment import assess
    from ecg_lightning.grid import assess_grid
    from ecg_lightning.prediction import predict
    from ecg_lightning.question import results_folder
    from ecg_lightning.transfer import assess_transfer

    kind = config.protocol.name
    jobs: dict[str, Callable[[DictConfig], object]] = {
        "predict": predict, "all": assess_grid, "transfer": assess_transfer
    }  # fmt: skip

    def cell() -> None:
        refuse_pretraining_keys(HydraConfig.get().overrides.task)
        jobs.get(kind, partial(assess, pictures=not sweeping))(config)
        if (kind == "all" or config.get("robustness") is not None) and not sweeping:
            _summarised(results_folder(config))

    sweeping = HydraConfig.get().mode == RunMode.MULTIRUN
    if not sweeping:
        run(cell)
        return
    _quieten()
    try:
        if kind not in ("predict", "transfer"):  # which make tables of their own, or none
            SweepEnd.folders.add(results_folder(config))
        cell()
    except Exception as error:
        SweepEnd.fail(_report(error))


def refuse_pretraining_keys(overrides: Iterable[str]) -> None:
    """Say what an evaluation does not take, rather than to leave it unheard: a signal's specification, a share.

    Args:
        overrides: of the command line.

    Raises:
        UserError: one of them is a part of `data.spec`, or `data.share`.
    """
    reasons = {"data.spec": "the encoder brings the signal it expects", "data.share": "it is evaluated on everybody"}
    for override in overrides:
        for key, reason in reasons.items():
            if override.lstrip("+~").startswith(key):
                raise UserError(f"{override}: {reason}; {key} is for train.py alone")


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
        tables = [_summarised(folder) for folder in sorted(self.folders)]
        if self.failed:
            print(f"{len(self.failed)} cells failed; run the same command again to try only those", file=sys.stderr)
        if self.failed or not all(tables):
            sys.exit(1)


def _summarised(folder: Path) -> bool:
    """Whether the table of a folder's cells could be made."""
    from ecg_lightning.reporting.sweep import summarise_sweep

    try:
        summarise_sweep(folder)
    except Exception as error:  # Hydra makes a warning of what a callback raises and exits with code 0.
        print(f"{_report(error)}\n{folder}: there is no new table of its cells", file=sys.stderr)
        return False
    return True


def _mendable(error: Exception) -> bool:
    """Whether the person at the keyboard can mend it."""
    if isinstance(error, OSError):
        return error.errno in NOT_WRITABLE
    return isinstance(error, UserError | OmegaConfBaseException)


def _report(error: Exception) -> str:
    """One line for the user, the traceback of anything else."""
    if not _mendable(error):
        return "".join(traceback.format_exception(error))
    if isinstance(error, MissingMandatoryValue):
        return f"error: {error.full_key} is not given; add {error.full_key}=... to the command"
    if isinstance(error, OSError):
        where = f"{error.filename}: " if error.filename else ""
        return (f"error: {where}cannot be written ({error.strerror or _in_one_line(str(error))}); free some space, or "
                "set run_dir, cache_dir or results_dir to where there is leave and room")  # fmt: skip
    return f"error: {_in_one_line(str(error))}"


def _in_one_line(text: str) -> str:
    return " ".join(text.split())


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
