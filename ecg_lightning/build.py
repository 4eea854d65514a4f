"""From configuration to objects: the one place that instantiates."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

from hydra.errors import InstantiationException
from hydra.utils import get_object, instantiate
from omegaconf import DictConfig, OmegaConf

from ecg_lightning.arguments import check_arguments
from ecg_lightning.errors import UserError
from ecg_lightning.members import member_configs
from ecg_lightning.quiet import quieten

if TYPE_CHECKING:  # what is built is imported when it is built: a wrong number is told before torch is there
    from lightning import Callback, Trainer
    from lightning.pytorch.loggers import Logger

    from ecg_lightning.augment.base import Augmentation
    from ecg_lightning.data.budget import LabelBudget
    from ecg_lightning.data.mix import Mix
    from ecg_lightning.data.module import ECGDataModule
    from ecg_lightning.data.unlabelled import UnlabelledData
    from ecg_lightning.encoders.base import Encoder
    from ecg_lightning.encoders.checkpoint import EncoderCheckpoint
    from ecg_lightning.evaluation.cell import EvaluationProtocol
    from ecg_lightning.evaluation.robustness.base import Stress
    from ecg_lightning.objectives.base import Objective, OptimizerFactory
    from ecg_lightning.signal import SignalSpec
    from ecg_lightning.tracking.naming import RunIdentity


def plain(config: DictConfig) -> dict[str, Any]:
    """A configuration as plain containers, everything resolved."""
    content = OmegaConf.to_container(config, resolve=True)
    assert isinstance(content, dict)
    return {str(key): value for key, value in content.items()}


@overload
def build_data(config: DictConfig, spec: SignalSpec) -> ECGDataModule: ...
@overload
def build_data(config: DictConfig, spec: None = None) -> UnlabelledData: ...
def build_data(config: DictConfig, spec: SignalSpec | None = None) -> UnlabelledData:
    """The data, rendered to an encoder's spec to evaluate it, or to their own default to pretrain one.

    Raises:
        UserError: a mix is to be evaluated on, or the configuration does not fit.
    """
    if "members" not in config:
        return _build_data_set(config, spec or _make("data.spec", config.spec))
    if spec is not None:
        raise UserError(f"data={config.name} serves pretraining; evaluate on one of its members: {config.members}")
    return _build_mix(config)


def _build_data_set(config: DictConfig, spec: SignalSpec) -> ECGDataModule:
    rest = OmegaConf.create({key: value for key, value in plain(config).items() if key != "spec"})
    module: ECGDataModule = _make("data", rest, spec=spec)
    return module


def _build_mix(config: DictConfig) -> Mix:
    from ecg_lightning.data.mix import named

    spec, members = _make("data.spec", config.spec), []
    for name, member in member_configs(plain(config)).items():
        with named(name):
            members.append(_build_data_set(member, spec))
    of_members = ("spec", "members", "options", "cache_dir", "on_bad_record")
    rest = OmegaConf.create({key: value for key, value in plain(config).items() if key not in of_members})
    mix: Mix = _make("data", rest, spec=spec, members=members)
    return mix


def pretraining_data(checkpoint: EncoderCheckpoint, cache_dir: str) -> DictConfig | None:
    """The configuration of the data that an encoder was pretrained on; None where its file does not say.

    Args:
        checkpoint: the encoder.
        cache_dir: where prepared recordings lie now.
    """
    before = checkpoint.training["config"].get("data")
    return None if before is None else OmegaConf.create({**before, "cache_dir": cache_dir})


def build_spec(config: DictConfig) -> SignalSpec:
    """The signal that an adopted encoder expects."""
    spec: SignalSpec = _make("spec", config)
    return spec


def build_encoder(config: DictConfig, spec: SignalSpec) -> Encoder:
    """An encoder with fresh weights for signals of `spec`."""
    encoder: Encoder = _make("encoder", config, spec=spec)
    return encoder


def build_optimizer(config: DictConfig) -> OptimizerFactory:
    """What makes an optimiser from parameter groups."""
    import torch
    from torch import nn

    factory: OptimizerFactory = _make("optimizer", config)
    _make(
        "optimizer", config, params=[nn.Parameter(torch.zeros(1))]
    )  # a wrong number is told now, not after the data are prepared
    return factory


def build_objective(
    config: DictConfig, encoder: Encoder, optimizer: OptimizerFactory, data: UnlabelledData | None = None
) -> Objective:
    """The objective around an encoder; one that learns from labels is told of `data` from `build_training_data`."""
    from ecg_lightning.data.taught import Taught

    labels = {"data": data} if isinstance(data, Taught) else {}
    objective: Objective = _make("objective", config, encoder=encoder, optimizer=optimizer, **labels)
    return objective


def build_training_data(config: DictConfig) -> UnlabelledData:
    """The data of a pretraining run: windows, or labelled examples where its objective learns from labels.

    Args:
        config: as `conf/train.yaml` composes it.

    Raises:
        UserError: labels are asked of data that have none.
    """
    from ecg_lightning.data.module import ECGDataModule
    from ecg_lightning.data.taught import Taught

    data: UnlabelledData = build_data(config.data)
    if not getattr(_class("objective", config.objective), "needs_labels", False):
        return data
    if not isinstance(data, ECGDataModule):
        raise UserError(
            f"{config.objective._target_} learns from labels, and data={data.name} serves windows without; choose one "
            f"of its members: {config.data.members}"
        )
    return Taught(data)


def build_augmentation(config: DictConfig) -> Augmentation:
    """One augmentation, a step of a view."""
    augmentation: Augmentation = _make("augment", config)
    return augmentation


def build_budget(config: DictConfig) -> LabelBudget:
    """The label budget."""
    budget: LabelBudget = _make("budget", config)
    return budget


def build_protocol(config: DictConfig) -> EvaluationProtocol:
    """The evaluation protocol."""
    protocol: EvaluationProtocol = _make("protocol.method", config)
    return protocol


def build_stress(config: DictConfig) -> Stress:
    """A fault put upon signals or labels."""
    stress: Stress = _make("robustness", config)
    return stress


def build_loggers(
    config: DictConfig, run_dir: Path, run_config: dict[str, Any], identity: RunIdentity | None = None
) -> list[Logger]:
    """Every logger of the group, writing below the run directory, where a W&B run keeps its id to be continued by.

    Args:
        config: the group.
        run_dir: the run directory.
        run_config: plain nested containers, for W&B.
        identity: what W&B calls the run; None leaves it to W&B.
    """
    told = {key: value for key, value in run_config.items() if key != "logger"}
    of_wandb = {"id_file": run_dir / "wandb_id", "config": told, "identity": identity}
    return [
        _make(f"logger.{key!s}", entry, save_dir=str(run_dir), **(of_wandb if key == "wandb" else {}))
        for key, entry in config.items()
    ]


def build_trainer(
    config: DictConfig, run_dir: Path, callbacks: Sequence[Callback], loggers: Sequence[Logger]
) -> Trainer:
    """The Trainer, with what watches and records the run."""
    from lightning.pytorch.callbacks import TQDMProgressBar

    from ecg_lightning.checkpoint_io import WholeCheckpoints

    quieten()  # once more: what Lightning says twice, it says since it was imported
    bar = [TQDMProgressBar()] if config.enable_progress_bar else []  # as all other bars here; Lightning's own is rich's
    trainer: Trainer = _make(
        "trainer",
        config,
        default_root_dir=run_dir,
        callbacks=[*callbacks, *bar],
        logger=list(loggers),
        enable_model_summary=False,
        plugins=[WholeCheckpoints()],
    )
    return trainer


UNFIT = (InstantiationException, ArithmeticError, ImportError, LookupError, RuntimeError, TypeError, ValueError)
"""What classes raise at arguments of the right type that they can do nothing with."""


def _make(group: str, config: Any, /, **extra: Any) -> Any:
    """Instantiate, with further arguments that are no configuration; what does not fit is the user's to mend.

    Args:
        group: of the configuration, for messages.
        config: its content.
        extra: arguments that are no configuration.
    """
    kind = _class(group, config)
    values = {key: value for key, value in plain(config).items() if not key.startswith("_") and key not in extra}
    with _fitting(group, config):
        _check(kind, values, group)
        made = instantiate(config, **({"_partial_": True} if extra else {}), _convert_="all")
        return made(**extra) if extra else made


def _check(kind: Any, values: dict[str, Any], group: str) -> None:
    """Compare arguments with what a class asks for, and so on in what they are made of themselves."""
    check_arguments(kind, values, group)
    for key, value in values.items():
        if isinstance(value, dict) and "_target_" in value:
            _check(get_object(value["_target_"]), {k: v for k, v in value.items() if k[0] != "_"}, f"{group}.{key}")


def _class(group: str, config: Any) -> Any:
    """The class or function that a configuration names."""
    if not isinstance(config, DictConfig) or "_target_" not in config:
        raise UserError(f"{group} is {config!r}; it must be keys with a _target_, as in conf/")
    with _fitting(group, config):
        return get_object(config._target_)


def _unfit() -> tuple[type[Exception], ...]:
    """The same with what Lightning raises, where it is Lightning's class."""
    if "lightning" not in sys.modules:
        return UNFIT
    from lightning.fabric.utilities.exceptions import MisconfigurationException

    return (*UNFIT, MisconfigurationException)


@contextmanager
def _fitting(group: str, config: DictConfig) -> Iterator[None]:
    """Say of which group a fault is."""
    try:
        yield
    except _unfit() as error:
        fault = error.__cause__ if isinstance(error, InstantiationException) and error.__cause__ else error
        if isinstance(fault, UserError):
            raise fault from None
        raise UserError(f"{group} ({config._target_}) does not fit: {fault}") from error
