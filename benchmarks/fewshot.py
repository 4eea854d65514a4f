"""How long it takes to learn from few labels, to predict and to score, once the features are there.

Four budgets, ten seeds, three sets of features and three methods are 360 cells, on a problem of PTB-XL's size and on
one of MIT-BIH's. The features are drawn: their variance falls off as an encoder's does, and the classes lie apart.
Beside them stand the linear probes of a few of the same cells fitted in scikit-learn's way, one call for each label,
fold and strength. Seconds are those of the clock; those of the processor are in brackets, for a machine that others
use too.

    python benchmarks/fewshot.py
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from time import perf_counter, process_time
from types import SimpleNamespace
from typing import Any, NamedTuple, cast

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold, StratifiedGroupKFold

from ecg_lightning.data.budget import LabelBudget
from ecg_lightning.evaluation.choice import FOLDS
from ecg_lightning.evaluation.features import FeatureSpace
from ecg_lightning.evaluation.frozen import FrozenMethod, Problem
from ecg_lightning.evaluation.knn import NearestNeighbours
from ecg_lightning.evaluation.linear import STRENGTHS, LinearProbe
from ecg_lightning.evaluation.metrics import score
from ecg_lightning.evaluation.prototype import Prototype
from ecg_lightning.evaluation.semi_supervised import SemiSupervised
from ecg_lightning.provenance import commit, device

BUDGETS, SEEDS, FEATURE_SETS = (10, 25, 50, 100), 10, 3
METHODS: dict[str, FrozenMethod] = {"linear": LinearProbe(), "knn": NearestNeighbours(), "prototype": Prototype()}
BESIDE: dict[str, FrozenMethod] = {
    "label spreading": SemiSupervised(),
    "self-training": SemiSupervised("self_training"),
}
COMPARED = 2
"""Seeds of each budget that are also fitted in scikit-learn's way."""

Array = NDArray[Any]


class Drawn(NamedTuple):
    """Features (N, F), labels and patients (N,) of a training split, and of a test split (M, ...)."""

    train: Array
    y: Array
    patient: Array
    test: Array
    truth: Array
    test_patient: Array
    classes: tuple[str, ...]


def draw(rng: np.random.Generator, y: Array, classes: int, n: int, width: int, patients: int) -> Drawn:
    """Features of total variance 1 in each of three blocks, for labels of which the first `n` are for training."""
    variance = np.arange(1, width + 1) ** -1.2
    spread = np.sqrt(3 * variance / variance.sum()).astype(np.float32)
    indicators = (y if y.ndim == 2 else np.eye(classes)[y]).astype(np.float32)
    centre = rng.normal(size=(classes, width)).astype(np.float32)
    x = (rng.normal(size=(len(y), width)).astype(np.float32) + 0.7 * indicators @ centre) * spread
    who = np.sort(rng.integers(patients, size=len(y)))
    names = tuple(str(c) for c in range(classes))
    return Drawn(x[:n], y[:n], who[:n].astype(str), x[n:], y[n:], who[n:], names)


def ptbxl_like(seed: int) -> Drawn:
    """17,400 and 2,203 records with 71 labels whose frequencies fall from .44 to one in a thousand."""
    rng = np.random.default_rng(seed)
    y = (rng.random((19_603, 71)) < np.geomspace(0.44, 0.001, 71)).astype(np.uint8)
    return draw(rng, y, 71, 17_400, 512, 17_000)


def mitbih_like(seed: int) -> Drawn:
    """36,000 and 49,700 beats of 44 patients in five classes."""
    rng = np.random.default_rng(seed)
    y = rng.choice(5, 85_700, p=[0.895, 0.028, 0.068, 0.0085, 0.0005])
    return draw(rng, y, 5, 36_000, 651, 44)


def problems_of(drawn: Drawn) -> list[Problem]:
    """One for each budget and seed."""
    cells = [(budget, seed) for budget in BUDGETS for seed in range(SEEDS)]
    index = [LabelBudget(budget).draw(drawn.y, drawn.patient, drawn.classes, seed) for budget, seed in cells]
    return [Problem(each, drawn.y[each], drawn.patient[each], len(drawn.classes), seed)
            for each, (_, seed) in zip(index, cells, strict=True)]  # fmt: skip


