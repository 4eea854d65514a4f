"""One evaluation cell, from its configuration to `result.json`."""

from __future__ import annotations

import hashlib
import json
import logging
import resource
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from omegaconf import DictConfig, OmegaConf

from ecg_lightning import provenance
from ecg_lightning.build import build_budget, build_data, build_protocol, build_stress, plain
from ecg_lightning.data.module import ECGDataModule
from ecg_lightning.encoders.checkpoint import EncoderCheckpoint, read_checkpoint
from ecg_lightning.errors import UserError
from ecg_lightning.evaluation.cell import Cell, Fitted
from ecg_lightning.evaluation.collapse import has_collapsed
from ecg_lightning.evaluation.ensemble import open_members
from ecg_lightning.evaluation.leakage import Leakage, united
from ecg_lightning.evaluation.metrics import judge
from ecg_lightning.evaluation.recalibration import recalibrate
from ecg_lightning.evaluation.robustness.base import Stress
from ecg_lightning.evaluation.robustness.curve import withstand
from ecg_lightning.evaluation.setting import Setting
from ecg_lightning.precheck import check_evaluation
from ecg_lightning.reporting.cell_pictures import PICTURES, draw_cell
from ecg_lightning.results import (
    Predictions,
    Truth,
    read_result,
    write_calibrated,
    write_predictions,
    write_result,
    write_truth,
)
from ecg_lightning.signal import SignalSpec

log = logging.getLogger(__name__)

PRETRAINING_ONLY = ("spec", "seed", "share")
"""Keys of the data's configuration that no evaluation heeds: the encoder brings its own spec, nothing is evaluated in a
random order of windows, or on a share of the patients."""

NOT_PART_OF_A_RESULT = ("root", "tables", "cache_dir", "batch_size", "residency", "on_bad_record", *PRETRAINING_ONLY)
"""Keys of the data's configuration that say where and how fast, not what."""

HEADLINE = ("accuracy", "macro_f1", "macro_auroc")


class Solved(NamedTuple):
    """What was learned from a cell's labels, together with other cells.

    Attributes:
        cell: the cell, some of its labels read.
        fitted: what was learned.
        seconds: that it took.
    """

    cell: Cell
    fitted: Fitted
    seconds: float


def assess(config: DictConfig, *, pictures: bool = False) -> Path:
    """Evaluate one cell, unless it is done already, together with the baselines beside it.

    Args:
        config: as `conf/evaluate.yaml` composes it.
        pictures: draw the cell too, unless that is done already.

    Returns:
        The cell's folder, which holds `result.json` and `predictions.npz`, and `pictures/` if they are asked for.

    Raises:
        UserError: checkpoint, data or budget do not fit together.
    """
    check_evaluation(config)
    config = without_run_keys(config)
    setting, solved = open_setting(config), dict[Path, Solved]()
    folder = answer(config, setting, solved)
    if not pictures:
        return folder
    if not (folder / PICTURES).exists():
        cell, fitted, _ = solved.get(folder) or learn(config, setting)
        draw_cell(folder, cell, fitted, config.attributions)
    log.info(f"pictures of it in {folder / PICTURES}")
    return folder


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


def answer(config: DictConfig, setting: Setting, solved: dict[Path, Solved]) -> Path:
    """Evaluate one cell of a setting, unless it is done already, together with the baselines beside it.

    Args:
        config: see `assess`.
        setting: from `open_setting`.
        solved: by cell folder, what was learned already; what is learned now is added.

    Returns:
        See `assess`.
    """
    folder = cell_folder(config, setting.checkpoint, setting.data, _members(config, setting))
    done = finished(folder)
    if done is not None and _is_complete(done, config, united(list(_leakages(config, setting).values()))):
        _refuse_leakage(config, setting)  # also where an earlier command allowed it
        log.info(f"{folder.name}: done before; {_headline(done['metrics'])}")
        return folder
    try:
        beside = {name: _baseline(config, setting, name, solved) for name in config.protocol.beside}
        content = _evaluate(config, setting, folder, solved)
    except Exception as error:
        if done is None:
            failed = {"status": "failed", "error": f"{type(error).__name__}: {error}"}
            write_result(folder, {**failed, **_identity(config, setting.data)})
        raise
    write_result(folder, {**content, "baselines": beside})
    log.info(f"{folder.name}: {_headline(content['metrics'])}")
    return folder


