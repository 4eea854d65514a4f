"""One pretraining run, from its configuration to `encoder.pt`."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from lightning import Callback, Trainer, seed_everything
from lightning.pytorch.callbacks import LearningRateMonitor
from omegaconf import DictConfig, OmegaConf

from ecg_lightning import provenance
from ecg_lightning.build import (
    build_encoder,
    build_loggers,
    build_objective,
    build_optimizer,
    build_trainer,
    build_training_data,
    plain,
)
from ecg_lightning.callbacks import Checkpoint, EarlyStop, MidEpoch, PromptEnd, ReconstructionPicture
from ecg_lightning.checkpoint_io import BEST, FOLDER, LAST, checkpoint_to_continue
from ecg_lightning.data.history import united
from ecg_lightning.data.identity import count_people
from ecg_lightning.data.module import ECGDataModule
from ecg_lightning.data.taught import Taught
from ecg_lightning.data.unlabelled import UnlabelledData
from ecg_lightning.encoders.checkpoint import read_checkpoint, save_encoder
from ecg_lightning.errors import UserError
from ecg_lightning.files import alone_in, replacing
from ecg_lightning.inheritance import Origin, inherit
from ecg_lightning.launch import ending_together, is_in_charge
from ecg_lightning.learning import METRICS, LearningCheck, judge
from ecg_lightning.objectives.base import Objective
from ecg_lightning.precheck import check_training

log = logging.getLogger(__name__)

ENCODER = "encoder.pt"


OF_NO_RESULT = ("run_dir", "cache_dir", "logger", "returns")
"""Keys that say where things go, not what is learned."""


def run_folder(config: DictConfig) -> Path:
    """The directory of a run: the one that is asked for, or one that belongs to this very configuration.

    The same command therefore continues its run, and one with another value begins its own.

    Args:
        config: as `conf/train.yaml` composes it.
    """
    if config.run_dir is not None:
        return Path(config.run_dir)
    state = hashlib.blake2b(
        json.dumps(_what_is_learned(plain(config)), sort_keys=True).encode(), digest_size=4
    ).hexdigest()
    objective = config.objective._target_.split(".")[-2]
    return Path("runs") / f"{objective}-{config.data.name}" / state


def pretrain(config: DictConfig, run_dir: Path) -> Path:
    """Train, or continue the training that a run directory holds; nothing to do where it is finished.

    Args:
        config: as `conf/train.yaml` composes it.
        run_dir: where everything goes: `config.yaml`, `checkpoints/`, `csv/`, `pictures/`, `encoder.pt`.

    Returns:
        Path of `encoder.pt`.

    Raises:
        UserError: the data are bad, the configuration does not fit, or the directory holds a run of another one.
    """
    check_training(config)
    in_charge = is_in_charge(config.trainer)
    with alone_in(run_dir) if in_charge else nullcontext():
        return _train(config, run_dir, in_charge)


def _train(config: DictConfig, run_dir: Path, in_charge: bool) -> Path:
    """What `pretrain` does, in a directory that no other run works in."""
    run_config = {key: value for key, value in plain(config).items() if key != "run_dir"}
    last = _continued_from(run_dir, run_config, in_charge)
    if (run_dir / ENCODER).exists():
        log.info(f"{run_dir / ENCODER}: this run is finished; choose another run_dir to train again")
        return run_dir / ENCODER
    seed_everything(config.seed, verbose=False)
    data = build_training_data(config)
    encoder = build_encoder(config.encoder, data.spec)
    origin = inherit(config.init, encoder, run_config["encoder"], run_dir, continued=last is not None)
    objective = build_objective(config.objective, encoder, build_optimizer(config.optimizer), data)
    best = Checkpoint(run_dir / FOLDER, BEST, monitor=objective.monitor)
    loggers = build_loggers(config.logger, run_dir, run_config)
    trainer = build_trainer(config.trainer, run_dir, _callbacks(config, run_dir, data, objective, best), loggers)
    _log_short_epochs(trainer, len(data.train_dataloader()))
    _announce(config, data, objective, run_dir, last)
    try:
        with ending_together(trainer):
            trainer.fit(objective, datamodule=data, ckpt_path=last, weights_only=True)
        if trainer.is_global_zero:
            _export(run_config, run_dir, data, objective, best, origin)
        return run_dir / ENCODER
    finally:
        _finish_wandb()


def figure(encoder: Path, name: str | None) -> float | None:
    """One figure of the validation that chose an encoder.

    Args:
        encoder: `encoder.pt`.
        name: of the figure, `val/loss`; None for none.

    Raises:
        UserError: it has no such figure.
    """
    if name is None:
        return None
    metrics: dict[str, float] = read_checkpoint(encoder).training["metrics"]
    if name not in metrics:
        raise UserError(f"returns={name}: {encoder} has no such figure; it has {', '.join(sorted(metrics))}")
    return metrics[name]


def _log_short_epochs(trainer: Trainer, batches: int) -> None:
    """Log at least once an epoch, however few batches it has or is limited to."""
    limit = trainer.limit_train_batches or 1.0
    batches = min(batches, limit) if isinstance(limit, int) else int(batches * limit)
    trainer.log_every_n_steps = min(trainer.log_every_n_steps, max(1, batches))  # type: ignore[attr-defined]


def _callbacks(
    config: DictConfig, run_dir: Path, data: UnlabelledData, objective: Objective, best: Checkpoint
) -> list[Callback]:
    callbacks: list[Callback] = [
        best,
        Checkpoint(run_dir / FOLDER, LAST),  # of every epoch, best or not
        MidEpoch(run_dir / FOLDER),
        PromptEnd(),
        LearningCheck(data, _labelled(data)),
        ReconstructionPicture(run_dir / "pictures"),
        LearningRateMonitor("step"),
    ]
    if config.early_stop is not None:
        callbacks.append(EarlyStop(config.early_stop, objective.monitor))
    return callbacks


def _labelled(data: UnlabelledData) -> ECGDataModule | None:
    """The data set whose labels the probes may read; a mix has none that all members share."""
    source = data.data if isinstance(data, Taught) else data
    return source if isinstance(source, ECGDataModule) else None


def _continued_from(run_dir: Path, run_config: dict[str, Any], in_charge: bool) -> Path | None:
    """The checkpoint to continue from, if there is one; whatever the directory holds is of this very configuration."""
    written, last = run_dir / "config.yaml", checkpoint_to_continue(run_dir)
    if written.exists() and (last is not None or (run_dir / ENCODER).exists()):
        before = plain(DictConfig(OmegaConf.load(written)))
        changed = sorted(_differences(_what_is_learned(before), _what_is_learned(run_config)))
        if changed:
            raise UserError(f"run_dir={run_dir} holds a run with another {', '.join(changed)}; "
                            "repeat its command to continue it, or choose another run_dir")  # fmt: skip
        return last
    if in_charge:
        with replacing(written) as partial:
            OmegaConf.save(OmegaConf.create(run_config), partial)
    return None


def _what_is_learned(run_config: Mapping[str, Any]) -> dict[str, Any]:
    """A configuration without where things go."""
    data = {key: value for key, value in run_config["data"].items() if key not in OF_NO_RESULT}
    return {**{key: value for key, value in run_config.items() if key not in OF_NO_RESULT}, "data": data}


def _differences(before: Any, now: Any, key: str = "") -> set[str]:
    if isinstance(before, dict) and isinstance(now, dict):
        keys = before.keys() | now.keys()
        return set().union(*(_differences(before.get(k), now.get(k), f"{key}.{k}" if key else k) for k in keys))
    return set() if before == now else {key}


def _announce(config: DictConfig, data: UnlabelledData, objective: Objective, run_dir: Path, last: Path | None) -> None:
    windows = [len(loader.dataset) for loader in (data.train_dataloader(), data.val_dataloader())]  # type: ignore[arg-type]
    weights = sum(parameter.numel() for parameter in objective.encoder.parameters()) / 1e6
    spec = data.spec
    log.info(
        f"{type(objective).__name__} on {data.name}: {windows[0]} windows of {spec.seconds:g} s at {spec.fs:g} Hz, "
        f"{len(spec.leads)} leads, from {count_people(data.patients('train'))} an epoch; {windows[1]} for validation\n"
        f"{type(objective.encoder).__name__} with {weights:.1f} M weights on {provenance.device()}"
        f"; run directory {run_dir}" + (f"\ncontinuing from {last}" if last else "")
    )
    for remark in data.remarks():
        log.info(remark)


def _export(
    run_config: dict[str, Any],
    run_dir: Path,
    data: UnlabelledData,
    objective: Objective,
    best: Checkpoint,
    origin: Origin | None,
) -> Path:
    """Write the encoder of the best validation, with what made it and a verdict on it."""
    if not best.best_model_path:
        raise UserError(
            f"run_dir={run_dir}: training ended before its first validation; raise trainer.max_epochs or "
            "trainer.max_steps"
        )
    state = torch.load(best.best_model_path, map_location="cpu", weights_only=True)
    objective.load_state_dict(state["state_dict"])
    metrics, epoch = state[METRICS], int(state["epoch"])
    verdict = judge(objective, metrics)
    training = {
        "data": data.seen() if origin is None else united(origin["data"], data.seen()),
        "config": run_config,
        "objective": type(objective).__name__,
        "epoch": epoch,
        "metrics": metrics,
        "learned": verdict.learned,
        "verdict": verdict.sentence,
        "commit": provenance.commit(),
        **({} if origin is None else {"init": {key: value for key, value in origin.items() if key != "data"}}),
    }
    path = run_dir / ENCODER
    save_encoder(path, objective.exported, run_config["encoder"], training)
    log.log(logging.INFO if verdict.learned else logging.WARNING, verdict.sentence)
    log.info(f"encoder of epoch {epoch + 1} in {path}")
    return path


def _finish_wandb() -> None:
    """Without this the next run of the same process would log into this one."""
    import sys

    if "wandb" in sys.modules:
        import wandb

        wandb.finish()
