"""What an encoder and a linear probe say of recordings that nobody has labelled."""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from omegaconf import DictConfig, OmegaConf
from tqdm import tqdm

from ecg_lightning import provenance
from ecg_lightning.build import build_budget, build_data, plain, pretraining_data
from ecg_lightning.data.budget import SealedLabels
from ecg_lightning.data.module import SPLITS
from ecg_lightning.data.recordings import RecordDataModule
from ecg_lightning.encoders.checkpoint import EncoderCheckpoint, read_checkpoint
from ecg_lightning.errors import UserError
from ecg_lightning.evaluation.cell import Part
from ecg_lightning.evaluation.features import EncoderFeatures, FeatureSpace
from ecg_lightning.evaluation.frozen import Problem
from ecg_lightning.evaluation.linear import probe
from ecg_lightning.evaluation.setting import Setting, aggregate
from ecg_lightning.files import replacing
from ecg_lightning.precheck import check_prediction
from ecg_lightning.reporting.ecg_paper import draw_record

log = logging.getLogger(__name__)

TABLE = "predictions.csv"
DRAWN_SECONDS = 10.0


def predict(config: DictConfig) -> Path:
    """Write one row a recording with the probability of each class, and pictures of some recordings.

    The probe learns from the labels of `data@learn_from=NAME`, else from those of the data set itself, else from those
    of the data set that the encoder was pretrained on.

    Args:
        config: as `conf/evaluate.yaml` composes it.

    Returns:
        The folder, which holds `predictions.csv`, `prediction.json` and `pictures/`.

    Raises:
        UserError: checkpoint and data do not fit together, or there are no labels to learn from.
    """
    check_prediction(config)
    config = OmegaConf.create(plain(config))
    checkpoint = read_checkpoint(config.checkpoint)
    target = _whole_recordings(config.data, checkpoint, "data")
    source = _source(config, checkpoint, target)
    folder = _folder(config, target)
    folder.mkdir(parents=True, exist_ok=True)
    setting = Setting(checkpoint, source)
    budget = setting.draw(build_budget(config.budget), config.seed)
    y = SealedLabels(setting.train.y, budget)
    rows = np.arange(len(target.store))
    examples = target.cover(target.store, rows, np.zeros(len(rows), np.int64))
    train = Part(source, setting.train, f"training split of {source.name}")
    space = FeatureSpace(EncoderFeatures(checkpoint, "pretrained"), train, Path(config.cache_dir))
    patient = source.store.patient[setting.train.row[budget]]
    problem = Problem(budget, y[budget], patient, len(source.classes), config.model_seed)
    found = probe(space.train[budget], problem)
    probability = aggregate(
        found(space.of(Part(target, examples, target.name))), examples.unit, target.aggregate, source.multi_label
    )
    table = _table(target, source, probability)
    with replacing(folder / TABLE) as partial:
        table.to_csv(partial, index=False, float_format="%.4f")
    labels = len(np.unique(setting.train.row[budget]))
    _write_provenance(folder, config, checkpoint, source, target, labels, found.details)
    _draw(target, source, probability, folder / "pictures", config.protocol.pictures)
    _tell(folder, source, target, labels, probability)
    return folder


def _folder(config: DictConfig, target: RecordDataModule) -> Path:
    where = Path(config.results_dir) if config.results_dir else Path(config.checkpoint).parent
    return where / "predictions" / f"{target.name}-{target.store.fingerprint}"


def _whole_recordings(config: DictConfig, checkpoint: EncoderCheckpoint, key: str) -> RecordDataModule:
    data = build_data(config, checkpoint.encoder.spec)
    if not isinstance(data, RecordDataModule):
        raise UserError(
            f"{key}={data.name} labels beats or stretches; protocol=predict is about whole recordings, such as "
            "those of data=folder, ptbxl, g12ec and cinc2020"
        )
    return data


