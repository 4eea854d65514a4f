"""What a result says beside its metrics: what was asked, of which encoder and data, from which labels, at what cost."""

from __future__ import annotations

import resource
from collections.abc import Mapping
from typing import Any

import numpy as np
from omegaconf import DictConfig

from ecg_lightning.build import build_budget, plain
from ecg_lightning.data.module import ECGDataModule
from ecg_lightning.encoders.checkpoint import EncoderCheckpoint
from ecg_lightning.evaluation.cell import Cell
from ecg_lightning.evaluation.setting import Setting

HEADLINE = ("accuracy", "macro_f1", "macro_auroc")


def identity(config: DictConfig, data: ECGDataModule) -> dict[str, Any]:
    """What was asked."""
    return {
        "protocol": config.protocol.name,
        "budget": build_budget(config.budget).name,
        "seed": config.seed,
        "model_seed": config.model_seed,
        "classes": list(data.classes),
        "multi_label": data.multi_label,
        "config": {key: value for key, value in plain(config).items() if key != "beside"},  # a menu
    }


def about_encoder(checkpoint: EncoderCheckpoint) -> dict[str, Any]:
    """Which encoder, and what it was trained on."""
    return {
        "digest": checkpoint.digest,
        "objective": checkpoint.training["objective"],
        "pretrained_on": checkpoint.training["data"]["name"],
        "pretraining_share": checkpoint.training["data"].get("share", 1.0),
        "pretraining_folds": checkpoint.training["data"].get("folds", []),
        "pretraining_labels": checkpoint.training["data"].get("labels", 0),
        "learned": checkpoint.training["learned"],
        "commit": checkpoint.training["commit"],
        "spec": checkpoint.encoder.spec.to_dict(),
        "parameters": sum(weight.numel() for weight in checkpoint.encoder.parameters()),
    }


def about_data(setting: Setting) -> dict[str, Any]:
    """Which recordings, and what was done to them."""
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


def about_labels(cell: Cell, setting: Setting) -> dict[str, Any]:
    """How many labels were allowed and read, recordings counted once."""
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


def peak_memory_mb() -> float:
    """The most that this process has held, on the accelerator where there is one."""
    import torch

    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / 1e6
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3


def headline(metrics: Mapping[str, Any]) -> str:
    """A result in one line."""

    def show(key: str) -> str:
        metric = metrics[key]
        if metric["value"] is None:
            return f"{key} undefined"
        interval = "" if metric["low"] is None else f" [{metric['low']:.3f}, {metric['high']:.3f}]"
        return f"{key} {metric['value']:.3f}{interval}"

    return ", ".join(show(key) for key in HEADLINE)
