"""What a run is called, and with which others it belongs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from omegaconf import DictConfig, OmegaConf

from ecg_lightning.job import Job, sweep_job

LONGEST = 100
"""Characters of a name; W&B takes 128."""

SHORT = {"seed": "s", "model_seed": "m"}
"""Keys whose values say enough behind a letter."""

NO_CHOICE = ("true", "false", "null")


@dataclass(frozen=True)
class RunIdentity:
    """How a run is found among others.

    Attributes:
        name: says what sets it apart.
        job_type: what it does.
        tags: its objective, encoder and data, ....
        group: the sweep that it is a part of; None outside a sweep.
    """

    name: str
    job_type: Literal["pretrain", "evaluate"]
    tags: tuple[str, ...]
    group: str | None = None


def of_training(config: DictConfig) -> RunIdentity:
    """The identity of a pretraining run.

    Args:
        config: as `conf/train.yaml` composes it.
    """
    traits = (_module(config.objective), _module(config.encoder), config.data.name)
    return RunIdentity(_in_sweep() or "-".join(traits), "pretrain", traits, _group())


def of_evaluation(config: DictConfig, training: Mapping[str, Any], asked: Sequence[str]) -> RunIdentity:
    """The identity of an evaluation, of one cell or of a grid of them.

    Args:
        config: as `conf/evaluate.yaml` composes it.
        training: of the encoder's checkpoint.
        asked: what else its name says outside a sweep, the budget and the seed of a cell.
    """
    stress = [] if config.get("robustness") is None else [str(config.robustness.name)]
    traits = (str(training["objective"]).lower(), str(config.protocol.name), str(config.data.name), *stress)
    return RunIdentity(_in_sweep() or "-".join([*traits, *asked]), "evaluate", traits, _group())


def swept(job: Job) -> tuple[str, ...]:
    """The words of a job in which those of its sweep differ; all of them where the sweep does not say.

    Args:
        job: of a sweep whose folder holds Hydra's own account of it.
    """
    from hydra.core.override_parser.overrides_parser import OverridesParser

    account = job.sweep / "multirun.yaml"
    if not account.exists():
        return job.words
    hydra = OmegaConf.load(account).hydra
    asked = OverridesParser.create().parse_overrides(list(hydra.overrides.task))
    varied = {each.get_key_element() for each in asked if each.is_sweep_override()} | set(hydra.sweeper.params or ())
    return tuple(word for word in job.words if word.partition("=")[0] in varied)


def short(word: str) -> str:
    """A word of the command line in a name: `objective=mae` as `mae`, `seed=1` as `s1`, `optimizer.lr=0.1` as `lr0.1`.

    An encoder's file is called after the folder of its run.
    """
    key, _, value = word.lstrip("+~").partition("=")
    value = value.strip("'\"")
    name = key.rpartition(".")[2].rpartition("@")[2]
    if value.endswith(".pt"):
        return "/".join(Path(value).parts[-3:-1]) or value
    if _is_number(value):
        return f"{SHORT.get(name, name)}{value}"
    return value if "." not in key and value not in NO_CHOICE else f"{name}-{value}"


def _is_number(value: str) -> bool:
    try:
        float(value)
    except ValueError:
        return False
    return True


def _in_sweep() -> str:
    """What sets the job apart from the others of its sweep; empty outside a sweep, and where nothing does."""
    job = sweep_job()
    return "" if job is None else "-".join(map(short, swept(job)))[:LONGEST]


def _group() -> str | None:
    job = sweep_job()
    return None if job is None else job.sweep.name


def _module(config: DictConfig) -> str:
    return str(config._target_.split(".")[-2])
