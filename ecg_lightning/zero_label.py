"""A head that learned from a data set A alone, judged on a data set B whose classes a map explains: no label of B."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from omegaconf import DictConfig, OmegaConf

from ecg_lightning import provenance
from ecg_lightning.build import build_data, plain, pretraining_data
from ecg_lightning.choices import CONF
from ecg_lightning.data.budget import LabelBudget, SealedLabels
from ecg_lightning.encoders.checkpoint import EncoderCheckpoint
from ecg_lightning.errors import UserError
from ecg_lightning.evaluation.cell import Cell, Part, Probability
from ecg_lightning.evaluation.label_map import Correspondence, LabelMap, read_label_map
from ecg_lightning.evaluation.leakage import find_leakage
from ecg_lightning.evaluation.linear import LinearProbe
from ecg_lightning.evaluation.metrics import judge
from ecg_lightning.evaluation.setting import Setting, aggregate
from ecg_lightning.question import results_folder
from ecg_lightning.results import (
    PREDICTIONS,
    Predictions,
    read_predictions,
    read_result,
    write_predictions,
    write_result,
)

FILENAME = "zero_label.json"


@dataclass(frozen=True)
class Teacher:
    """The data set A whose labels are learned, and what its classes are called in B.

    Attributes:
        setting: the encoder and A.
        label_map: from A's classes to B's.
        people: whose labels count: those whom pretraining saw, so that a share of A is one also here; None for all.
    """

    setting: Setting
    label_map: LabelMap
    people: Sequence[str] | None

    def cell(self, config: DictConfig) -> Cell:
        """All labels of A's training split that count.

        Raises:
            UserError: there are none.
        """
        cell = self.setting.cell(LabelBudget(), 0, config.model_seed, Path(config.cache_dir))
        if self.people is None:
            return cell
        patient = cell.data.store.patient[self.setting.train.row[cell.budget]]
        chosen = cell.budget[np.isin(patient, self.people)]
        if not len(chosen):
            raise UserError(f"data={cell.data.name}: nobody whom pretraining saw is labelled in {cell.data.root}; name "
                            "the data set whose labels count with data@learn_from=NAME")  # fmt: skip
        return replace(cell, budget=chosen, labels=SealedLabels(self.setting.train.y, chosen))


def find_teacher(config: DictConfig, checkpoint: EncoderCheckpoint) -> Teacher:
    """The data set of `data@learn_from=NAME`, else that of pretraining, its names compared with the map's.

    No recording is read.

    Args:
        config: as `conf/evaluate.yaml` composes it with `protocol=transfer` and `protocol.map`.
        checkpoint: the encoder.

    Raises:
        UserError: there is no such data set, or the map is not about the two.
    """
    label_map = read_label_map(_path(config.protocol.map))
    own = config.get("learn_from") is None
    given = pretraining_data(checkpoint, config.cache_dir) if own else config.learn_from
    if given is None or "members" in given:
        raise UserError(f"checkpoint={config.checkpoint} was not pretrained on one data set with labels; name one with "
                        "data@learn_from=ptbxl, or set protocol.map=null")  # fmt: skip
    for key in label_map.learn_from:
        if key not in given:
            raise UserError(f"{label_map.path}: learn_from.{key} is no key of data={given.name}; the map is about "
                            "another data set")  # fmt: skip
    spec = checkpoint.encoder.spec
    data = build_data(OmegaConf.create({**plain(given), **label_map.learn_from}), spec)
    target = OmegaConf.create({key: value for key, value in plain(config.data).items() if key != "missing"})
    label_map.check(data.vocabulary, build_data(target, spec).vocabulary)
    return Teacher(Setting(checkpoint, data), label_map, checkpoint.training["data"]["patients"] if own else None)


def _path(name: str) -> Path:
    """A file, or a name in `conf/label_map/`.

    Raises:
        UserError: it is neither.
    """
    known = {path.stem: path for path in sorted((CONF / "label_map").glob("*.yaml"))}
    if name in known or Path(name).is_file():
        return known.get(name, Path(name))
    raise UserError(f"protocol.map={name} is neither a file nor one of {', '.join(known)}")


def correspond(config: DictConfig, teacher: Teacher, target: Setting) -> Correspondence:
    """Which classes of B can be learned from A.

    Raises:
        UserError: none can be, A's examples are of another kind than B's, or A's labels are those of test patients.
    """
    a, b = teacher.setting.data, target.data
    if _kind(teacher.setting) != _kind(target):
        raise UserError(f"protocol.map={config.protocol.map}: {a.name} labels {_kind(teacher.setting)} and data="
                        f"{b.name} {_kind(target)}, whose features differ; choose another data.view, or protocol.map="
                        "null")  # fmt: skip
    seen = find_leakage({"data": a.seen()}, b)
    if (seen.pretraining or seen.pretraining_copies) and not config.allow_seen_patients:
        whose = str(seen.pretraining) or f"copies of {', '.join(seen.pretraining_copies[:3])}"
        raise UserError(f"protocol.map={config.protocol.map}: the labels of {a.name} are also of {whose} in the test "
                        f"split of data={b.name}; use another data@learn_from, or allow_seen_patients=true, which the "
                        "result records")  # fmt: skip
    y = teacher.setting.train.y[teacher.cell(config).budget]
    counts = y.sum(axis=0) if y.ndim == 2 else np.bincount(y, minlength=len(a.classes))
    learned = [name for name, count in zip(a.classes, counts.tolist(), strict=True) if 0 < count < len(y)]
    return teacher.label_map.between(learned, b.classes)


def _kind(setting: Setting) -> str:
    """What an example is."""
    if setting.train.span is None:
        return "whole windows"
    return "beats" if setting.train.rr is not None else "beats cut out of their recordings"


def assess_zero_label(
    config: DictConfig, teacher: Teacher, target: Setting, correspondence: Correspondence, cells: Sequence[Path]
) -> dict[str, Any]:
    """Learn a linear probe from A, judge it on B's test split, and the cells that learned from B on the same classes.

    Args:
        config: see `find_teacher`.
        teacher: from `find_teacher`.
        target: the encoder and B.
        correspondence: from `correspond`.
        cells: folders of finished cells of `target`.

    Returns:
        What `zero_label.json` holds, in a folder of its own with `predictions.npz`.
    """
    cell = teacher.cell(config)
    folder = results_folder(config) / f"zero_label-{_digest(config, cell, target, correspondence)}"
    if not (folder / PREDICTIONS).exists():
        said = _said(cell, target, correspondence)
        write_predictions(folder, Predictions(said, {}))
    content = _content(config, teacher, cell, target, correspondence)
    y, names = _covered_truth(target, correspondence), list(correspondence.meant)
    columns = [target.data.classes.index(name) for name in names]

    def report(probability: Probability, resamples: int) -> dict[str, Any]:
        return judge(y, probability, names, target.test_patient, resamples=resamples).report

    beside = []
    for each in cells:
        result = read_result(each)
        assert result is not None
        metrics = report(read_predictions(each).probability[:, columns], 0)
        beside.append({key: result[key] for key in ("protocol", "budget", "seed", "model_seed")} | {"metrics": metrics})
    metrics = report(read_predictions(folder).probability, config.resamples)
    content |= {"metrics": metrics, "beside": beside}
    write_result(folder, content, FILENAME)
    return content


def _said(cell: Cell, target: Setting, correspondence: Correspondence) -> Probability:
    """(M, B) what a probe on A's labels says of B's test split."""
    part = Part(target.data, target.test, f"test split of {target.data.name}")
    a = cell.data
    windows = LinearProbe().fit(cell).predict(part)
    joined = aggregate(windows, target.test.unit, target.data.aggregate, a.multi_label)
    return correspondence.translate(joined, a.classes, a.multi_label)


def _covered_truth(target: Setting, correspondence: Correspondence) -> NDArray[np.integer[Any]]:
    """(M, B) zeros and ones: each class by itself, also where an example has but one."""
    y = target.truth
    y_MC = y if y.ndim == 2 else (y[:, None] == np.arange(len(target.data.classes))).astype(np.uint8)
    return y_MC[:, [target.data.classes.index(name) for name in correspondence.meant]]


def _digest(config: DictConfig, cell: Cell, target: Setting, correspondence: Correspondence) -> str:
    a, b = cell.train, Part(target.data, target.test, "")
    what: Mapping[str, Any] = {
        "encoder": target.checkpoint.digest,
        "parts": [a.digest, b.digest, target.truth_digest],
        "classes": [a.data.classes, list(correspondence.meant.items())],
        "seed": config.model_seed,
    }
    state = hashlib.blake2b(json.dumps(what, sort_keys=True).encode(), digest_size=4)
    state.update(cell.budget.tobytes())
    return state.hexdigest()


def _content(
    config: DictConfig, teacher: Teacher, cell: Cell, target: Setting, correspondence: Correspondence
) -> dict[str, Any]:
    """All of `zero_label.json` but its numbers."""
    a, b = cell.data, target.data
    training = target.checkpoint.training
    return {
        "status": "done",
        "protocol": "zero_label",
        "budget": "0",
        "encoder": {
            "digest": target.checkpoint.digest,
            "objective": training["objective"],
            "pretrained_on": training["data"]["name"],
            "pretraining_share": training["data"].get("share", 1.0),
        },
        "learned_from": {
            "name": a.name,
            "fingerprint": a.store.fingerprint,
            "labels": len(cell.budget),
            "leakage": find_leakage({"data": a.seen()}, b).to_dict(),
        },
        "data": {"name": b.name, "fingerprint": b.store.fingerprint, "test_examples": len(target.truth),
                 "missing": b.spec.missing, "substituted_leads": dict(b.store.substituted)},
        "labels": {"allowed": 0, "read": 0},
        "map": {
            "name": str(config.protocol.map),
            "source": teacher.label_map.source,
            "meant": {name: list(of) for name, of in correspondence.meant.items()},
            "left_out": dict(correspondence.left_out),
        },
        "truth": target.truth_digest,
        "config": plain(config),
        "commit": provenance.commit(),
    }  # fmt: skip
