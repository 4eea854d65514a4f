"""One evaluation cell, from its configuration to `result.json`."""

from __future__ import annotations

import hashlib
import json
import logging
import resource
import time
from collections.abc import Mapping
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from omegaconf import DictConfig, OmegaConf

from ecg_lightning import provenance
from ecg_lightning.build import build_budget, build_data, build_protocol, plain
from ecg_lightning.data.budget import LabelBudget, SealedLabels
from ecg_lightning.data.module import ECGDataModule, Examples
from ecg_lightning.encoders.checkpoint import EncoderCheckpoint, read_checkpoint
from ecg_lightning.errors import UserError
from ecg_lightning.evaluation.cell import Cell
from ecg_lightning.evaluation.metrics import score
from ecg_lightning.results import read_result, write_result

log = logging.getLogger(__name__)

NOT_PART_OF_A_RESULT = ("root", "cache_dir", "batch_size", "residency", "on_bad_record", "spec", "seed")
"""Keys of the data's configuration that say where and how fast, not what; the encoder brings its own spec."""

HEADLINE = ("accuracy", "macro_f1", "macro_auroc")


class Setting:
    """Encoder and data: what the cells of a sweep share.

    Args:
        checkpoint: the pretrained encoder.
        data: the data set, rendered to the encoder's signal.
    """

    def __init__(self, checkpoint: EncoderCheckpoint, data: ECGDataModule) -> None:
        self.checkpoint = checkpoint
        self.data = data
        self._drawn: dict[tuple[LabelBudget, int], NDArray[np.int64]] = {}

    @cached_property
    def train(self) -> Examples:
        """The training split."""
        return self.data.labelled.of("train")

    @cached_property
    def test(self) -> Examples:
        """The test split.

        Raises:
            UserError: it is empty.
        """
        test = self.data.labelled.of("test")
        if not len(test.row):
            raise UserError(
                f"data={self.data.name}: no example belongs to the test split; add recordings to {self.data.root}"
            )
        return test

    def draw(self, budget: LabelBudget, seed: int) -> NDArray[np.int64]:
        """The budget's examples, drawn once for all methods."""
        if (budget, seed) not in self._drawn:
            patient = self._patient_number[self.train.row]
            self._drawn[budget, seed] = budget.draw(self.train.y, patient, self.data.classes, seed)
        return self._drawn[budget, seed]

    @property
    def test_patient(self) -> NDArray[np.int64]:
        """(N,) whose each test example is."""
        return self._patient_number[self.test.row]

    @cached_property
    def _patient_number(self) -> NDArray[np.int64]:
        """(R,) the patients' places in the alphabet: beats are sorted by patient more than once, text takes long."""
        number: NDArray[np.int64] = np.unique(self.data.store.patient, return_inverse=True)[1]
        return number


def assess(config: DictConfig) -> Path:
    """Evaluate one cell, unless it is done already, together with the baselines beside it.

    Args:
        config: as `conf/evaluate.yaml` composes it.

    Returns:
        The cell's folder, which holds `result.json`.

    Raises:
        UserError: checkpoint, data or budget do not fit together.
    """
    config = without_run_keys(config)
    # Nothing is evaluated in a random order of windows: all seeds share the data.
    shared = {key: value for key, value in plain(config.data).items() if key != "seed"}
    setting = _setting(str(config.checkpoint), json.dumps(shared, sort_keys=True))
    data = setting.data
    folder = cell_folder(config, setting.checkpoint, data)
    done = read_result(folder)
    if done is not None and _is_complete(done, config):
        log.info(f"{folder.name}: done before; {_headline(done['metrics'])}")
        return folder
    try:
        beside = {name: _baseline(config, name) for name in config.protocol.beside}
        content = _evaluate(config, setting)
    except Exception as error:
        write_result(
            folder, {"status": "failed", "error": f"{type(error).__name__}: {error}", **_identity(config, data)}
        )
        raise
    write_result(folder, {**content, "baselines": beside})
    log.info(f"{folder.name}: {_headline(content['metrics'])}")
    return folder


def _is_complete(result: Mapping[str, Any], config: DictConfig) -> bool:
    """Whether a result says all that is asked of it: its intervals, and the baselines beside it."""
    if result["status"] != "done":
        return False
    same_intervals: bool = result["config"]["resamples"] == config.resamples
    return same_intervals and set(config.protocol.beside) <= result["baselines"].keys()


def without_run_keys(config: DictConfig) -> DictConfig:
    """The configuration without what only the command line needs."""
    return OmegaConf.create(plain(config))


def results_folder(config: DictConfig) -> Path:
    """Where the cells of a checkpoint on a data set lie: beside the checkpoint, or in `results_dir`."""
    where = Path(config.results_dir) if config.results_dir else Path(config.checkpoint).parent / "evaluations"
    names = (config.data.get(key) for key in ("name", "view", "task", "split"))
    return where / "-".join(str(name) for name in names if name is not None)


