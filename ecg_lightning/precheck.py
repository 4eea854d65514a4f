"""What can be told of a command's configuration before any data are read."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import get_args

from omegaconf import DictConfig, ListConfig

from ecg_lightning.arguments import fits
from ecg_lightning.build import build_budget, build_protocol, build_stress
from ecg_lightning.data.budget import LabelBudget
from ecg_lightning.errors import UnreadableCheckpoint, UserError
from ecg_lightning.job import sweep_job
from ecg_lightning.launch import started_together, trains_together
from ecg_lightning.leads import Missing

LARGEST_SEED = 2**32 - 1
"""Of numpy's and scikit-learn's older generators."""


def check_training(config: DictConfig) -> None:
    """The numbers of `conf/train.yaml`, and those of the trainer that Lightning takes as they are.

    Raises:
        UserError: one of them cannot be; the message names its key.
    """
    _check_whole(config, {"seed": 0})
    if config.init is not None and not isinstance(config.init, str):
        raise UserError(f"init={config.init!r} must be the name of a file, or null")
    if config.early_stop is not None:
        _check_whole(config, {"early_stop": 1})
    trainer = config.trainer
    _check_processes(trainer)
    _check_whole(trainer, {"accumulate_grad_batches": 1, "check_val_every_n_epoch": 1, "log_every_n_steps": 1},
                 "trainer.")  # fmt: skip
    epochs, every = trainer.max_epochs, trainer.check_val_every_n_epoch
    if epochs == -1 and trainer.max_steps == -1:
        raise UserError(
            "trainer.max_epochs=-1 has no end, and the learning rate falls towards one; give trainer.max_steps"
        )
    if fits(epochs, int) and 0 <= epochs < every:
        raise UserError(
            f"trainer.max_epochs={epochs} ends before the first validation, which chooses the encoder; raise it or "
            f"lower trainer.check_val_every_n_epoch={every}"
        )


def _check_processes(trainer: DictConfig) -> None:
    """Whether processes can train together as asked."""
    devices, nodes = trainer.devices, trainer.get("num_nodes", 1)
    alone = nodes == 1 and (devices == 1 or (isinstance(devices, ListConfig) and len(devices) == 1))
    if not alone and (not trains_together(trainer) or trainer.get("use_distributed_sampler", True)):
        raise UserError(f"trainer.devices={devices} on {nodes} node(s) needs processes that share the data; choose "
                        "trainer=ddp")  # fmt: skip
    if trains_together(trainer) and sweep_job() is not None and not started_together():
        raise UserError(
            "trainer=ddp starts this very command again for each device, and with -m each would run the whole sweep; "
            "run each configuration by itself, start the sweep with torchrun or srun, or give each job one device "
            "(trainer=gpu with hydra/launcher=ray_gpu or slurm)"
        )


def check_adoption(config: DictConfig) -> None:
    """The values of `conf/adopt.yaml`.

    Raises:
        UserError: one of them cannot be; the message names its key.
    """
    for key in ("checkpoint", "method"):
        if not isinstance(config[key], str):
            raise UserError(f"{key}={config[key]!r} must be text")
    if config.part is not None and not isinstance(config.part, str):
        raise UserError(f"part={config.part!r} must be a name in the file, or null")
    populations = config.populations
    if populations is not None and not isinstance(populations, ListConfig):
        raise UserError(f"populations={populations!r} must be null or a list such as [ptbxl] or []")
    for name in populations or ():
        if not isinstance(name, str) or not name or set(name) & set("/:"):
            raise UserError(f"populations: {name!r} must be a name without slash and colon, such as ptbxl")


def check_asked(config: DictConfig) -> None:
    """What `evaluate.py` is asked, before anything is imported that takes seconds to import.

    Raises:
        UserError: there is no such checkpoint, or a value cannot be.
    """
    kinds: dict[str, Callable[[DictConfig], None]] = {
        "predict": check_prediction, "all": check_grid, "transfer": check_transfer
    }  # fmt: skip
    if isinstance(config.checkpoint, str) and not Path(config.checkpoint).exists():
        raise UnreadableCheckpoint(config.checkpoint, os.strerror(errno.ENOENT))
    kinds.get(config.protocol.name, check_evaluation)(config)


def check_evaluation(config: DictConfig) -> None:
    """The values of `conf/evaluate.yaml`, the budget, and the protocol with those beside it.

    Raises:
        UserError: one of them cannot be; the message names its key.
    """
    _check_cell(config)
    _check_whole(config, {"resamples": 0, "finetune_steps": 1, "attributions": 0})
    from ecg_lightning.evaluation.scalers import SCALERS

    if not isinstance(config.allow_seen_patients, bool):
        raise UserError(f"allow_seen_patients={config.allow_seen_patients!r} must be true or false")
    if not isinstance(config.calibration, ListConfig) or any(name not in list(SCALERS) for name in config.calibration):
        raise UserError(f"calibration={config.calibration} must be a list out of {', '.join(SCALERS)}, or []")
    build_protocol(config.protocol.method)
    if config.get("robustness") is not None:
        build_stress(config.robustness)
    if not isinstance(config.protocol.beside, ListConfig) or set(config.protocol.beside) - set(config.beside):
        raise UserError(f"protocol.beside={config.protocol.beside} must be a list out of {', '.join(config.beside)}")
    for name in config.protocol.beside:
        build_protocol(config.beside[name].method)


def check_grid(config: DictConfig) -> None:
    """The values of `conf/protocol/all.yaml`; those of its cells are checked one by one.

    Raises:
        UserError: one of them cannot be; the message names its key.
    """
    _check_whole(config.protocol, {"seeds": 1}, "protocol.")
    for key in ("methods", "features", "budgets"):
        if not isinstance(config.protocol[key], ListConfig) or not config.protocol[key]:
            raise UserError(f"protocol.{key}={config.protocol[key]!r} must be a list, and not an empty one")
    unknown = set(config.protocol.methods) - set(config.beside)
    if unknown:
        raise UserError(f"protocol.methods: {', '.join(sorted(unknown))} must be some of {', '.join(config.beside)}")
    for name in config.protocol.methods:
        if "features" not in config.beside[name].method:
            raise UserError(
                f"protocol.methods: {name} does not learn from frozen features; sweep it: -m protocol={name}"
            )
    for name in config.protocol.budgets:
        LabelBudget.of_name(str(name))


def check_transfer(config: DictConfig) -> None:
    """The values of `conf/protocol/transfer.yaml`; those of its cells are checked one by one.

    Raises:
        UserError: one of them cannot be; the message names its key.
    """
    chosen = config.protocol
    _check_whole(chosen, {"seeds": 1}, "protocol.")
    for key in ("methods", "budgets"):
        if not isinstance(chosen[key], ListConfig) or not chosen[key]:
            raise UserError(f"protocol.{key}={chosen[key]!r} must be a list, and not an empty one")
    if set(chosen.methods) - set(config.beside):
        raise UserError(f"protocol.methods={chosen.methods} must be a list out of {', '.join(config.beside)}")
    for name in chosen.budgets:
        budget = LabelBudget.of_name(str(name))
        if budget.total is not None or budget.per_class is not None:
            raise UserError(f"protocol.budgets: {name} is no share of the labels; write 0.1-of-all or full, or use "
                            "protocol=all for numbers of labels")  # fmt: skip
    if chosen.map is not None and not isinstance(chosen.map, str):
        raise UserError(f"protocol.map={chosen.map!r} must be a name in conf/label_map/, a file, or null")
    if chosen.missing is not None and chosen.missing not in get_args(Missing):
        raise UserError(f"protocol.missing={chosen.missing!r} must be null or one of {', '.join(get_args(Missing))}")


def check_prediction(config: DictConfig) -> None:
    """The values of `conf/evaluate.yaml` that `protocol=predict` uses.

    Raises:
        UserError: one of them cannot be; the message names its key.
    """
    _check_cell(config)
    _check_whole(config.protocol, {"pictures": 0}, "protocol.")
    if config.get("robustness") is not None:
        raise UserError("robustness puts evaluations to the test, and protocol=predict is none; leave it out")
    if config.calibration:
        raise UserError("calibration scales evaluations, and protocol=predict is none; leave it out")


def _check_cell(config: DictConfig) -> None:
    _check_whole(config, {"seed": 0, "model_seed": 0})
    for key in ("checkpoint", "cache_dir", "results_dir"):
        if not isinstance(config[key], str) and (key, config[key]) != ("results_dir", None):
            raise UserError(f"{key}={config[key]!r} must be the name of a file or folder")
    build_budget(config.budget)


def _check_whole(config: DictConfig, least: Mapping[str, int], prefix: str = "") -> None:
    """Whole numbers from a least value on; a seed also up to the largest there is."""
    for key, low in least.items():
        value = config[key]
        most = LARGEST_SEED if key.endswith("seed") else None
        if not fits(value, int) or value < low or (most is not None and value > most):
            bound = f", {low} or more" if most is None else f" from {low} to {most}"
            raise UserError(f"{prefix}{key}={value!r} must be a whole number{bound}")
