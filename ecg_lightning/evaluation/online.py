"""What an encoder is worth while it is being trained: quick probes on a small labelled subset, for its eyes alone.

They choose nothing: neither checkpoint nor end of the training looks at them, and no test label is read.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from ecg_lightning.data.budget import LabelBudget
from ecg_lightning.data.module import SPLITS, ECGDataModule, Split
from ecg_lightning.data.windows import Draw, to_signal
from ecg_lightning.encoders.base import Encoder
from ecg_lightning.errors import UserError
from ecg_lightning.evaluation.linear import DEFAULT_STRENGTH, to_probability
from ecg_lightning.evaluation.logistic import fit_logistic
from ecg_lightning.evaluation.metrics import score
from ecg_lightning.readout import read_out

Matrix = NDArray[np.floating]
Labels = NDArray[np.integer]

NEIGHBOURS = 15


class OnlineProbe:
    """A linear probe and nearest neighbours on some labelled training windows, judged on some validation windows.

    Args:
        data: whose labels are read, those of its training and validation splits.
        size: examples of each split, at most; classes take turns.

    Raises:
        UserError: the data have no labels, or a split of them holds too few.
    """

    def __init__(self, data: ECGDataModule, size: int = 300) -> None:
        self.data, self.size = data, size
        self.train, self.val = self._choose("train"), self._choose("val")

    @torch.no_grad()
    def measure(self, encoder: Encoder, device: torch.device) -> dict[str, float]:
        """Macro AUROC of both, as `probe_auroc` and `knn_auroc`; where no class can be judged they are left out.

        Args:
            encoder: in evaluation mode.
            device: of the encoder.
        """
        train = _Described(*self._embed(encoder, self.train, device))
        val = _Described(*self._embed(encoder, self.val, device))
        mean, deviation = train.x.mean(axis=0), train.x.std(axis=0) + 1e-6
        scale = deviation * np.sqrt(train.x.shape[1])
        train, val = (part._replace(x=(part.x - mean) / scale) for part in (train, val))
        guesses = {"probe_auroc": self._linear(train, val.x), "knn_auroc": self._neighbours(train, val.x)}
        scores = {name: self._auroc(val.y, guess) for name, guess in guesses.items()}
        return {name: value for name, value in scores.items() if value is not None}

    def _choose(self, split: Split) -> Draw:
        examples, data = self.data.labelled, self.data
        members = np.flatnonzero(examples.split == SPLITS.index(split))
        y, patient = examples.y[members], data.store.person[examples.row[members]]
        present = np.unique(y) if y.ndim == 1 else np.flatnonzero(y.any(axis=0))
        if len(present) < 2:
            raise UserError(f"data={data.name}: the {split} split holds labels of {len(present)} classes")
        compact = np.searchsorted(present, y) if y.ndim == 1 else y[:, present]
        names = tuple(data.classes[c] for c in present)
        chosen = LabelBudget(min(self.size, len(y))).draw(compact, patient, names, seed=0)
        return Draw(members[chosen], np.full(len(chosen), 0.5))

    def _embed(self, encoder: Encoder, which: Draw, device: torch.device) -> tuple[Matrix, Labels]:
        windows, parts = self.data.windows(self.data.labelled), []
        for begin in range(0, len(which.which), self.data.batch_size):
            few = slice(begin, begin + self.data.batch_size)
            raw = windows[Draw(which.which[few], which.slide[few])]
            parts.append(read_out(encoder, to_signal(raw.to(device), self.data.spec)).double().cpu())
        return torch.cat(parts).numpy(), self.data.labelled.y[which.which]

    def _linear(self, train: _Described, x: Matrix) -> Matrix:
        weight, bias = fit_logistic(train.x, train.y, len(self.data.classes), DEFAULT_STRENGTH)
        return to_probability(x @ weight + bias, train.y.ndim == 2)

    def _neighbours(self, train: _Described, x: Matrix) -> Matrix:
        """The share of each class among the nearest training examples, by the angle between features."""
        unit = [part / np.linalg.norm(part, axis=1, keepdims=True).clip(1e-12) for part in (train.x, x)]
        nearest = np.argsort(-unit[1] @ unit[0].T, axis=1)[:, :NEIGHBOURS]
        truth = train.y if train.y.ndim == 2 else np.eye(len(self.data.classes))[train.y]
        shares: Matrix = truth[nearest].mean(axis=1)
        return shares

    def _auroc(self, y: Labels, probability: Matrix) -> float | None:
        value = score(y, probability, self.data.classes, np.arange(len(y)), resamples=0)["macro_auroc"]["value"]
        return None if value is None else float(value)


class _Described(NamedTuple):
    """Features (N, F) of examples and their labels."""

    x: Matrix
    y: Labels
