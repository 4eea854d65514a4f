"""What the command lines share: from words to a job, from a job to an exit code."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Iterable
from functools import cache, partial
from hashlib import blake2b
from typing import TYPE_CHECKING

from ecg_lightning.choices import CONF
from ecg_lightning.errors import UserError
from ecg_lightning.faults import in_one_line, is_mendable, told
from ecg_lightning.help import gave_help
from ecg_lightning.job import Job, begin, end, sweep_job
from ecg_lightning.quiet import quieten

if TYPE_CHECKING:
    from omegaconf import DictConfig

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
        _say_once(told(error))
        end(noted, begun, error=told(error))
        return None
    end(noted, begun, made=None if made is None else str(made))
    return made


@cache
def _say_once(reason: str) -> None:
    """Say why a job failed, unless another one failed for the very same reason."""
    print(reason, file=sys.stderr)


def composed_command(name: str, job: Callable[[DictConfig], bool | None]) -> None:
    """A command of one job, for `command_line`: the words after it set keys of `conf/NAME.yaml`.

    The process ends with exit code 0, with 1 where the job says that not all is well, and 2 where it cannot be done.

    Args:
        name: of the configuration.
        job: given the composed configuration; returns False where not all is well.
    """
    if gave_help(name):
        return
    from hydra import compose, initialize_config_dir
    from omegaconf import OmegaConf

    shown = ["--cfg", "job"]
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = compose(name, [word for word in sys.argv[1:] if word not in shown])
    if shown[0] in sys.argv:
        print(OmegaConf.to_yaml(config))
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

    from ecg_lightning.precheck import check_asked

    def cell() -> object:
        refuse_pretraining_keys(HydraConfig.get().overrides.task)
        check_asked(config)
        return _answer(config, alone=sweep_job() is None)

    return run(cell)


def _answer(config: DictConfig, *, alone: bool) -> object:
    """What was asked, once nothing is wrong with it that can be told without importing what takes seconds."""
    from ecg_lightning.assessment import assess
    from ecg_lightning.grid import assess_grid
    from ecg_lightning.prediction import predict
    from ecg_lightning.question import results_folder
    from ecg_lightning.sweeps.callback import summarised
    from ecg_lightning.transfer import assess_transfer

    kind = config.protocol.name
    jobs: dict[str, Callable[[DictConfig], object]] = {
        "predict": predict, "all": assess_grid, "transfer": assess_transfer
    }  # fmt: skip
    made = jobs.get(kind, partial(assess, pictures=alone))(config)
    if (kind == "all" or config.get("robustness") is not None) and alone:
        summarised(results_folder(config))
    return results_folder(config) if kind == "all" else made


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