def finished(folder: Path) -> dict[str, Any] | None:
    """The result of a cell that is done."""
    before = read_result(folder)
    return before if before is not None and before["status"] == "done" else None


def _is_complete(result: Mapping[str, Any], config: DictConfig, leakage: Leakage) -> bool:
    """Whether a finished result says all that is asked of it: its intervals, who was seen, the baselines beside it.

    Scalers are part of a cell's folder already; a result from before there was calibration has none at all.
    """
    same_intervals: bool = result["config"]["resamples"] == config.resamples
    same_people = leakage.to_dict().items() <= result["leakage"].items()
    return (
        same_intervals
        and same_people
        and "calibration" in result
        and set(config.protocol.beside) <= result["baselines"].keys()
    )


def without_run_keys(config: DictConfig) -> DictConfig:
    """The configuration without what only the command line needs."""
    return OmegaConf.create(plain(config))


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


def _baseline(config: DictConfig, setting: Setting, name: str, solved: dict[Path, Solved]) -> Mapping[str, Any]:
    """The result of the same cell under another protocol."""
    other = config.copy()
    other.protocol = config.beside[name]
    result = read_result(answer(other, setting, solved))
    assert result is not None
    return {key: result[key] for key in ("metrics", "calibration", "details")}


def learn(config: DictConfig, setting: Setting) -> Solved:
    """What a cell's protocol learns from its labels."""
    begin = time.perf_counter()
    cell = open_cell(config, setting)
    fitted = build_protocol(config.protocol.method).fit(cell)
    return Solved(cell, fitted, time.perf_counter() - begin)


def open_cell(config: DictConfig, setting: Setting) -> Cell:
    """The cell that a configuration is about.

    Raises:
        UserError: the data cannot serve the budget, or somebody was seen before.
    """
    _refuse_leakage(config, setting)
    return setting.cell(build_budget(config.budget), config.seed, config.model_seed, Path(config.cache_dir))


def _evaluate(config: DictConfig, setting: Setting, folder: Path, solved: dict[Path, Solved]) -> dict[str, Any]:
    checkpoint, data = setting.checkpoint, setting.data
    leakage = united(list(_leakages(config, setting).values()))
    if folder not in solved:
        solved[folder] = learn(config, setting)
    cell, fitted, seconds = solved[folder]
    begin = time.perf_counter()
    probability = setting.judged(fitted.predict(cell.part("test")))
    judged = judge(
        setting.truth, probability, data.classes, setting.test_patient,
        resamples=config.resamples, challenge=data.challenge_weights,
    )  # fmt: skip
    recalibrated = recalibrate(config.calibration, setting, cell, fitted, probability, config.resamples)
    write_truth(folder.parent, setting.truth_digest, Truth(setting.truth, setting.test_patient, setting.test_record))
    write_predictions(folder, Predictions(probability, judged.resampled))
    write_calibrated(folder, recalibrated.probability)
    return {
        "status": "done",
        **_identity(config, data),
        "encoder": {
            "digest": checkpoint.digest,
            "objective": checkpoint.training["objective"],
            "pretrained_on": checkpoint.training["data"]["name"],
            "pretraining_share": checkpoint.training["data"].get("share", 1.0),
            "pretraining_folds": checkpoint.training["data"].get("folds", []),
            "pretraining_labels": checkpoint.training["data"].get("labels", 0),
            "learned": checkpoint.training["learned"],
            "commit": checkpoint.training["commit"],
            "spec": checkpoint.encoder.spec.to_dict(),
        },
        "split": data.split_kind,
        "leakage": {**leakage.to_dict(), "allowed": config.allow_seen_patients},
        "data": _data_summary(setting),
        "labels": _label_summary(cell, setting),
        "truth": setting.truth_digest,
        "metrics": judged.report,
        **_robustness(config, setting, cell, fitted, judged.report),
        "calibration": recalibrated.report,
        "collapsed": has_collapsed(probability, data.multi_label, judged.report),
        "details": dict(fitted.details),
        "seconds": round(seconds + time.perf_counter() - begin, 3),
        "peak_memory_mb": round(_peak_memory_mb()),
        "device": provenance.device(),
        "commit": provenance.commit(),
    }


