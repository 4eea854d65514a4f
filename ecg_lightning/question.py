"""What a configuration asks: its encoder and data, the cell, the stress, and the folder of the answer."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from ecg_lightning.build import build_budget, build_data, build_stress, plain
from ecg_lightning.data.module import ECGDataModule
from ecg_lightning.encoders.checkpoint import EncoderCheckpoint, read_checkpoint
from ecg_lightning.errors import UserError
from ecg_lightning.evaluation.cell import Cell
from ecg_lightning.evaluation.ensemble import open_members
from ecg_lightning.evaluation.leakage import Leakage
from ecg_lightning.evaluation.robustness.base import Stress
from ecg_lightning.evaluation.setting import Setting
from ecg_lightning.signal import SignalSpec

PRETRAINING_ONLY = ("spec", "seed", "share")
"""Keys of the data's configuration that no evaluation heeds: the encoder brings its own spec, nothing is evaluated in a
random order of windows, or on a share of the patients."""

NOT_PART_OF_A_RESULT = ("root", "tables", "cache_dir", "batch_size", "residency", "on_bad_record", *PRETRAINING_ONLY)
"""Keys of the data's configuration that say where and how fast, not what."""


def open_setting(config: DictConfig) -> Setting:
    """Encoder and data of a configuration, and a folder for what is found out about them.

    Raises:
        UserError: checkpoint and data do not fit together.
        OSError: nobody may write there.
    """
    shared = {key: value for key, value in plain(config.data).items() if key not in PRETRAINING_ONLY}
    setting = _setting(str(config.checkpoint), json.dumps(shared, sort_keys=True))
    stress_of(config, setting)
    if config.calibration:
        _ = setting.validation  # that it is empty is told before anything is learned
    results_folder(config).mkdir(parents=True, exist_ok=True)  # told now, not after hours, that nobody may write there
    return setting


def open_cell(config: DictConfig, setting: Setting) -> Cell:
    """The cell that a configuration is about.

    Raises:
        UserError: the data cannot serve the budget, or somebody was seen before.
    """
    refuse_leakage(config, setting)
    return setting.cell(build_budget(config.budget), config.seed, config.model_seed, Path(config.cache_dir))


def without_run_keys(config: DictConfig) -> DictConfig:
    """The configuration without what only the command line needs."""
    return OmegaConf.create({key: value for key, value in plain(config).items() if key != "logger"})


def results_folder(config: DictConfig) -> Path:
    """Where the cells of a checkpoint on a data set lie: beside the checkpoint, or in `results_dir`."""
    where = Path(config.results_dir) if config.results_dir else Path(config.checkpoint).parent / "evaluations"
    names = (config.data.get(key) for key in ("name", "view", "sources", "task", "split"))
    return where / "-".join(name if isinstance(name, str) else "+".join(name) for name in names if name is not None)


def cell_folder(
    config: DictConfig, checkpoint: EncoderCheckpoint, data: ECGDataModule, members: Sequence[EncoderCheckpoint] = ()
) -> Path:
    """One folder for each cell; a changed configuration, encoder, recording or label makes another one.

    Args:
        config: of the cell.
        checkpoint: its encoder.
        data: its data set.
        members: the other encoders of an ensemble; what counts is what they are, not where they lie.
    """
    method = {key: value for key, value in plain(config.protocol.method).items() if key != "checkpoints"}
    what = {
        "data": {key: value for key, value in plain(config.data).items() if key not in NOT_PART_OF_A_RESULT},
        "fingerprint": data.store.fingerprint,
        "encoder": checkpoint.digest,
        "protocol": {**method, "members": [member.digest for member in members]} if members else method,
        "budget": plain(config.budget),
        "seeds": [config.seed, config.model_seed],
        **({"calibration": sorted(set(config.calibration))} if config.calibration else {}),
    }
    if _is_stressed(config):
        what["robustness"] = {key: value for key, value in plain(config.robustness).items() if key != "root"}
    state = hashlib.blake2b(json.dumps(what, sort_keys=True).encode(), digest_size=4)
    for labels in (data.labelled.y, data.labelled.split):
        state.update(labels.tobytes())
    words = [config.protocol.name, build_budget(config.budget).name, f"s{config.seed}"]
    words += [config.robustness.name] if _is_stressed(config) else []
    return results_folder(config) / "-".join([*words, state.hexdigest()])


def _is_stressed(config: DictConfig) -> bool:
    return config.get("robustness") is not None


def stress_of(config: DictConfig, setting: Setting) -> Stress | None:
    """The stress that a configuration asks for, made ready for the encoder's signal.

    Raises:
        UserError: it cannot be put upon such signals.
    """
    if not _is_stressed(config):
        return None
    return _stress(json.dumps(plain(config.robustness), sort_keys=True), setting.data.spec)


@lru_cache(maxsize=1)
def _stress(stress_config: str, spec: SignalSpec) -> Stress:
    """Kept for the next cell of a sweep."""
    stress = build_stress(OmegaConf.create(json.loads(stress_config)))
    stress.prepare(spec)
    return stress


@lru_cache(maxsize=1)
def _setting(checkpoint_path: str, data_config: str) -> Setting:
    """Encoder and data, kept for the next cell of a sweep; `missing` in the data's keys stands for the encoder's."""
    checkpoint = read_checkpoint(checkpoint_path)
    keys, spec = json.loads(data_config), checkpoint.encoder.spec
    spec = replace(spec, missing=keys.pop("missing", spec.missing))
    data = build_data(OmegaConf.create(keys), spec)
    _ = data.challenge_weights, data.classes  # a broken table is told before the recordings are prepared
    return Setting(checkpoint, data)


def members_of(config: DictConfig, setting: Setting) -> list[EncoderCheckpoint]:
    """The encoders that a cell learns with beside its checkpoint: the other members of an ensemble.

    Raises:
        UserError: they do not fit the checkpoint.
    """
    paths = config.protocol.method.get("checkpoints")
    return [] if paths is None else open_members(paths, setting.checkpoint, f"checkpoint={config.checkpoint}")


def leakages_of(config: DictConfig, setting: Setting) -> dict[str, Leakage]:
    """What the test split has in common with each encoder of a cell, by the key that names its file."""
    files = [f"protocol.method.checkpoints={path}" for path in config.protocol.method.get("checkpoints", ())]
    encoders = [setting.checkpoint, *members_of(config, setting)]
    names = [f"checkpoint={config.checkpoint}", *files]
    return {name: setting.leakage_of(encoder) for name, encoder in zip(names, encoders, strict=True)}


def refuse_leakage(config: DictConfig, setting: Setting) -> None:
    """Let nothing pass that was learned from people or recordings of the test split, unless the configuration does.

    Raises:
        UserError: somebody was seen before.
    """
    for name, leakage in leakages_of(config, setting).items():
        reasons = leakage.reasons()
        if reasons and not config.allow_seen_patients:
            raise UserError(
                f"{name}: {'; '.join(reasons)}; use another checkpoint or data.split, or "
                "allow_seen_patients=true, which the result records"
            )
