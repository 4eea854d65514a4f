"""Which methods are compared, on what, and the words for it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from ecg_lightning.reporting.comparison import compare_methods, sentences
from ecg_lightning.reporting.tables import flatten
from ecg_lightning.results import Predictions, cells, write_predictions, write_result

METRICS = ("accuracy", "balanced_accuracy", "macro_f1", "macro_auroc", "average_precision")
METHODS = {
    "linear": {"_target_": "LinearProbe", "features": "pretrained"},
    "random_encoder": {"_target_": "LinearProbe", "features": "random"},
    "knn": {"_target_": "Neighbours", "features": "pretrained"},
    "knn_random": {"_target_": "Neighbours", "features": "random"},
    "classical": {"_target_": "ExtraTrees", "features": "classical"},
    "finetune": {"_target_": "FineTune", "init": "pretrained", "steps": 3},
    "scratch": {"_target_": "FineTune", "init": "random", "steps": 3},
}
NOISE = np.array([0.010, -0.020, 0.025, 0.005, -0.010, 0.0])


def write(
    folder: Path,
    protocol: str,
    values: Any,
    budget: str = "10",
    digest: str = "a",
    model_seed: int | None = None,
    truth: str = "t",
) -> None:
    """A cell for each label seed, its metrics scattered over 200 resamples as all others' are."""
    scatter = np.random.default_rng(0).normal(scale=0.02, size=200)
    for seed, value in enumerate(values):
        cell = folder / f"{protocol}-{budget}-{digest}-{seed}-{model_seed}"
        resampled = scatter + (np.nan if value is None else value)
        write_predictions(cell, Predictions(np.zeros((3, 2)), {"macro_f1": resampled}))
        metrics = {name: {"value": value, "low": None, "high": None} for name in METRICS}
        write_result(cell, {
            "status": "done", "protocol": protocol, "budget": budget, "seed": seed, "multi_label": False,
            "model_seed": seed if model_seed is None else model_seed, "truth": truth, "collapsed": False,
            "metrics": metrics, "data": {"fingerprint": "f"},
            "encoder": {"objective": f"MAE{digest}", "digest": digest},
            "config": {"protocol": {"method": METHODS[protocol]}},
        })  # fmt: skip


def compared(folder: Path) -> pd.DataFrame:
    return compare_methods(flatten(cells(folder), folder), folder, "macro_f1")


@pytest.mark.parametrize(("shift", "word"), [(0.2, "beats"), (-0.2, "loses"), (0.0, "no difference shown")])
def test_the_paired_interval_decides_the_word(tmp_path: Path, shift: float, word: str) -> None:
    write(tmp_path, "classical", 0.4 + 4 * NOISE[:5])
    write(tmp_path, "linear", 0.4 + 4 * NOISE[:5] + shift + NOISE[:5])
    table = compared(tmp_path)
    difference = (shift + NOISE[:5]).mean()
    [row] = table.to_dict("records")
    assert row["difference"] == pytest.approx(difference) and row["seeds"] == 5 and row["over_patients"]
    assert row["high"] - row["low"] < 0.06, "the scatter over patients is the same in both and must not be counted"
    said = list(sentences(table, "macro_f1"))
    assert f"{word} at 10 labels ({difference:+.3f} [" in said[0]
    assert "macro F1" in said[-1] and "all 1 comparisons" in said[-1]


def test_pretrained_methods_are_asked_to_beat_their_own_kind_scratch_and_the_classical_baseline(tmp_path: Path) -> None:
    for protocol in METHODS:
        write(tmp_path, protocol, 0.4 + NOISE)
    pairs = {(row["method"], row["rival"]) for row in compared(tmp_path).to_dict("records")}
    rows = flatten(cells(tmp_path), tmp_path)
    names = dict(zip(rows["protocol"], rows["method"], strict=True))
    expected = {"linear": ["random_encoder"], "knn": ["knn_random"], "finetune": []}
    assert pairs == {
        (names[ours], names[rival]) for ours, own in expected.items() for rival in (*own, "scratch", "classical")
    }


def test_two_encoders_are_compared_with_one_another(tmp_path: Path) -> None:
    write(tmp_path, "linear", 0.4 + NOISE, digest="a")
    write(tmp_path, "linear", 0.7 + NOISE[::-1], digest="b")
    [row] = compared(tmp_path).to_dict("records")
    assert "MAEa" in row["method"] and "MAEb" in row["rival"] and row["verdict"] == "loses to"


def test_fewer_than_five_shared_seeds_say_nothing(tmp_path: Path) -> None:
    write(tmp_path, "linear", [0.5] * 5)
    write(tmp_path, "scratch", [0.1] * 4)
    assert compared(tmp_path).empty and list(sentences(compared(tmp_path), "macro_f1")) == []


def test_budgets_stand_in_order_and_undefined_values_are_left_out(tmp_path: Path) -> None:
    for budget in ("100", "10", "full"):
        write(tmp_path, "linear", [None, *(0.5 + NOISE)], budget)
        write(tmp_path, "random_encoder", [0.1] * 7, budget)
    table = compared(tmp_path)
    assert set(table["seeds"]) == {6}
    first, last = sentences(table, "macro_f1")
    assert last.startswith("differences")
    assert first.index("10 labels") < first.index("100 labels") < first.index("at full")


def test_model_seeds_are_averaged_within_their_label_seed(tmp_path: Path) -> None:
    for model_seed, shift in ((0, 0.1), (1, 0.3)):
        write(tmp_path, "linear", 0.4 + shift + NOISE, model_seed=model_seed)
        write(tmp_path, "scratch", 0.4 + NOISE, model_seed=model_seed)
    [row] = compared(tmp_path).to_dict("records")
    assert row["difference"] == pytest.approx(0.2) and row["seeds"] == 6


def test_cells_that_were_judged_by_other_truths_are_compared_over_seeds_alone(tmp_path: Path) -> None:
    write(tmp_path, "linear", 0.5 + NOISE)
    write(tmp_path, "scratch", 0.4 - NOISE, truth="other")
    assert not compared(tmp_path)["over_patients"].any()
