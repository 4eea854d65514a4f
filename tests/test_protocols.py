"""Every evaluation protocol: it sees the labels of its budget and no other, and what it learns from them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from omegaconf import DictConfig

from ecg_lightning.assessment import assess
from ecg_lightning.build import build_data, build_protocol
from ecg_lightning.data.budget import BudgetExceeded, SealedLabels
from ecg_lightning.encoders.checkpoint import EncoderCheckpoint, read_checkpoint
from ecg_lightning.evaluation import linear
from ecg_lightning.evaluation.cell import Cell
from ecg_lightning.results import read_result

FILES = (Path(__file__).resolve().parents[1] / "conf" / "protocol").glob("*.yaml")
PROTOCOLS = sorted({path.stem for path in FILES} - {"predict", "all", "transfer"})  # which have tests of their own
TASKS = {
    "records, many labels": ("ptbxl",),
    "beats": ("mitbih", "data.task=binary"),
    "windows, many labels": ("mitbih", "data.view=windows"),
}
LABELS = 8


def predicted(protocol: Any, cell: Cell) -> NDArray[Any]:
    """What it says of the cell's test split."""
    return protocol.fit(cell).predict(cell.part("test"))


every_protocol = pytest.mark.parametrize("protocol", PROTOCOLS)
every_task = pytest.mark.parametrize("task", TASKS.values(), ids=TASKS)


@pytest.fixture(scope="module")
def checkpoint(tiny_checkpoint: Path) -> EncoderCheckpoint:
    return read_checkpoint(tiny_checkpoint)


@pytest.fixture
def configured(
    evaluation: Callable[..., DictConfig],
    convolutional_checkpoint: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Callable[..., DictConfig]:
    """A protocol's configuration on a task, cut short."""
    monkeypatch.setattr(linear, "STRENGTHS", linear.STRENGTHS[::3])

    def make(protocol: str, task: tuple[str, ...]) -> DictConfig:
        config = evaluation(*task, f"protocol={protocol}", f"budget.total={LABELS}", f"results_dir={tmp_path}")
        config.resamples, config.protocol.beside = 0, []
        method = config.protocol.method
        if "checkpoints" in method:
            method.checkpoints, method.retrain_steps = [str(convolutional_checkpoint)], 2
        for taught in (method, method.get("member", {})):
            if "steps" in taught:
                taught.steps = 3
        return config

    return make


# ---------------------------------------------------------------- the budget


@every_task
@every_protocol
def test_no_protocol_reads_more_labels_than_its_budget(configured, protocol, task):
    labels = read_result(assess(configured(protocol, task)))["labels"]
    assert 0 < labels["read"] <= labels["allowed"] == LABELS


def garbled(y: NDArray[Any], spared: NDArray[np.int64]) -> NDArray[Any]:
    """Labels that say nothing but for the spared ones."""
    rng = np.random.default_rng(13)
    noise = rng.integers(0, y.max() + 1, y.shape).astype(y.dtype)
    noise[spared] = y[spared]
    assert (noise != y).any()
    return noise


@every_task
@every_protocol
def test_labels_outside_the_budget_change_no_prediction(configured, checkpoint, make_cell, tmp_path, protocol, task):
    config = configured(protocol, task)
    data, other = (build_data(config.data, checkpoint.encoder.spec) for _ in range(2))
    cell = make_cell(checkpoint, data, tmp_path / "true", LABELS)

    labelled = other.labelled
    of_train = np.flatnonzero(labelled.split == 0)
    y = garbled(labelled.y, of_train[cell.budget])
    vars(other)["labelled"] = replace(labelled, y=y)
    vars(other.store)["annotations"] = None
    sealed = SealedLabels(y[of_train], cell.budget)
    blind = Cell(checkpoint, other, sealed, cell.budget, 0, tmp_path / "garbled")

    expected, found = (predicted(build_protocol(config.protocol.method), each) for each in (cell, blind))
    np.testing.assert_array_equal(found, expected)
    assert expected.shape == (len(cell.part("test")), len(data.classes))
    assert (expected >= 0).all() and (expected <= 1 + 1e-6).all()
    if y.ndim == 1:
        np.testing.assert_allclose(expected.sum(axis=1), 1, atol=1e-5)


@every_protocol
def test_the_labels_of_the_budget_do_change_the_prediction(configured, checkpoint, make_cell, tmp_path, protocol):
    config = configured(protocol, TASKS["beats"])
    cell = make_cell(checkpoint, build_data(config.data, checkpoint.encoder.spec), tmp_path, LABELS)
    swapped = replace(cell, labels=SealedLabels(1 - cell.labels._y, cell.budget))
    first, second = (predicted(build_protocol(config.protocol.method), each) for each in (cell, swapped))
    assert not np.allclose(first, second, atol=1e-3)


@every_task
def test_a_cell_holds_no_label_but_the_sealed_ones(configured, checkpoint, make_cell, tmp_path, task):
    data = build_data(configured("linear", task).data, checkpoint.encoder.spec)
    cell = make_cell(checkpoint, data, tmp_path, LABELS)
    assert all(cell.part(split).examples.y is None for split in ("train", "val", "test"))
    assert len(cell.labels) == len(cell.train)
    outside = np.setdiff1d(np.arange(len(cell.train)), cell.budget)
    for index in (outside[:1], np.array([len(cell.train)]), np.arange(len(cell.train))):
        with pytest.raises(BudgetExceeded):
            cell.labels[index]
    index, y, patient = cell.labelled_examples()
    np.testing.assert_array_equal(y, data.labelled.of("train").y[index])
    np.testing.assert_array_equal(patient, data.store.patient[cell.train.examples.row[index]])
    assert not set(patient) & set(data.store.patient[cell.part("test").examples.row])