def _robustness(
    config: DictConfig, setting: Setting, cell: Cell, fitted: Fitted, clean: Mapping[str, Any]
) -> dict[str, Any]:
    """What a cell says under stress, and the folder of its twin without, whose metrics are the same."""
    stress = stress_of(config, setting)
    if stress is None:
        return {}
    fit = build_protocol(config.protocol.method).fit
    twin = OmegaConf.create({key: value for key, value in plain(config).items() if key != "robustness"})
    found = withstand(stress, setting, cell, fitted, fit, clean, config.resamples)
    return {"robustness": {**found, "twin": cell_folder(twin, setting.checkpoint, setting.data, _members(config, setting)).name}}


def _members(config: DictConfig, setting: Setting) -> list[EncoderCheckpoint]:
    """The encoders that a cell learns with beside its checkpoint: the other members of an ensemble.

    Raises:
        UserError: they do not fit the checkpoint.
    """
    paths = config.protocol.method.get("checkpoints")
    return [] if paths is None else open_members(paths, setting.checkpoint, f"checkpoint={config.checkpoint}")


def _leakages(config: DictConfig, setting: Setting) -> dict[str, Leakage]:
    """What the test split has in common with each encoder of a cell, by the key that names its file."""
    files = [f"protocol.method.checkpoints={path}" for path in config.protocol.method.get("checkpoints", ())]
    encoders = [setting.checkpoint, *_members(config, setting)]
    names = [f"checkpoint={config.checkpoint}", *files]
    return {name: setting.leakage_of(encoder) for name, encoder in zip(names, encoders, strict=True)}


def _refuse_leakage(config: DictConfig, setting: Setting) -> None:
    for name, leakage in _leakages(config, setting).items():
        reasons = leakage.reasons()
        if reasons and not config.allow_seen_patients:
            raise UserError(
                f"{name}: {'; '.join(reasons)}; use another checkpoint or data.split, or "
                "allow_seen_patients=true, which the result records"
            )


def _identity(config: DictConfig, data: ECGDataModule) -> dict[str, Any]:
    return {
        "protocol": config.protocol.name,
        "budget": build_budget(config.budget).name,
        "seed": config.seed,
        "model_seed": config.model_seed,
        "classes": list(data.classes),
        "multi_label": data.multi_label,
        "config": plain(config),
    }


def _data_summary(setting: Setting) -> dict[str, Any]:
    store = setting.data.store
    return {
        "name": setting.data.name,
        "fingerprint": store.fingerprint,
        "recordings": len(store),
        "test_examples": len(setting.truth),
        "test_patients": len(np.unique(setting.test_patient)),
        "skipped": dict(store.skipped),
        "missing": setting.data.spec.missing,
        "substituted_leads": dict(store.substituted),
    }


def _label_summary(cell: Cell, setting: Setting) -> dict[str, Any]:
    unit = setting.train.unit
    labelled = cell.budget if unit is None else cell.budget[np.unique(unit[cell.budget], return_index=True)[1]]
    y, classes = setting.train.y[labelled], setting.data.classes
    counts = y.sum(axis=0) if y.ndim == 2 else np.bincount(y, minlength=len(classes))
    read = np.array(sorted(cell.labels.read), np.int64)
    return {
        "allowed": len(labelled),
        "read": len(read if unit is None else np.unique(unit[read])),
        "per_class": dict(zip(classes, counts.tolist(), strict=True)),
        "patients": len(np.unique(setting.data.store.patient[setting.train.row[cell.budget]])),
    }


def _peak_memory_mb() -> float:
    import torch

    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / 1e6
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3


def _headline(metrics: Mapping[str, Any]) -> str:
    def show(key: str) -> str:
        metric = metrics[key]
        if metric["value"] is None:
            return f"{key} undefined"
        interval = "" if metric["low"] is None else f" [{metric['low']:.3f}, {metric['high']:.3f}]"
        return f"{key} {metric['value']:.3f}{interval}"

    return ", ".join(show(key) for key in HEADLINE)