def cell_folder(config: DictConfig, checkpoint: EncoderCheckpoint, data: ECGDataModule) -> Path:
    """One folder for each cell; a changed configuration, encoder, recording or label makes another one."""
    what = {
        "data": {key: value for key, value in plain(config.data).items() if key not in NOT_PART_OF_A_RESULT},
        "fingerprint": data.store.fingerprint,
        "encoder": checkpoint.digest,
        "protocol": plain(config.protocol.method),
        "budget": plain(config.budget),
        "seeds": [config.seed, config.model_seed],
    }
    state = hashlib.blake2b(json.dumps(what, sort_keys=True).encode(), digest_size=4)
    for labels in (data.labelled.y, data.labelled.split):
        state.update(labels.tobytes())
    digest = state.hexdigest()
    budget = build_budget(config.budget)
    return results_folder(config) / f"{config.protocol.name}-{budget.name}-s{config.seed}-{digest}"


@lru_cache(maxsize=1)
def _setting(checkpoint_path: str, data_config: str) -> Setting:
    checkpoint = read_checkpoint(checkpoint_path)
    return Setting(checkpoint, build_data(OmegaConf.create(json.loads(data_config)), checkpoint.encoder.spec))


def _baseline(config: DictConfig, name: str) -> Mapping[str, Any]:
    """The result of the same cell under another protocol."""
    other = config.copy()
    other.protocol = config.beside[name]
    result = read_result(assess(other))
    assert result is not None
    return {"metrics": result["metrics"], "details": result["details"]}


def _evaluate(config: DictConfig, setting: Setting) -> dict[str, Any]:
    begin = time.perf_counter()
    checkpoint, data, train, test = setting.checkpoint, setting.data, setting.train, setting.test
    seen = _seen_test_patients(checkpoint, data)
    if seen and not config.allow_seen_patients:
        raise UserError(
            f"checkpoint={config.checkpoint} was pretrained on {len(seen)} of the test patients "
            f"({', '.join(seen[:3])}, ...); use another checkpoint or data.split, or allow_seen_patients=true, "
            "which the result records"
        )
    budget = build_budget(config.budget)
    chosen = setting.draw(budget, config.seed)
    labels = SealedLabels(train.y, chosen)
    cell = Cell(checkpoint, data, train, test, labels, chosen, config.model_seed, Path(config.cache_dir))
    prediction = build_protocol(config.protocol.method).predict(cell)
    metrics = score(test.y, prediction.probability, data.classes, setting.test_patient, resamples=config.resamples)
    return {
        "status": "done",
        **_identity(config, data),
        "encoder": {
            "digest": checkpoint.digest,
            "objective": checkpoint.training["objective"],
            "pretrained_on": checkpoint.training["data"]["name"],
            "learned": checkpoint.training["learned"],
            "commit": checkpoint.training["commit"],
            "spec": checkpoint.encoder.spec.to_dict(),
        },
        "split": data.split_kind,
        "pretraining_saw_test_patients": len(seen),
        "data": _data_summary(data, test),
        "labels": _label_summary(budget, train, chosen, labels, data),
        "metrics": metrics,
        "details": dict(prediction.details),
        "seconds": round(time.perf_counter() - begin, 3),
        "peak_memory_mb": round(_peak_memory_mb()),
        "device": provenance.device(),
        "commit": provenance.commit(),
    }


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


def _seen_test_patients(checkpoint: EncoderCheckpoint, data: ECGDataModule) -> list[str]:
    """Test patients whose recordings pretraining saw; not asked where patients cross splits."""
    if data.split_kind == "intra-patient":
        return []
    return sorted(set(checkpoint.training["data"]["patients"]) & set(data.patients("test").tolist()))


def _data_summary(data: ECGDataModule, test: Examples) -> dict[str, Any]:
    return {
        "name": data.name,
        "fingerprint": data.store.fingerprint,
        "recordings": len(data.store),
        "test_examples": len(test.row),
        "test_patients": len(data.patients("test"))
        if data.split_kind != "intra-patient"
        else len(np.unique(data.store.patient[test.row])),
        "skipped": dict(data.store.skipped),
        "substituted_leads": dict(data.store.substituted),
    }


def _label_summary(
    budget: LabelBudget, train: Examples, chosen: Any, labels: SealedLabels, data: ECGDataModule
) -> dict[str, Any]:
    y = train.y[chosen]
    counts = y.sum(axis=0) if y.ndim == 2 else np.bincount(y, minlength=len(data.classes))
    return {
        "budget": budget.name,
        "allowed": len(chosen),
        "read": len(labels.read),
        "per_class": dict(zip(data.classes, counts.tolist(), strict=True)),
        "patients": len(np.unique(data.store.patient[train.row[chosen]])),
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
