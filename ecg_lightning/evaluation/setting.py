"""What the cells of a sweep share: an encoder, a data set and its splits, the budgets drawn so far."""

from __future__ import annotations

import hashlib
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecg_lightning.data.budget import LabelBudget, SealedLabels
from ecg_lightning.data.module import Aggregate, ECGDataModule, Examples
from ecg_lightning.encoders.checkpoint import EncoderCheckpoint
from ecg_lightning.errors import UserError
from ecg_lightning.evaluation.cell import Cell, Probability
from ecg_lightning.evaluation.leakage import Leakage, find_leakage


class Setting:
    """An encoder and a data set, from which cells are cut.

    Args:
        checkpoint: the pretrained encoder.
        data: the data set, rendered to the encoder's signal.
    """

    def __init__(self, checkpoint: EncoderCheckpoint, data: ECGDataModule) -> None:
        self.checkpoint = checkpoint
        self.data = data
        self._drawn: dict[tuple[LabelBudget, int], NDArray[np.int64]] = {}
        self._leakage: dict[int, tuple[EncoderCheckpoint, Leakage]] = {}

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

    @cached_property
    def validation(self) -> Examples:
        """The validation split, of which only calibration reads labels.

        Raises:
            UserError: it is empty.
        """
        held = self.data.labelled.of("val")
        if not len(held.row):
            raise UserError(
                f"calibration: data={self.data.name} has no labelled example in its validation split to learn from; "
                f"leave calibration out or add recordings to {self.data.root}"
            )
        return held

    @property
    def test_patient(self) -> NDArray[np.int64]:
        """(M,) whose each judged test example is."""
        return self._patient_number[self.test.row][first_of_each(self.test)]

    @property
    def truth(self) -> NDArray[np.integer[Any]]:
        """(M,) or (M, C) labels of what is judged: whole recordings where examples are windows of them."""
        return self.test.y[first_of_each(self.test)]

    @property
    def test_record(self) -> NDArray[np.str_]:
        """(M,) the recording of each judged test example."""
        record: NDArray[np.str_] = self.data.store.record_id[self.test.row][first_of_each(self.test)]
        return record

    @cached_property
    def truth_digest(self) -> str:
        """Hash of what cells are judged by: those of the same one can be compared row by row."""
        state = hashlib.blake2b(digest_size=8)
        for array in (self.truth, self.test_patient):
            state.update(np.ascontiguousarray(array).tobytes())
        state.update("\n".join(self.test_record.tolist()).encode())
        return state.hexdigest()

    def judged(self, probability: Probability) -> Probability:
        """From the test examples, (N, C), to what is judged, (M, C): windows of one recording become one."""
        return aggregate(probability, self.test.unit, self.data.aggregate, self.data.multi_label)

    def leakage_of(self, checkpoint: EncoderCheckpoint) -> Leakage:
        """What the test split has in common with an encoder's pretraining and with the training split."""
        number = id(checkpoint)  # not its digest: of one encoder, two files may say that it saw different people
        if number not in self._leakage:
            self._leakage[number] = checkpoint, find_leakage(checkpoint.training, self.data)
        return self._leakage[number][1]

    def cell(self, budget: LabelBudget, seed: int, model_seed: int, cache_dir: Path) -> Cell:
        """The cell of a budget and a seed, its other labels sealed.

        Raises:
            UserError: the data cannot serve the budget.
        """
        chosen = self.draw(budget, seed)
        labels = SealedLabels(self.train.y, chosen)
        return Cell(self.checkpoint, self.data, labels, chosen, model_seed, cache_dir)

    def draw(self, budget: LabelBudget, seed: int) -> NDArray[np.int64]:
        """The budget's examples of `train`, drawn once for all methods; a recording's label brings all its windows.

        Raises:
            UserError: the data cannot serve the budget.
        """
        if (budget, seed) not in self._drawn:
            train, first = self.train, first_of_each(self.train)
            chosen = first[budget.draw(train.y[first], self._patient_number[train.row[first]], self.data.classes, seed)]
            if train.unit is not None:
                chosen = np.flatnonzero(np.isin(train.unit, train.unit[chosen]))
            self._drawn[budget, seed] = chosen
        return self._drawn[budget, seed]

    @cached_property
    def _patient_number(self) -> NDArray[np.int64]:
        """(R,) the patients' places in the alphabet: examples are sorted by patient often, and text sorts slowly."""
        number: NDArray[np.int64] = np.unique(self.data.store.patient, return_inverse=True)[1]
        return number


def aggregate(
    probability: Probability, unit: NDArray[np.int64] | None, how: Aggregate, multi_label: bool
) -> Probability:
    """Join the predictions for windows of the same recording.

    Args:
        probability: (N, C) for windows.
        unit: (N,) number of the recording of each, see `Examples`; None leaves each to itself.
        how: their mean, or their maximum, of which those of exclusive classes are scaled to add up to 1.
        multi_label: whether the classes do not exclude one another.

    Returns:
        (M, C) in the order of the units.
    """
    if unit is None:
        return probability
    _, begin, place = np.unique(unit, return_index=True, return_inverse=True)
    if len(begin) == len(unit):
        return probability[begin]
    joined = np.full((len(begin), probability.shape[1]), -np.inf if how == "max" else 0.0)
    if how == "max":
        np.maximum.at(joined, place, probability)
        return joined if multi_label else joined / joined.sum(axis=1, keepdims=True)
    np.add.at(joined, place, probability)
    return joined / np.bincount(place)[:, None]


def first_of_each(examples: Examples) -> NDArray[np.int64]:
    """(M,) the first example of each unit, in order of the units; every one where each stands for itself."""
    if examples.unit is None:
        return np.arange(len(examples.row))
    return np.unique(examples.unit, return_index=True)[1]
