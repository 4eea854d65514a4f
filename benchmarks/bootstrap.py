"""How much faster all resamples at once are than one scikit-learn call for each.

Ours is the whole of `score`: drawing, every metric, intervals. The loop is given its resamples and computes AUROC and
average precision alone; a few of its resamples are timed, compared with ours, and the rest extrapolated.

    python benchmarks/bootstrap.py
"""

from __future__ import annotations

import warnings
from time import perf_counter

import numpy as np
from sklearn.metrics import average_precision_score, roc_auc_score

from ecg_lightning.evaluation.bootstrap import Samples
from ecg_lightning.evaluation.metrics import Array, score
from ecg_lightning.evaluation.ranking import weighted_ranking

RESAMPLES = 1000
TIMED = 3


def ptbxl_like(rng: np.random.Generator) -> tuple[Array, Array, Array]:
    """2,203 records, each a group, with 71 labels whose frequencies fall from one half to one in a thousand."""
    y_NC = rng.random((2203, 71)) < np.geomspace(0.5, 0.001, 71)
    y_NC[rng.integers(2203, size=71), np.arange(71)] = True
    logit_NC = rng.normal(size=y_NC.shape) + 2 * y_NC - 2
    return y_NC, 1 / (1 + np.exp(-logit_NC)), np.arange(len(y_NC))


def mitbih_like(rng: np.random.Generator) -> tuple[Array, Array, Array]:
    """49,700 beats of 22 patients in four classes."""
    y_N = rng.choice(4, 49_700, p=[0.89, 0.037, 0.065, 0.008])
    probability_NC = np.exp(rng.normal(size=(len(y_N), 4)) + 2 * np.eye(4)[y_N])
    return y_N, probability_NC / probability_NC.sum(1, keepdims=True), rng.integers(22, size=len(y_N))


def seconds_of_score(y: Array, probability: Array, groups: Array, resamples: int) -> float:
    """Best of three."""
    classes = [str(c) for c in range(probability.shape[1])]
    times = []
    for _ in range(3):
        start = perf_counter()
        score(y, probability, classes, groups, resamples=resamples)
        times.append(perf_counter() - start)
    return min(times)


def loop(y: Array, probability: Array, groups: Array, rng: np.random.Generator) -> tuple[float, float]:
    """Seconds, extrapolated from the fastest of `TIMED` resamples, and how far at most its values are from ours.

    A class that a resample loses is as quick as any, and is not compared.
    """
    truth_NC = y if y.ndim == 2 else np.eye(probability.shape[1], dtype=bool)[y]
    people = groups.max() + 1
    times, differences = [], []
    for _ in range(TIMED):
        counts = np.bincount(rng.integers(people, size=people), minlength=people)
        rows = np.repeat(np.arange(len(y)), counts[groups])
        truth, predicted = truth_NC[rows], probability[rows]
        start = perf_counter()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            theirs = [
                roc_auc_score(truth, predicted, average=None),
                average_precision_score(truth, predicted, average=None),
            ]
        times.append(perf_counter() - start)
        ours = weighted_ranking(truth_NC, probability, Samples(groups, counts[None].astype(float)))
        kept = truth.any(axis=0)
        differences.append(np.abs(np.concatenate(ours) - theirs)[:, kept].max())
    return RESAMPLES * min(times), max(differences)


def main() -> None:
    print(f"| {RESAMPLES} resamples | score | scikit-learn loop | ratio | largest difference |\n|---|---|---|---|---|")
    cases = {"2,203 records, 71 labels": ptbxl_like, "49,700 beats, 22 patients, 4 classes": mitbih_like}
    alone = []
    for name, case in cases.items():
        rng = np.random.default_rng(0)
        data = case(rng)
        none, few, many = (seconds_of_score(*data, resamples) for resamples in (0, 200, RESAMPLES))
        seconds, difference = loop(*data, rng)
        print(f"| {name} | {many:.2f} s | {seconds:.0f} s | {seconds / many:.0f} x | {difference:.0e} |")
        alone.append(f"| {name} | {1000 * none:.0f} ms | {1000 * few:.0f} ms |")
    print("\n| score | values alone | with 200 resamples |\n|---|---|---|", *alone, sep="\n")


if __name__ == "__main__":
    main()
