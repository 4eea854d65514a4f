"""What the cells of a sweep share: an encoder, a data set and its splits, the budgets drawn so far."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ecg_lightning.data.budget import LabelBudget, SealedLabels
from ecg_lightning.data.module import ECGDataModule, Examples
from ecg_lightning.encoders.checkpoint import EncoderCheckpoint
from ecg_lightning.errors import UserError
from ecg_lightning.evaluation.cell import Cell


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

    @property
    def test_patient(self) -> NDArray[np.int64]:
        """(N,) whose each test example is."""
        return self._patient_number[self.test.row]

    def cell(self, budget: LabelBudget, seed: int, model_seed: int, cache_dir: Path) -> Cell:
        """The cell of a budget and a seed, its other labels sealed.

        Raises:
            UserError: the data cannot serve the budget.
        """
        chosen = self._draw(budget, seed)
        labels = SealedLabels(self.train.y, chosen)
        return Cell(self.checkpoint, self.data, self.train, self.test, labels, chosen, model_seed, cache_dir)

    def _draw(self, budget: LabelBudget, seed: int) -> NDArray[np.int64]:
        """The budget's examples, drawn once for all methods."""
        if (budget, seed) not in self._drawn:
            patient = self._patient_number[self.train.row]
            self._drawn[budget, seed] = budget.draw(self.train.y, patient, self.data.classes, seed)
        return self._drawn[budget, seed]

    @cached_property
    def _patient_number(self) -> NDArray[np.int64]:
        """(R,) the patients' places in the alphabet: examples are sorted by patient often, and text sorts slowly."""
        number: NDArray[np.int64] = np.unique(self.data.store.patient, return_inverse=True)[1]
        return number