def _source(config: DictConfig, checkpoint: EncoderCheckpoint, target: RecordDataModule) -> RecordDataModule:
    """Where the labels come from."""
    if config.get("learn_from") is not None:
        return _labelled(_whole_recordings(config.learn_from, checkpoint, "data@learn_from"))
    try:
        return _labelled(target)
    except UserError as error:
        none = str(error)
    pretrained_on = pretraining_data(checkpoint, config.cache_dir)
    if pretrained_on is not None and pretrained_on.name != target.name:
        try:
            return _labelled(_whole_recordings(pretrained_on, checkpoint, "pretraining's data"))
        except UserError as error:
            none = f"{none}; and {error}"
    raise UserError(f"there are no labels to learn from: {none}; or name a data set with data@learn_from=ptbxl")


def _labelled(data: RecordDataModule) -> RecordDataModule:
    """The data set, if its training split carries labels."""
    if not len(data.labelled.of("train").row):
        raise UserError(f"data={data.name}: no recording of the training split is labelled")
    return data


def _table(target: RecordDataModule, source: RecordDataModule, probability: NDArray[np.floating[Any]]) -> pd.DataFrame:
    """One row a recording, those that could not be read below the others."""
    store = target.store
    split = target.split_of_records(store)
    table = pd.DataFrame({
        "record": store.record_id,
        "patient": store.patient,
        "split": [SPLITS[number] if number >= 0 else "" for number in split],
        "seconds": (store.length / store.fs).round(3),
    })  # fmt: skip
    for number, name in enumerate(source.classes):
        table[f"p_{name}"] = probability[:, number]
    if not source.multi_label:
        table["predicted"] = [source.classes[number] for number in probability.argmax(axis=1)]
    table["fault"] = ""
    faults = pd.DataFrame({"record": list(store.skipped), "fault": list(store.skipped.values())})
    return pd.concat([table, faults]) if len(faults) else table


def _write_provenance(
    folder: Path,
    config: DictConfig,
    checkpoint: EncoderCheckpoint,
    source: RecordDataModule,
    target: RecordDataModule,
    labels: int,
    details: Mapping[str, Any],
) -> None:
    content = {
        "encoder": checkpoint.digest,
        "learned_from": {"name": source.name, "fingerprint": source.store.fingerprint, "labels": labels},
        "data": {"name": target.name, "fingerprint": target.store.fingerprint, "recordings": len(target.store),
                 "substituted_leads": dict(target.store.substituted)},
        "classes": list(source.classes),
        "multi_label": source.multi_label,
        "probe": dict(details),
        "config": plain(config),
        "commit": provenance.commit(),
    }  # fmt: skip
    with replacing(folder / "prediction.json") as partial:
        partial.write_text(json.dumps(content, indent=1) + "\n")


def _draw(
    target: RecordDataModule,
    source: RecordDataModule,
    probability: NDArray[np.floating[Any]],
    folder: Path,
    most: int,
) -> None:
    """Recordings spread evenly over the data set, on ECG paper, with what is said of them."""
    store = target.store
    rows = np.unique(np.linspace(0, len(store) - 1, min(most, len(store))).round().astype(int))
    for row in tqdm(rows, desc="drawing", unit=" pictures", disable=None):
        signal = store.signal(row) / np.float32(store.scale)
        spare = max(0, signal.shape[1] - round(DRAWN_SECONDS * store.fs))
        middle = signal[:, spare // 2 : signal.shape[1] - (spare - spare // 2)]
        likely = np.argsort(-probability[row])[:3]
        said = ", ".join(f"{source.classes[number]} {probability[row, number]:.2f}" for number in likely)
        name = str(store.record_id[row]).replace("/", "_")
        draw_record(middle, store.fs, store.leads, folder / f"{name}.png", f"{store.record_id[row]}: {said}")


def _tell(
    folder: Path,
    source: RecordDataModule,
    target: RecordDataModule,
    labels: int,
    probability: NDArray[np.floating[Any]],
) -> None:
    likely = Counter(source.classes[number] for number in probability.argmax(axis=1))
    counts = ", ".join(f"{name} {count}" for name, count in likely.most_common())
    log.info(
        f"{target.name}: {len(target.store)} recordings by a probe that learned from {labels} labels of {source.name}; "
        f"most likely: {counts}\n{folder / TABLE}, pictures beside it"
    )