class Clock:
    """Adds up seconds of the clock and of the processor."""

    def __init__(self) -> None:
        self.wall = self.processor = 0.0

    def __call__(self, work: Callable[[], Any]) -> Any:
        """Do the work."""
        wall, processor = perf_counter(), process_time()
        done = work()
        self.wall, self.processor = self.wall + perf_counter() - wall, self.processor + process_time() - processor
        return done

    def __str__(self) -> str:
        return f"{self.wall:.2f} s ({self.processor:.2f} s)"


def by_scikit_learn(x: Array, problem: Problem) -> None:
    """A linear probe as `LinearProbe` makes one, with scikit-learn's folds and solver, in the same space."""
    x, y = np.linalg.qr(x.T.astype(np.float64))[1].T, problem.y
    kind, single = (StratifiedGroupKFold, True) if y.ndim == 1 else (GroupKFold, False)
    folds = min(FOLDS, int(np.bincount(y).max())) if single else FOLDS
    parts = kind(folds, shuffle=True, random_state=problem.seed).split(x, y, problem.patient)
    fits = [(rows, strength, 1e-4) for rows, _ in parts for strength in STRENGTHS]
    for rows, strength, tolerance in [*fits, (np.arange(len(y)), STRENGTHS[1], 1e-7)]:
        for target in [y] if single else y.T:
            if len(np.unique(target[rows])) > 1:
                LogisticRegression(C=strength, max_iter=300, tol=tolerance).fit(x[rows], target[rows])


def row(name: str, drawn: list[Drawn], method: FrozenMethod) -> str:
    """Solve, predict and score every cell of a method."""
    solving, predicting, scoring = Clock(), Clock(), Clock()
    for each in drawn:
        space = cast(FeatureSpace, SimpleNamespace(train=each.train))
        problems = problems_of(each)
        classifiers = solving(lambda: method.solve(space, problems))  # noqa: B023
        for classifier in classifiers:
            p = predicting(lambda: classifier(each.test))  # noqa: B023
            scoring(lambda: score(each.truth, p, each.classes, each.test_patient, resamples=0))  # noqa: B023
    return f"| {name}, {len(drawn) * len(problems)} cells | {solving} | {predicting} | {scoring} |"


def ratio(drawn: Drawn) -> str:
    """Of the linear probe to scikit-learn, on some of the problems, one thread each."""
    some = [problem for problem in problems_of(drawn) if problem.seed < COMPARED]
    space, threads = cast(FeatureSpace, SimpleNamespace(train=drawn.train)), torch.get_num_threads()
    torch.set_num_threads(1)
    ours, theirs = Clock(), Clock()
    for problem in some:
        ours(lambda: LinearProbe().solve(space, [problem]))  # noqa: B023
        theirs(lambda: by_scikit_learn(drawn.train[problem.index], problem))  # noqa: B023
    torch.set_num_threads(threads)
    times = f"{theirs.processor / ours.processor:.0f} x as fast"
    return f"| linear, {len(some)} cells, one thread | {ours} | scikit-learn: {theirs} | {times} |"


def main() -> None:
    warnings.simplefilter("ignore")
    print(f"`python benchmarks/fewshot.py`, commit {commit()}, {device()}")
    for name, make in {"PTB-XL's size, 71 labels": ptbxl_like, "MIT-BIH's size, 5 classes": mitbih_like}.items():
        drawn = [make(seed) for seed in range(FEATURE_SETS)]
        print(f"\n| {name} | solve | predict | score |\n|---|---|---|---|", flush=True)
        for title, method in METHODS.items():
            print(row(title, drawn, method), flush=True)
        for title, method in BESIDE.items():
            print(row(title, drawn[:1], method), flush=True)
        print(ratio(drawn[0]), flush=True)


if __name__ == "__main__":
    main()
