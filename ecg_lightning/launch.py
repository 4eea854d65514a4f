"""Processes that train together, as whoever started them says it: Lightning itself, torchrun, SLURM."""

from __future__ import annotations

import logging
import os
import signal
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from ecg_lightning.errors import UserError

if TYPE_CHECKING:
    from lightning import Trainer
    from lightning.fabric.plugins.environments.cluster_environment import ClusterEnvironment

GRACE = 3.0
"""Seconds in which the first process tells a fault that all processes have met, and the others are ended."""


def environment() -> ClusterEnvironment:
    """What Lightning takes the environment variables for.

    Raises:
        UserError: SLURM was asked for tasks in a way that Lightning does not take.
    """
    from lightning.fabric.plugins.environments.lightning import LightningEnvironment
    from lightning.fabric.plugins.environments.slurm import SLURMEnvironment
    from lightning.fabric.plugins.environments.torchelastic import TorchElasticEnvironment

    kinds: tuple[type[ClusterEnvironment], ...] = (TorchElasticEnvironment, SLURMEnvironment, LightningEnvironment)
    try:
        return next(kind() for kind in kinds if kind.detect())
    except RuntimeError as error:
        raise UserError(str(error)) from error


def is_first() -> bool:
    """Whether this is the process that starts the others, or the first of those that torchrun or SLURM started."""
    here = environment()
    return here.node_rank() == 0 and here.local_rank() == 0


def started_together() -> bool:
    """Whether torchrun or SLURM started this process along with others."""
    here = environment()
    return here.creates_processes_externally and here.world_size() > 1


def trains_together(trainer: Mapping[str, Any]) -> bool:
    """Whether a configuration of the trainer is one of processes that train together.

    Args:
        trainer: as in `conf/trainer/`.
    """
    return str(trainer.get("strategy")).startswith("ddp")


def is_in_charge(trainer: Mapping[str, Any]) -> bool:
    """Whether this process writes the run's files and tells how it goes, the others being told to be silent.

    Args:
        trainer: its configuration; one that trains alone is in charge, whatever a cluster says of its job.
    """
    in_charge = not trains_together(trainer) or is_first()
    if not in_charge:
        logging.getLogger("ecg_lightning").setLevel(logging.ERROR)
    return in_charge


def let_the_first_speak() -> None:
    """Before a fault is told: most are met by all processes, and the first one to tell it ends the others."""
    if int(os.environ.get("LOCAL_RANK", os.environ.get("SLURM_PROCID", "0"))) > 0:
        time.sleep(GRACE)


@contextmanager
def ending_together(trainer: Trainer) -> Iterator[None]:
    """Where the training fails in this process, end those that it started: they would wait for it.

    Args:
        trainer: about to train.

    Raises:
        UserError: torchrun or SLURM started another number of processes than the trainer is told of.
    """
    launcher = trainer.strategy.launcher
    if launcher is None:
        yield
        return
    try:
        environment().validate_settings(trainer.num_devices, trainer.num_nodes)
    except ValueError as error:
        raise UserError(f"trainer.devices or trainer.num_nodes does not fit what was started: {error}") from error
    try:
        yield
    except Exception:
        launcher.kill(signal.SIGKILL)  # what waits for other processes hears no other signal
        raise
