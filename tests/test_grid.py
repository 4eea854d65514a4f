"""`protocol=all`: many cells solved together are the very cells that they are one by one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from omegaconf import DictConfig

from ecg_lightning.assessment import assess
from ecg_lightning.errors import UserError
from ecg_lightning.grid import assess_grid
from ecg_lightning.question import results_folder
from ecg_lightning.results import cells, read_predictions, read_result, read_truth

SMALL = ("protocol=all", "protocol.seeds=2", "protocol.budgets=['10','0.5-of-all']", "resamples=50")


@pytest.fixture(scope="module")
def grid(evaluation: Callable[..., DictConfig], tmp_path_factory: pytest.TempPathFactory) -> DictConfig:
    """A finished grid."""
    config = evaluation("mitbih", "data.task=binary", f"results_dir={tmp_path_factory.mktemp('grid')}", *SMALL)
    assess_grid(config)
    return config


def test_a_grid_holds_every_method_on_every_feature_set_budget_and_seed(grid):
    results = [result for _, result in cells(results_folder(grid))]
    assert len(results) == 3 * 3 * 2 * 2
    assert all(result["status"] == "done" and not result["labels"]["read"] > result["labels"]["allowed"]
               for result in results)  # fmt: skip
    names = {result["protocol"] for result in results}
    assert names == {"linear", "random_encoder", "linear_classical", "knn", "knn_random", "knn_classical",
                     "prototype", "prototype_random", "prototype_classical"}  # fmt: skip


@pytest.mark.parametrize("protocol", ["linear", "knn", "prototype", "random_encoder"])
def test_a_cell_by_itself_is_the_cell_of_the_grid(grid, evaluation, tmp_path, protocol):
    own = ("data.task=binary", f"protocol={protocol}", "budget=10", "seed=1", "resamples=50", "protocol.beside=[]")
    alone = assess(evaluation("mitbih", *own, f"results_dir={tmp_path}"))
    together = results_folder(grid) / alone.name
    first, second = (read_predictions(folder) for folder in (alone, together))
    np.testing.assert_allclose(first.probability, second.probability, atol=1e-6)
    results = [read_result(folder) for folder in (alone, together)]
    for name in ("accuracy", "macro_f1", "macro_auroc"):
        assert results[0]["metrics"][name] == pytest.approx(results[1]["metrics"][name], abs=1e-3)
    assert results[0]["labels"] == results[1]["labels"]


def test_predictions_and_truth_say_what_the_result_says(grid):
    for folder, result in cells(results_folder(grid)):
        predictions, truth = read_predictions(folder), read_truth(folder.parent, result["truth"])
        assert len(predictions.probability) == len(truth.y) == len(truth.patient) == result["data"]["test_examples"]
        right = (predictions.probability.argmax(axis=1) == truth.y).mean()
        assert result["metrics"]["accuracy"]["value"] == pytest.approx(right)
        assert {len(values) for values in predictions.resampled.values()} <= {0, 50}


def test_a_finished_grid_is_not_solved_again(grid, monkeypatch):
    monkeypatch.setattr("ecg_lightning.evaluation.frozen.FrozenMethod.fit_all", None)
    assert len(assess_grid(grid)) == 36


@pytest.mark.parametrize(("override", "said"), [
    ("protocol.methods=[scratch]", "scratch"),
    ("protocol.methods=[lineer]", "lineer"),
    ("protocol.budgets=['ten']", "ten"),
    ("protocol.seeds=0", "protocol.seeds"),
    ("protocol.features=[]", "protocol.features"),
])  # fmt: skip
def test_what_cannot_be_a_grid_is_told_by_its_key(evaluation, tmp_path: Path, override, said):
    config = evaluation("mitbih", "data.task=binary", f"results_dir={tmp_path}", *SMALL, override)
    with pytest.raises(UserError, match=said):
        assess_grid(config)
