"""What the command lines share: from words to a job, from a job to an exit code."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Iterable
from functools import cache, partial
from typing import TYPE_CHECKING

from ecg_lightning.choices import CONF
from ecg_lightning.errors import UserError
from ecg_lightning.faults import in_one_line, is_mendable, told
from ecg_lightning.help import gave_help
from ecg_lightning.interrupts import Stopped, stopping_on_signals
from ecg_lightning.job import LOG, Job, JobNote, sweep_job
from ecg_lightning.launch import let_the_first_speak
from ecg_lightning.quiet import quieten
from ecg_lightning.words import keys_of, name_sweep

if TYPE_CHECKING:
    from omegaconf import DictConfig

log = logging.getLogger(__name__)

EXTRAS = {"hydra/launcher/ray": "ray", "hydra/launcher/submitit": "slurm", "hydra/sweeper/optuna": "optuna"}
"""What installs the engines that launch and search, by how Hydra calls what it misses."""


def sweep_command(command: str, main: Callable[[], object]) -> None:
    """A command line whose words may ask for many jobs.

    With `--dry-run` the grid, the number of jobs and their time are told, and with `--cfg` beside the configuration.

    Args:
        command: `train` or `evaluate`.
        main: see `command_line`.
    """
    words = sys.argv[1:] = name_sweep(command, sys.argv[1:])
    keys = keys_of(words)
    if "--dry-run" in words:
        command_line(lambda: _tell_jobs(command, keys, ""))
    elif {"--cfg", "-c"} & set(words):
        options = [word for word in words if word not in (*keys, "-m", "--multirun")]
        command_line(lambda: _show_configuration(command, main, options, keys))
    else:
        command_line(main)


def _show_configuration(command: str, main: Callable[[], object], options: list[str], keys: list[str]) -> None:
    """What Hydra shows, of the first job where there are many."""
    from ecg_lightning.sweeps.grid import first_of

    sys.argv[1:] = [*options, *first_of(keys)]
    main()
    _tell_jobs(command, keys, "# ")


def _tell_jobs(command: str, keys: list[str], prefix: str) -> None:
    from ecg_lightning.sweeps.dry_run import dry_run

    for line in dry_run(command, keys):
        print(f"{prefix}{line}")


def command_line(main: Callable[[], object]) -> None:
    """Hand the command line to Hydra; what it cannot make a configuration of is told in one message.

    Args:
        main: decorated with `hydra.main`, its job run by `run` or `run_cell`.
    """
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra raises instead of printing messages of its own kind
    # Python's parser takes no further words after an option that stands between them.
    sys.argv[1:] = sorted(sys.argv[1:], key=lambda word: word not in ("-m", "--multirun"))
    try:
        with stopping_on_signals():
            main()
    except Stopped as stop:
        print(f"{stop.signal.name}: what is finished is kept; the same command does the rest", file=sys.stderr)
        raise
    except Exception as error:  # A job lets nothing out: this is the composition's, or the engine's that runs the jobs.
        text = in_one_line(str(error).split("Config search path")[0].replace(":\n\t", ": ").replace("\n\t", ", "))
        print(f"error: {text}; {_remedy(error, text)}", file=sys.stderr)
        sys.exit(2)


def _remedy(error: Exception, text: str) -> str:
    """What to do about a fault outside all jobs."""
    if isinstance(error, ConnectionError) or type(error).__module__.split(".")[0] in ("ray", "submitit"):
        return "what is done is kept: the same command goes on from there"
    missing = next((extra for name, extra in EXTRAS.items() if name in text), None)
    if missing is not None:
        return f"install the extra that has it: pip install '.[{missing}]'"
    return "--help lists the groups, their choices and the keys"


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
        let_the_first_speak()
        print(told(error), file=sys.stderr)
        sys.exit(2 if is_mendable(error) else 1)


def _run_noted(job: Callable[[], object], noted: Job) -> object:
    """Run a job of a sweep, with notes of how it went and a log of its own."""
    from hydra.core.hydra_config import HydraConfig

    os.chdir(HydraConfig.get().runtime.cwd)  # where the words were typed: another machine's worker began elsewhere
    note = JobNote(noted)
    diary = logging.FileHandler(noted.folder / LOG)
    logging.getLogger().addHandler(diary)
    try:
        made = job()
    except Exception as error:
        _say_once(told(error))
        log.debug(told(error))
        note.failed(told(error))
        return None
    finally:
        logging.getLogger().removeHandler(diary)
        diary.close()
    note.done(None if made is None else str(made))
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
    from ecg_lightning.followed import followed
    from ecg_lightning.grid import assess_grid
    from ecg_lightning.prediction import predict
    from ecg_lightning.question import results_folder
    from ecg_lightning.sweeps.callback import summarised
    from ecg_lightning.transfer import assess_transfer

    kind = config.protocol.name
    jobs: dict[str, Callable[[DictConfig], object]] = {
        "predict": predict, "all": assess_grid, "transfer": assess_transfer
    }  # fmt: skip

    def answer() -> object:
        made = jobs.get(kind, partial(assess, pictures=alone))(config)
        if (kind == "all" or config.get("robustness") is not None) and alone:
            summarised(results_folder(config))
        return results_folder(config) if kind == "all" else made

    return followed(config, answer)


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
