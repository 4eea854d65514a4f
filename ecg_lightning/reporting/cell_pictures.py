"""The pictures of one evaluated cell: what is taken for what, how it ranks, what its features and its probe look at."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from ecg_lightning.errors import UserError
from ecg_lightning.evaluation.attribution import attribute, encoder_of
from ecg_lightning.evaluation.cell import Cell, Fitted, Part
from ecg_lightning.evaluation.features import Matrix, embed
from ecg_lightning.evaluation.frozen import FrozenFit
from ecg_lightning.evaluation.telling import Telling, telling_predictions
from ecg_lightning.reporting.attribution import draw_attribution
from ecg_lightning.reporting.confusion import draw_confusion, draw_decisions
from ecg_lightning.reporting.embedding_map import FEWEST_POINTS, draw_embedding_map, drawn_points
from ecg_lightning.reporting.ranking_curves import draw_ranking_curves
from ecg_lightning.reporting.reliability import draw_reliability
from ecg_lightning.results import read_calibrated, read_predictions, read_result, read_truth

PICTURES = "pictures"

Drawing = Callable[[], object]


def draw_cell(folder: Path, cell: Cell, fitted: Fitted, attributions: int) -> Path:
    """Draw all pictures of a cell, in `pictures/` beside its result.

    Args:
        folder: of a finished cell.
        cell: its data and encoder.
        fitted: what was learned in it.
        attributions: how many recordings to draw with what drove their class.

    Returns:
        Where the pictures lie.
    """
    into = folder / f".{PICTURES}"  # whole or not at all
    shutil.rmtree(into, ignore_errors=True)
    title = _title(_done(folder))
    test = cell.part("test")
    drawings = [
        *_of_predictions(folder, into),
        *_of_features(cell, fitted, test, into, title),
        *_of_records(folder, cell, fitted, test, into, attributions),
    ]
    for draw in tqdm(drawings, desc="drawing", unit=" pictures", disable=None):
        draw()
    shutil.rmtree(folder / PICTURES, ignore_errors=True)
    return into.rename(folder / PICTURES)


def draw_predictions(folder: Path) -> Path:
    """Draw what a finished cell's files say by themselves, in `pictures/` beside them.

    Args:
        folder: of the cell.

    Returns:
        Where the pictures lie.

    Raises:
        UserError: there is no finished cell.
    """
    for draw in _of_predictions(folder, folder / PICTURES):
        draw()
    return folder / PICTURES


def _of_predictions(folder: Path, into: Path) -> list[Drawing]:
    result = _done(folder)
    classes, title = result["classes"], _title(result)
    truth, probability = read_truth(folder.parent, result["truth"]), read_predictions(folder).probability
    if result["multi_label"]:
        decisions = partial(draw_decisions, truth.y, probability, classes, into / "confusion.png", title)
    else:
        counts_CC = np.zeros((len(classes), len(classes)), np.int64)
        np.add.at(counts_CC, (truth.y, probability.argmax(axis=1)), 1)
        decisions = partial(draw_confusion, counts_CC, classes, into / "confusion.png", title)
    curves = partial(draw_ranking_curves, truth.y, probability, classes, truth.patient, into / "roc_pr.png", title)
    if not _are_both_answered(truth.y):
        return [decisions, curves]
    said = {"none": probability, **read_calibrated(folder)}
    return [decisions, curves, partial(draw_reliability, truth.y, said, classes, into / "reliability.png", title)]


def _are_both_answered(y: NDArray[np.integer]) -> bool:
    """Whether some class has examples and others: of what is always or never so nothing can be foretold wrongly."""
    if y.ndim == 1:
        return len(np.unique(y)) > 1
    return bool((y.any(axis=0) & ~y.all(axis=0)).any())


def _of_features(cell: Cell, fitted: Fitted, test: Part, into: Path, title: str) -> list[Drawing]:
    """The map, where an encoder reads the signals."""
    index = drawn_points(len(test))
    if encoder_of(fitted) is None or len(index) < FEWEST_POINTS:
        return []
    examples, data = cell.data.labelled.of("test"), cell.data
    patient = data.store.patient[examples.row[index]]

    def draw() -> None:
        features = _features(fitted, test, index)
        draw_embedding_map(features, examples.y[index], data.classes, patient, into / "embedding.png", title)

    return [draw]


def _features(fitted: Fitted, test: Part, index: NDArray[np.int64]) -> Matrix:
    """(n, F) standardised features of some examples."""
    if isinstance(fitted, FrozenFit):
        known: Matrix = fitted.space.of(test)[index]
        return known
    some = Part(test.data, test.examples.take(np.isin(np.arange(len(test)), index)), "part of the test split")
    encoder = encoder_of(fitted)
    assert encoder is not None
    features = embed(encoder, some, f"{some.label}, fine-tuned encoder")
    standardised: Matrix = (features - features.mean(axis=0)) / (features.std(axis=0) + 1e-6)
    return standardised


def _of_records(folder: Path, cell: Cell, fitted: Fitted, test: Part, into: Path, number: int) -> list[Drawing]:
    """What drove the class of a few recordings or beats."""
    truth = read_truth(folder.parent, _done(folder)["truth"])
    probability = read_predictions(folder).probability
    found = telling_predictions(truth.y, probability, number) if encoder_of(fitted) is not None else []
    unit = np.arange(len(test)) if test.examples.unit is None else test.examples.unit
    names, spec = cell.data.classes, cell.data.spec

    def draw(place: int, telling: Telling) -> None:
        windows = np.flatnonzero(unit == np.unique(unit)[telling.row])
        attribution = attribute(fitted, test, windows, telling.target)
        if attribution is None:
            return
        name, kind = names[telling.target], "right" if telling.right else "wrong"
        path = into / re.sub(r"[^\w.-]", "_", f"attribution-{place}-{name}-{kind}.png")
        where = _where(test, attribution.number, str(truth.record[telling.row]))
        said = f"{name} {probability[telling.row, telling.target]:.2f}"
        title = f"{where}: {said}, labelled {_true_classes(truth.y[telling.row], names)}"
        draw_attribution(attribution, spec.fs, spec.leads, path, title, name)

    return [partial(draw, place, telling) for place, telling in enumerate(found, start=1)]


def _where(test: Part, number: int, record: str) -> str:
    """Name of the recording, and when in it."""
    fs, examples = test.data.spec.fs, test.examples
    if examples.span is not None:
        middle = examples.offset[number] + examples.span[number].mean()
        return f"{record} at {middle / fs:.1f} s"
    begin = examples.offset[number] / fs
    return f"{record}, from {begin:.1f} s" if begin > 0 else record


def _true_classes(y: NDArray[np.integer[Any]], classes: Sequence[str]) -> str:
    if y.ndim == 0:
        return classes[int(y)]
    return ", ".join(classes[int(c)] for c in np.flatnonzero(y)) or "none of them"


def _done(folder: Path) -> dict[str, Any]:
    result = read_result(folder)
    if result is None or result["status"] != "done":
        raise UserError(f"{folder}: no finished cell lies there; a cell's folder holds result.json")
    return result


def _title(result: Mapping[str, Any]) -> str:
    return f"{result['data']['name']}, {result['protocol']}, budget {result['budget']}, seed {result['seed']}"
