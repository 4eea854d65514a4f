"""What the command lines share: from words to a job, from a job to an exit code."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Iterable
from functools import partial
from hashlib import blake2b
from pathlib import Path
from typing import Any, ClassVar

from hydra.experimental.callback import Callback as HydraCallback
from omegaconf import DictConfig

from ecg_lightning.errors import UserError
from ecg_lightning.faults import in_one_line, is_mendable, told
from ecg_lightning.job import Job, begin, end, records, sweep_job
from ecg_lightning.members import CONF
from ecg_lightning.quiet import quieten

HOW_NOT_WHAT = ("-m", "--multirun", "hydra", "logger", "cache_dir")
"""Beginnings of words that say how and where a sweep runs, not what it is about."""


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
        print(f"error: {in_one_line(text)}; --help lists the groups, their choices and the keys", file=sys.stderr)
        sys.exit(2)


def name_sweep(script: str, words: list[str]) -> list[str]:
    """Add the folder in which a sweep notes what its jobs came to: the same for the same question, however it is run.

    Args:
        script: that is run, without its suffix.
        words: of its command line.
    """
    about = sorted(word for word in words if not word.startswith(HOW_NOT_WHAT))
    name = next((word.partition("=")[2] for word in about if word.startswith("+sweep=")), script)
    state = blake2b(" ".join([script, *about]).encode(), digest_size=4).hexdigest()
    return [*words, f"hydra.sweep.dir=runs/sweeps/{name}-{state}"]


def run(job: Callable[[], object]) -> object:
    """Run a job.

    By itself: a fault ends the process, with exit code 2 where the user can mend it, else 1. In a sweep: it is told and
    noted, the other jobs go on.

    Args:
        job: gives what it made.

    Returns:
        What the job gives; None where it failed.
    """
    quieten()
    noted = sweep_job()
    if noted is not None:
        return _run_noted(job, noted)
    try:
        return job()
    except Exception as error:
        print(told(error), file=sys.stderr)
        sys.exit(2 if is_mendable(error) else 1)


def _run_noted(job: Callable[[], object], noted: Job) -> object:
    """Run a job of a sweep, with notes of how it went."""
    begun = begin(noted)
    try:
        made = job()
    except Exception as error:
        SweepEnd.say_once(told(error))
        end(noted, begun, error=told(error))
        return None
    end(noted, begun, made=None if made is None else str(made))
    return made


def composed_command(name: str, about: str | None, job: Callable[[DictConfig], bool | None]) -> None:
    """A command of one job, for `command_line`: the words after it set keys of `conf/NAME.yaml`.

    The process ends with exit code 0, with 1 where the job says that not all is well, and 2 where it cannot be done.

    Args:
        name: of the configuration.
        about: what `--help` says before the choices of the data set, if there is one, and the configuration.
        job: given the composed configuration; returns False where not all is well.
    """
    from hydra import compose, initialize_config_dir
    from omegaconf import OmegaConf

    words, asked = sys.argv[1:], {"--help", "-h"}
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = compose(name, [word for word in words if word not in asked])
    if asked & set(words):
        names = ", ".join(sorted(path.stem for path in (CONF / "data").glob("*.yaml")))
        choices = f"Choices (group=option)\n\ndata: {names}\n\n" if "data" in config else ""
        keys = f"Configuration (any key can be set as key=value)\n\n{OmegaConf.to_yaml(config)}"
        print(f"{about}\n{choices}{keys}")
        return
    said: list[bool | None] = []
    run(lambda: said.append(job(config)))
    sys.exit(1 if False in said else 0)


def run_cell(config: DictConfig) -> object:
    """Evaluate one cell, or what else `evaluate.py` does under the name of a protocol.

    Args:
        config: as `conf/evaluate.yaml` composes it.

    Returns:
        What `run` returns: the folder or file that was written.
    """
    from hydra.core.hydra_config import HydraConfig

    from ecg_lightning.assessment import assess
    from ecg_lightning.followed import followed
    from ecg_lightning.grid import assess_grid
    from ecg_lightning.prediction import predict
    from ecg_lightning.question import results_folder
    from ecg_lightning.transfer import assess_transfer

    alone = sweep_job() is None
    kind = config.protocol.name
    jobs: dict[str, Callable[[DictConfig], object]] = {
        "predict": predict, "all": assess_grid, "transfer": assess_transfer
    }  # fmt: skip

    def answer() -> object:
        made = jobs.get(kind, partial(assess, pictures=alone))(config)
        if (kind == "all" or config.get("robustness") is not None) and alone:
            _summarised(results_folder(config))
        return results_folder(config) if kind == "all" else made

    def job() -> object:
        refuse_pretraining_keys(HydraConfig.get().overrides.task)
        return followed(config, answer)

    return run(job)


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
    """Leaves one table for each checkpoint and data set of a sweep; exit code 1 when a job failed."""

    said: ClassVar[set[str]] = set()

    @classmethod
    def say_once(cls, message: str) -> None:
        """Say why a job failed, unless another one failed for the very same reason."""
        if message not in cls.said:
            print(message, file=sys.stderr)
        cls.said.add(message)

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        """Called by Hydra after the last job."""
        jobs = list(records(Path(config.hydra.sweep.dir)))
        folders = sorted({*_tables(job.made for job in jobs)})
        tables = [_summarised(folder) for folder in folders]
        _followed(config, folders)
        failed = [job for job in jobs if job.status == "failed"]
        if failed:
            print(f"{len(failed)} jobs failed; run the same command again to try only those", file=sys.stderr)
        if failed or not all(tables):
            sys.exit(1)


def _tables(made: Iterable[str | None]) -> Iterable[Path]:
    """The folders of cells among what jobs made."""
    from ecg_lightning.results import FILENAME

    for path in (Path(each) for each in made if each is not None):
        if (path / FILENAME).exists():
            yield path.parent
        elif path.is_dir() and any(path.glob(f"*/{FILENAME}")):
            yield path


def _followed(config: DictConfig, folders: list[Path]) -> None:
    """Tell W&B of the tables of a sweep, where it followed the sweep."""
    if "wandb" not in (config.get("logger") or {}):
        return
    from ecg_lightning.followed import follow_sweep

    try:
        follow_sweep(config, folders)
    except Exception as error:  # see `_summarised`
        print(told(error), file=sys.stderr)


def _summarised(folder: Path) -> bool:
    """Whether the table of a folder's cells could be made."""
    from ecg_lightning.reporting.sweep import summarise_sweep

    try:
        summarise_sweep(folder)
    except Exception as error:  # Hydra makes a warning of what a callback raises and exits with code 0.
        print(f"{told(error)}\n{folder}: there is no new table of its cells", file=sys.stderr)
        return False
    return True
