"""What the command lines share: from words to a job, from a job to an exit code."""

from __future__ import annotations

import logging
import os
import re
import sys
from collections.abc import Callable, Iterable
from functools import cache, partial
from glob import glob
from hashlib import blake2b
from pathlib import Path

from omegaconf import DictConfig

from ecg_lightning.errors import UserError
from ecg_lightning.faults import in_one_line, is_mendable, told
from ecg_lightning.job import LOG, Job, JobNote, sweep_job
from ecg_lightning.members import CONF
from ecg_lightning.quiet import quieten

log = logging.getLogger(__name__)

EXTRAS = {"hydra/launcher/ray": "ray", "hydra/launcher/submitit": "slurm", "hydra/sweeper/optuna": "optuna"}
"""What installs the engines that launch and search, by how Hydra calls what it misses."""

HOW_NOT_WHAT = ("hydra", "logger", "cache_dir")
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


def expand_pattern(arguments: list[str], key: str) -> list[str]:
    """Put the files that a pattern names in its place: `checkpoint=runs/*/*/encoder.pt` asks for each of them.

    Args:
        arguments: of the command line.
        key: whose value may be a pattern.
    """

    def expanded(argument: str) -> str:
        name, _, value = argument.partition("=")
        pattern = value.strip("'\"") if name == key and "*" in value else ""
        found = sorted(glob(pattern))  # noqa: PTH207  as it is typed, absolute or not
        return f"{key}={','.join(map(repr, found))}" if found else argument

    return [expanded(argument) for argument in arguments]


def sweep_command(command: str, main: Callable[[], object]) -> None:
    """A command line whose words may ask for many jobs.

    With `--dry-run` the grid, the number of jobs and their time are told, and with `--cfg` beside the configuration.

    Args:
        command: `train` or `evaluate`.
        main: see `command_line`.
    """
    words = sys.argv[1:] = name_sweep(command, sys.argv[1:])
    keys = _keys(words)
    if "--dry-run" in words:
        command_line(lambda: _tell_jobs(command, keys, ""))
    elif {"--cfg", "-c"} & set(words):
        options = [word for word in words if word not in (*keys, "-m", "--multirun")]
        command_line(lambda: _show_configuration(command, main, options, keys))
    else:
        command_line(main)


def _keys(words: Iterable[str]) -> list[str]:
    """The words that set keys, not options of the command and their values."""
    return [word for word in words if word[:1] == "~" or ("=" in word and word[0] != "-")]


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
        main()
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


def name_sweep(script: str, words: list[str]) -> list[str]:
    """Add the folder in which a sweep notes what its jobs came to: the same for the same question, however it is run.

    Args:
        script: that is run, without its suffix.
        words: of its command line.
    """
    about = sorted(word for word in _keys(words) if not word.startswith(HOW_NOT_WHAT))
    name = next((word.partition("=")[2] for word in about if word.startswith("+sweep=")), script)
    state = blake2b(" ".join([script, *about]).encode(), digest_size=4).hexdigest()
    first = next((place for place, word in enumerate(words) if "=" in word and word[0] != "-"), len(words))
    folder = Path.cwd() / "runs" / "sweeps" / f"{name}-{state}"
    return [*words[:first], f"hydra.sweep.dir='{folder}'", *words[first:]]


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
    from ecg_lightning.sweeps.callback import summarised
    from ecg_lightning.transfer import assess_transfer

    alone = sweep_job() is None
    kind = config.protocol.name
    jobs: dict[str, Callable[[DictConfig], object]] = {
        "predict": predict, "all": assess_grid, "transfer": assess_transfer
    }  # fmt: skip

    def answer() -> object:
        made = jobs.get(kind, partial(assess, pictures=alone))(config)
        if (kind == "all" or config.get("robustness") is not None) and alone:
            summarised(results_folder(config))
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
