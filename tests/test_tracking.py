"""What W&B is told: read back from the files of offline runs, which hold what an online one would send."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import wandb
from conftest import PROJECT, Train
from lightning.pytorch.utilities import rank_zero_only
from matplotlib.image import imsave
from omegaconf import DictConfig, OmegaConf
from wandb_file import RunFile

from ecg_lightning.assessment import assess
from ecg_lightning.encoders.checkpoint import read_checkpoint
from ecg_lightning.errors import UserError
from ecg_lightning.followed import follow_sweep, followed
from ecg_lightning.grid import assess_grid
from ecg_lightning.job import Job
from ecg_lightning.objectives.base import Objective
from ecg_lightning.precheck import check_training
from ecg_lightning.question import results_folder
from ecg_lightning.reporting.sweep import summarise_sweep
from ecg_lightning.results import read_result
from ecg_lightning.tracking.findings import figures
from ecg_lightning.tracking.naming import short, swept
from ecg_lightning.tracking.wandb_run import WandB, runs

OFFLINE = ("logger=wandb", "logger.wandb.offline=true")


@pytest.fixture(scope="module", autouse=True)
def nothing_is_left() -> Iterator[None]:
    yield
    assert wandb.run is None


@pytest.fixture(scope="module")
def sweep(tiny: Callable[..., list[str]], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """Where a sweep of two trainings ran, of which the second fails, and what it printed."""
    folder = tmp_path_factory.mktemp("sweep")
    words = [*tiny("synthetic"), *OFFLINE, "trainer.max_epochs=2", "trainer.max_steps=-1,1", "seed=3"]
    said = subprocess.run(
        [sys.executable, str(PROJECT / "train.py"), "-m", *words],
        cwd=folder, env={**os.environ, "PYTHONPATH": str(PROJECT)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert said.returncode == 1, said.stderr
    return folder, said.stdout + said.stderr


@pytest.fixture(scope="module")
def trainings(sweep: tuple[Path, str]) -> list[RunFile]:
    """The run that learned, and the one that failed."""
    folders = [path.parent for path in sweep[0].glob("runs/mae-synthetic/*/wandb_id")]
    return sorted((RunFile(folder) for folder in folders), key=lambda run: run.exit_code)


def test_runs_of_a_sweep_are_a_group_and_are_called_after_what_sets_them_apart(
    sweep: tuple[Path, str], trainings: list[RunFile]
) -> None:
    (folder,) = (sweep[0] / "runs" / "sweeps").iterdir()
    assert {run.run.run_group for run in trainings} == {folder.name}
    assert [run.run.display_name for run in trainings] == ["max_steps-1", "max_steps1"]
    assert {run.run.job_type for run in trainings} == {"pretrain"}
    assert {run.run.project for run in trainings} == {"ecg_lightning"}
    assert all(list(run.run.tags) == ["mae", "vit", "synthetic"] for run in trainings)


def test_a_failed_run_says_so_and_the_next_one_is_another(trainings: list[RunFile]) -> None:
    assert [run.exit_code for run in trainings] == [0, 1]
    assert "before its first validation" in trainings[1].summary["error"]
    assert trainings[0].run.run_id != trainings[1].run.run_id


def test_wandb_leaves_the_terminal_alone(sweep: tuple[Path, str]) -> None:
    lines = sweep[1].splitlines()
    assert not [line for line in lines if line.startswith("wandb:")]
    assert sum("wandb sync" in line for line in lines) == 2, "one line a run"


def test_the_configuration_is_plain_and_nested(trainings: list[RunFile]) -> None:
    config = trainings[0].config
    assert config["encoder"]["dim"] == 32 and config["trainer"]["max_steps"] == -1 and config["seed"] == 3
    assert not [key for key in config if "." in key or "/" in key] and "logger" not in config


def test_figures_run_over_the_steps_and_the_summary_tells_of_the_best(trainings: list[RunFile]) -> None:
    run = trainings[0]
    assert run.metrics["train/*"].step_metric == run.metrics["val/*"].step_metric == "trainer/global_step"
    assert run.metrics["val/loss"].summary.min and run.metrics["val/probe_auroc"].summary.max
    losses = [entry["val/loss"] for entry in run.history if "val/loss" in entry]
    assert len(losses) == 2 and run.summary["val/loss"] == {"min": pytest.approx(min(losses))}
    assert all("trainer/global_step" in entry for entry in run.history)


def test_each_validation_has_a_histogram_of_the_features_and_of_every_part_of_the_encoder(
    trainings: list[RunFile], sweep: tuple[Path, str]
) -> None:
    (path,) = sweep[0].glob("runs/mae-synthetic/*/encoder.pt")
    parameters = dict(read_checkpoint(path).encoder.named_parameters())
    parts = {name.partition(".")[0] for name in parameters}
    drawn = [entry for entry in trainings[0].history if "histograms/features" in entry]
    assert len(drawn) == 2
    for part in parts:
        size = sum(p.numel() for name, p in parameters.items() if name.partition(".")[0] == part)
        assert all(sum(entry[f"histograms/weights/{part}"]["values"]) == size for entry in drawn)
        assert drawn[0]["histograms/features"]["_type"] == "histogram"


def test_the_reconstruction_is_a_picture_at_its_step(trainings: list[RunFile]) -> None:
    run = trainings[0]
    (entry,) = [entry for entry in run.history if "reconstruction" in entry]
    (name,) = entry["reconstruction"]["filenames"]
    assert (run.folder / "files" / name).stat().st_size > 0 and entry["trainer/global_step"] == 6


@pytest.fixture(scope="module")
def cell(evaluation: Callable[..., DictConfig], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, RunFile]:
    """A cell under stress with two pictures, evaluated by itself, followed twice, and the one run there is of it."""
    words = ("protocol.beside=[]", "resamples=50", "budget=25", "robustness=leads", "data.task=binary")
    config = evaluation("mitbih", *words, f"results_dir={tmp_path_factory.mktemp('cell')}", *OFFLINE)

    def answer() -> Path:
        where = assess(config)
        (where / "pictures").mkdir(exist_ok=True)
        for name in ("confusion", "confusion-dark"):
            imsave(where / "pictures" / f"{name}.png", np.zeros((4, 4)))
        return where

    where = answer()
    for _ in range(2):
        assert followed(config, answer) == where
    return where, RunFile(where)


def test_a_cell_evaluated_twice_is_one_run(cell: tuple[Path, RunFile]) -> None:
    folder, run = cell
    assert run.exit_code == 0 and run.run.run_id == (folder / "wandb_id").read_text()
    assert (run.run.job_type, run.run.run_group) == ("evaluate", "")
    assert run.run.display_name == "mae-linear-mitbih-leads-25-s0"
    assert list(run.run.tags) == ["mae", "linear", "mitbih", "leads"]
    config = run.config
    assert config["budget"]["total"] == 25 and config["encoder"]["objective"] == "MAE" and "beside" not in config
    result = read_result(folder)
    assert result is not None and "logger" not in result["config"]


def test_a_cells_figures_are_its_results(cell: tuple[Path, RunFile]) -> None:
    folder, run = cell
    result = read_result(folder)
    assert result is not None
    for name in ("macro_auroc", "macro_f1", "accuracy"):
        for end, key in (("", "value"), ("_low", "low"), ("_high", "high")):
            assert run.metrics[f"test/{name}{end}"].options.defined
            found = result["metrics"][name][key]
            assert run.summary.get(f"test/{name}{end}") == (None if found is None else pytest.approx(found))
    assert result["metrics"]["macro_f1"]["value"] is not None
    assert run.summary["labels"] == result["labels"]["allowed"] == 25
    assert run.summary["cost/seconds"] == pytest.approx(result["seconds"])


def test_an_interval_is_told_beside_its_value_and_what_is_undefined_is_left_out() -> None:
    metrics = {"macro_f1": {"value": 0.5, "low": 0.4, "high": 0.6}, "macro_auroc": {"value": 0.7, "low": None,
               "high": None}, "f1/F": {"value": None, "low": None, "high": None}, "undefined": ["f1/F"]}  # fmt: skip
    result = {"metrics": metrics, "labels": {"allowed": 10}, "seconds": 2.5, "peak_memory_mb": 300}
    assert dict(figures(result)) == {
        "test/macro_f1": 0.5, "test/macro_f1_low": 0.4, "test/macro_f1_high": 0.6, "test/macro_auroc": 0.7,
        "labels": 10, "cost/seconds": 2.5, "cost/peak_memory_mb": 300,
    }  # fmt: skip


def test_a_stress_is_drawn_over_its_levels(cell: tuple[Path, RunFile]) -> None:
    folder, run = cell
    result = read_result(folder)
    assert result is not None and run.metrics["robustness/macro_f1"].step_metric == "robustness/level"
    drawn = [(entry["robustness/level"], entry["robustness/macro_f1"]) for entry in run.history
             if "robustness/level" in entry]  # fmt: skip
    levels = result["robustness"]["levels"]
    assert drawn == [(each["level"], pytest.approx(each["metrics"]["macro_f1"]["value"])) for each in levels]


def test_a_cells_pictures_are_media_and_part_of_its_result(cell: tuple[Path, RunFile]) -> None:
    _, run = cell
    assert {key for key in run.keys if key.startswith("pictures/")} == {"pictures/confusion"}
    (result,) = [each for each in run.artifacts if each.type == "result"]
    assert {entry.path for entry in result.manifest.contents} == {"result.json", "pictures/confusion.png"}


def test_an_evaluation_uses_the_very_encoder_that_a_training_made(
    sweep: tuple[Path, str], trainings: list[RunFile], evaluation: Callable[..., DictConfig], tmp_path: Path
) -> None:
    (path,) = sweep[0].glob("runs/mae-synthetic/*/encoder.pt")
    words = (f"checkpoint={path}", "protocol.beside=[]", "resamples=0", "budget=10", f"results_dir={tmp_path}")
    config = evaluation("ptbxl", *words, *OFFLINE, "allow_seen_patients=true")
    folder = followed(config, lambda: assess(config))
    assert isinstance(folder, Path)
    (made,) = trainings[0].artifacts
    used = next(each for each in RunFile(folder).artifacts if each.type == "encoder")
    assert (made.name, made.type, made.digest) == (used.name, used.type, used.digest)
    assert used.use_after_commit and not made.use_after_commit
    checkpoint = read_checkpoint(path)
    assert checkpoint.digest in made.aliases and checkpoint.digest in used.aliases
    told = OmegaConf.create(made.metadata)
    assert (told.objective, told.data, told.digest) == ("MAE", "synthetic", checkpoint.digest)
    assert told.fingerprint == checkpoint.training["data"]["fingerprint"]
    assert told.verdict == checkpoint.training["verdict"]
    assert not trainings[1].artifacts


@pytest.fixture(scope="module")
def grid(evaluation: Callable[..., DictConfig], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, RunFile]:
    """A grid of twelve cells, and the one run there is of it."""
    words = ("protocol=all", "protocol.methods=[knn,prototype]", "protocol.features=[pretrained]", "protocol.seeds=3")
    where = f"results_dir={tmp_path_factory.mktemp('grid')}"
    config = evaluation("ptbxl", *words, "protocol.budgets=['10','20']", "resamples=0", where, *OFFLINE)
    folder = results_folder(config)

    def answer() -> None:
        assess_grid(config)
        summarise_sweep(folder)

    followed(config, answer)
    return folder, RunFile(folder / "wandb-all")


def rows(run: RunFile, name: str) -> dict[str, Any]:
    """A table, as W&B keeps it."""
    (entry,) = [entry[name] for entry in run.history if name in entry]
    table: dict[str, Any] = OmegaConf.to_container(OmegaConf.load(run.folder / "files" / entry["path"]))  # type: ignore
    return table


def test_a_grid_is_one_run_with_a_row_for_each_cell_and_the_curve(grid: tuple[Path, RunFile]) -> None:
    folder, run = grid
    table = rows(run, "cells")
    at = table["columns"].index("cell")
    assert {row[at] for row in table["data"]} == {path.parent.name for path in folder.glob("*/result.json")}
    assert len(table["data"]) == 12 and len(rows(run, "methods")["data"]) == 4
    assert "label_efficiency" in run.keys and run.run.display_name == "mae-all-ptbxl"
    assert not list(folder.glob("*/wandb_id"))[1:], "none for its cells"
    (result,) = [each for each in run.artifacts if each.type == "result"]
    assert sum(entry.path.endswith("result.json") for entry in result.manifest.contents) == 12


def test_a_sweep_ends_with_a_run_that_holds_its_table(grid: tuple[Path, RunFile], tmp_path: Path) -> None:
    logger = {"_target_": "ecg_lightning.tracking.wandb_run.WandB", "project": "ecg_lightning", "offline": True}
    hydra = {"sweep": {"dir": str(tmp_path / "evaluate-12")}, "overrides": {"task": ["budget=10,20"]}}
    follow_sweep(OmegaConf.create({"logger": {"wandb": logger}, "hydra": hydra}), [grid[0]])
    run = RunFile(tmp_path / "evaluate-12" / "tables" / grid[0].name)
    assert run.run.run_group == "evaluate-12" and len(rows(run, "cells")["data"]) == 12 and run.exit_code == 0


def test_an_interrupt_ends_the_run_as_failed(train: Train, tmp_path: Path, monkeypatch: Any) -> None:
    def interrupt(self: Objective, outputs: Any, batch: Any, batch_idx: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Objective, "on_train_batch_end", interrupt, raising=False)
    with pytest.raises(SystemExit):
        train(tmp_path, *OFFLINE)
    assert wandb.run is None and RunFile(tmp_path).exit_code == 1


def test_only_the_first_process_begins_a_run(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(rank_zero_only, "rank", 1)
    logger = WandB(str(tmp_path), "p", tmp_path / "wandb_id", offline=True)
    logger.log_metrics({"loss": 1.0})
    assert not list(runs([logger])) and not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("word", "name"),
    [("objective=mae", "mae"), ("seed=1", "s1"), ("optimizer.lr=0.001", "lr0.001"), ("+encoder.depth=3", "depth3"),
     ("budget='10'", "budget10"), ("early_stop=null", "early_stop-null"), ("data.spec.standardise=scale",
     "standardise-scale"), ("checkpoint=/x/runs/mae-ptbxl/3f/encoder.pt", "mae-ptbxl/3f"),
     ("data@learn_from=ptbxl", "ptbxl")],
)  # fmt: skip
def test_a_word_is_short_in_a_name(word: str, name: str) -> None:
    assert short(word) == name


def test_only_the_words_that_differ_are_in_a_name(tmp_path: Path) -> None:
    asked = ["objective=mae,cpc", "data=ptbxl", "'seed=range(0,2)'".strip("'"), "data.members=[a,b]"]
    account = {"hydra": {"overrides": {"task": asked}, "sweeper": {"params": {"optimizer.lr": "0.1,0.2"}}}}
    job = Job("train", tmp_path, 0, ("optimizer.lr=0.1", "objective=mae", "data=ptbxl", "seed=1", "data.members=[a,b]"))
    assert swept(job) == job.words, "where nothing is known"
    OmegaConf.save(OmegaConf.create(account), tmp_path / "multirun.yaml")
    assert "-".join(map(short, swept(job))) == "lr0.1-mae-s1"


def test_a_missing_package_or_account_is_told_before_the_work(train: Train, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    config = OmegaConf.create({"init": None, "seed": 0, "early_stop": None, "logger": {"tensorboard": {}}})
    with pytest.raises(UserError, match=r"ecg_lightning\[tensorboard\]"):
        check_training(config)
    config.logger = {"wandb": {"offline": False}}
    monkeypatch.delenv("WANDB_MODE", raising=False)

    def refuse() -> None:
        raise wandb.UsageError("No API key configured. Use `wandb login` to log in.")

    monkeypatch.setattr(wandb, "login", refuse)
    with pytest.raises(UserError, match=r"`wandb login`.*logger\.wandb\.offline=true"):
        check_training(config)


def test_evaluations_are_followed_by_wandb_alone(evaluation: Callable[..., DictConfig]) -> None:
    config = evaluation("ptbxl", "logger=csv")
    with pytest.raises(UserError, match="logger=wandb"):
        followed(config, lambda: assess(config))


def test_tensorboard_has_the_figures_and_the_picture_and_no_logger_changes_what_is_learned(
    train: Train, sweep: tuple[Path, str], tmp_path: Path
) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    made = train(tmp_path, "logger=tensorboard", "trainer.max_epochs=2", "seed=3")
    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    assert "val/loss" in events.Tags()["scalars"] and events.Tags()["images"] == ["reconstruction"]
    assert list(tmp_path.glob("csv/*/metrics.csv"))
    (followed_by_wandb,) = sweep[0].glob("runs/mae-synthetic/*/encoder.pt")
    assert read_checkpoint(made).digest == read_checkpoint(followed_by_wandb).digest
