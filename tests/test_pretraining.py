"""Training as a whole: its files, its exact continuation, its end, its loggers; and what all objectives share."""

from __future__ import annotations

import math
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
import wandb
from conftest import PROJECT, Train
from lightning import Trainer
from omegaconf import OmegaConf
from torch import Tensor, nn
from torch.utils.data import DataLoader

from ecg_lightning import load_encoder
from ecg_lightning.data.windows import Batch
from ecg_lightning.encoders.checkpoint import read_checkpoint
from ecg_lightning.encoders.vit import ViT
from ecg_lightning.errors import UserError
from ecg_lightning.objectives.base import Objective, Verdict, parameter_groups, warmup_cosine
from ecg_lightning.objectives.mae import MAE
from ecg_lightning.signal import SignalSpec

SPEC = SignalSpec.of_seconds(100, ("II",), 1)
OBJECTIVES = sorted(path.stem for path in (PROJECT / "conf" / "objective").glob("*.yaml"))


def last(run_dir: Path) -> dict[str, Any]:
    state: dict[str, Any] = torch.load(run_dir / "checkpoints" / "last.ckpt", weights_only=True)
    return state


def same(a: Any, b: Any) -> bool:
    """Bit for bit, through containers."""
    if isinstance(a, Tensor):
        return torch.equal(a, b)
    if isinstance(a, Mapping):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(same, a, b))
    return bool(a == b)


# What every objective shares.


class Dice(Objective):
    """Throws one die a window and remembers the throws."""

    def __init__(self, **base: Any) -> None:
        super().__init__(ViT(SPEC, 8, 1, 2, 0.2), partial(torch.optim.SGD, lr=0.1), **base)
        self.thrown: list[list[float]] = []

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        throw = torch.rand(len(batch.x))
        self.thrown.append(throw.tolist())
        return {"loss": (self.encoder(batch.x).mean(dim=1) * throw).mean()}

    def verdict(self, metrics: Mapping[str, float]) -> Verdict:
        return Verdict(True, "")


class Still(Dice):
    """Throws none."""

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        return {"loss": self.encoder(batch.x).mean()}


BATCHES = DataLoader([Batch(torch.randn(4, 1, 100), torch.arange(4)) for _ in range(3)], batch_size=None)
SILENT = ("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary")
quiet = partial(Trainer, **dict.fromkeys(SILENT, False), accelerator="cpu")


def throws(disturb: int, accumulate: int = 1, **base: Any) -> list[list[float]]:
    dice = Dice(**base)
    torch.manual_seed(disturb)
    quiet(max_epochs=2, accumulate_grad_batches=accumulate).fit(dice, BATCHES)
    return dice.thrown


def test_randomness_of_a_training_step_is_that_of_its_seed_and_its_number() -> None:
    first = throws(disturb=1)
    assert throws(disturb=2) == first
    assert len({tuple(throw) for throw in first}) == 6, "each step throws anew"
    assert throws(disturb=1, seed=1)[0] != first[0]


def test_validation_throws_the_same_dice_every_time_and_leaves_others_alone() -> None:
    def state_after(objective: Objective, seed: int) -> Tensor:
        torch.manual_seed(seed)
        quiet().validate(objective, BATCHES, verbose=False)
        return torch.get_rng_state()

    dice = Dice()
    assert torch.equal(state_after(dice, 1), state_after(Still(), 1))
    state_after(dice, 2)
    assert dice.thrown[:3] == dice.thrown[3:] and dice.thrown[0] != dice.thrown[1]


def test_only_what_has_two_dimensions_decays() -> None:
    model = MAE(ViT(SPEC, 8, 1, 2, 0.2), 0.5, 8, 1, 2, optimizer=partial(torch.optim.SGD, lr=0.1))
    model.decoder.guess.bias.requires_grad_(False)
    decayed, spared = ({id(p) for p in group["params"]} for group in parameter_groups(model))
    assert [group.get("weight_decay") for group in parameter_groups(model)] == [None, 0.0]
    matrices = {id(m.weight) for m in model.modules() if isinstance(m, nn.Linear)}
    assert decayed == matrices
    assert spared == {id(p) for p in model.parameters() if p.requires_grad} - matrices
    assert id(model.decoder.mask_token) in spared and id(model.decoder.guess.bias) not in spared


def test_rate_rises_in_a_line_and_falls_as_a_cosine() -> None:
    factor = warmup_cosine(total=110, warmup=10)
    assert [factor(step) for step in range(11)] == pytest.approx([(step + 1) / 11 for step in range(11)])
    assert [factor(step) for step in (10, 35, 60, 85, 110)] == pytest.approx(
        [(1 + math.cos(math.pi * part)) / 2 for part in (0, 0.25, 0.5, 0.75, 1)]
    )
    assert factor(10_000) == 0 and warmup_cosine(0, 0)(0) == 1


def test_schedule_spans_the_optimiser_steps_under_accumulation() -> None:
    trainer = quiet(max_epochs=4, accumulate_grad_batches=2)
    trainer.fit(Dice(warmup=0.25), BATCHES)
    assert trainer.global_step == 8
    schedule = trainer.lr_scheduler_configs[0].scheduler
    assert schedule.last_epoch == 8 and schedule.get_last_lr() == pytest.approx([0, 0], abs=1e-9)
    assert schedule.lr_lambdas[0](2) == 1, "a quarter of the steps is warm-up"


# A run.


def test_a_run_leaves_the_encoder_and_all_that_made_it(finished_run: Path) -> None:
    config = OmegaConf.load(finished_run / "config.yaml")
    checkpoint = read_checkpoint(finished_run / "encoder.pt")
    training, log = checkpoint.training, pd.read_csv(next(finished_run.glob("csv/*/metrics.csv")))
    best = torch.load(finished_run / "checkpoints" / "best.ckpt", weights_only=True)
    assert (finished_run / "pictures" / "reconstruction.png").stat().st_size > 10_000

    weights = {key.removeprefix("encoder."): value for key, value in best["state_dict"].items() if "encoder." in key}
    assert same(dict(checkpoint.encoder.state_dict()), weights)
    assert training["config"] == OmegaConf.to_container(config) and "run_dir" not in config
    assert dict(checkpoint.config) == training["config"]["encoder"]
    assert training["objective"] == "MAE" and training["data"]["name"] == "synthetic" and training["commit"]
    assert len(training["data"]["patients"]) == len(set(training["data"]["patients"])) > 30

    validations = log.dropna(subset=["val/loss"]).reset_index()
    assert len(validations) == 6 and "train/relative_error" in log
    assert training["epoch"] == validations["val/loss"].idxmin() == best["epoch"]
    figures = {key: value for key, value in training["metrics"].items() if key.startswith("val/")}
    assert {"val/loss", "val/effective_rank", "val/probe_auroc", "val/knn_auroc"} <= figures.keys()
    for key, value in figures.items():
        assert value == pytest.approx(validations[key][training["epoch"]], rel=1e-5), "figures of the exported epoch"
    assert training["learned"] == (training["metrics"]["val/relative_error"] < 0.97)
    rates = log.filter(like="lr-AdamW").iloc[:, 0].dropna()
    assert 0 < rates.min() < rates.max() <= config.optimizer.lr


def test_a_finished_run_is_not_trained_again(finished_run: Path, train: Train, caplog: Any) -> None:
    files = {path: path.stat().st_mtime_ns for path in finished_run.rglob("*") if path.is_file()}
    with caplog.at_level("INFO"):
        assert train(finished_run) == finished_run / "encoder.pt"
    assert "this run is finished" in caplog.text and "run_dir" in caplog.text
    assert {path: path.stat().st_mtime_ns for path in finished_run.rglob("*") if path.is_file()} == files


def test_a_directory_with_another_run_is_refused_by_the_keys_that_differ(finished_run: Path, train: Train) -> None:
    before = (finished_run / "config.yaml").read_text()
    with pytest.raises(UserError, match=r"another data\.seed, objective\.mask_ratio, .*, seed; .*another run_dir"):
        train(finished_run, "seed=1", "objective.mask_ratio=0.9", "optimizer.lr=0.1")
    elsewhere = train(finished_run, "logger=wandb", "logger.wandb.offline=true", "cache_dir=elsewhere")
    assert elsewhere == finished_run / "encoder.pt", "who logs and where the cache lies is no other run"
    assert (finished_run / "config.yaml").read_text() == before


def test_a_run_that_learns_nothing_says_so_and_stops_early(train: Train, tmp_path: Path, caplog: Any) -> None:
    encoder = train(tmp_path, "optimizer.lr=0", "early_stop=5", "trainer.max_epochs=50")
    warnings = [record.message for record in caplog.records if "has learned nothing" in record.message]
    assert [message.split(":")[0] for message in warnings] == ["After 5 epochs", "This run has learned nothing"]
    stopped, training = last(tmp_path), read_checkpoint(encoder).training
    assert stopped["epoch"] == 5 and not training["learned"] and training["epoch"] == 0
    state = next(state for key, state in stopped["callbacks"].items() if key.startswith("EarlyStop"))
    assert state["wait_count"] == 5

    written = encoder.read_bytes()
    encoder.unlink()  # as if killed after the last epoch, before the encoder was written
    assert train(tmp_path, "optimizer.lr=0", "early_stop=5", "trainer.max_epochs=50").read_bytes() == written
    assert last(tmp_path)["global_step"] == stopped["global_step"]


def test_a_run_without_a_validation_ends_in_words(train: Train, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"before its first validation; raise trainer\.max_epochs or .*max_steps"):
        train(tmp_path, "trainer.max_steps=1")
    assert not (tmp_path / "encoder.pt").exists()


@pytest.mark.parametrize(
    "wrong", ["seed=x", "seed=-1", "early_stop=0", "early_stop=soon", "seed=null", "seed=true", "seed=4294967296"]
)
def test_a_number_out_of_range_is_refused_before_the_work(wrong: str, train: Train, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=f"{wrong.split('=', maxsplit=1)[0]}=.* must be a whole number"):
        train(tmp_path / "run", wrong)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ("objective.mask_ratio=2", r"objective\.mask_ratio=2 must lie"),
        ("objective.mask_ratio=most", r"objective\.mask_ratio='most' must be a number"),
        ("objective.warmup=2", r"objective\.warmup=2 must lie between 0 and 1"),
        ("objective.decoder_heads=5", r"objective\.decoder_dim=32 is no multiple of objective\.decoder_heads=5"),
        ("objective.decoder_depth=0", r"objective\.decoder_depth=0 must be at least 1"),
        ("+encoder.wings=2", r"encoder \(ecg_lightning\.encoders\.vit\.ViT\) does not fit: .*'wings'"),
        ("encoder.heads=0", r"encoder\.heads=0 must be at least 1"),
        ("encoder.patch_seconds=0", r"encoder\.patch_seconds=0 must be above 0"),
        ("encoder.patch_seconds=0.3", r"no whole number of patches.*encoder\.patch_seconds"),
        ("trainer.accelerator=abacus", r"trainer \(lightning\.Trainer\) does not fit: .*abacus"),
        ("trainer.max_epochs=abc", r"trainer\.max_epochs='abc' must be a whole number or null"),
        ("trainer.accumulate_grad_batches=0", r"trainer\.accumulate_grad_batches=0 must be a whole number, 1 or"),
        ("trainer.log_every_n_steps=x", r"trainer\.log_every_n_steps='x' must be a whole number"),
        ("trainer.check_val_every_n_epoch=9", r"trainer\.max_epochs=6 ends before .*check_val_every_n_epoch=9"),
        ("data.batch_size=1.5", r"data\.batch_size=1\.5 must be a whole number"),
        ("data.seed=-1", r"data\.seed=-1 must be"),
        ("data.spec.fs=x", r"data\.spec\.fs='x' must be a number"),
        ("trainer.max_epochs=-1", r"trainer\.max_epochs=-1 has no end, .* give trainer\.max_steps"),
        ("encoder._target_=os.nothing", r"encoder \(os\.nothing\) does not fit: .*nothing"),
        ("data.spec=null", r"data\.spec is None; it must be"),
        ("optimizer.lr=abc", r"optimizer\.lr='abc' must be a number"),
        ("optimizer.lr=-1", r"optimizer \(torch\.optim\.AdamW\) does not fit: Invalid learning rate: -1"),
        ("optimizer.betas=[0.9]", r"optimizer\.betas=\[0\.9\] must be a list of 2"),
    ],
)
def test_a_configuration_that_does_not_fit_is_refused_by_name(
    wrong: str, named: str, train: Train, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=named):
        train(tmp_path, wrong, f"cache_dir={tmp_path / 'cache'}")
    assert not (tmp_path / "cache").exists(), "refused before the recordings are prepared"


@pytest.mark.parametrize("data", ["synthetic", "mitbih"])
@pytest.mark.parametrize("objective", OBJECTIVES)
def test_every_objective_runs_on_both_kinds_of_data(objective: str, data: str, train: Train, tmp_path: Path) -> None:
    encoder = load_encoder(train(tmp_path, "trainer.max_epochs=1", data=data, objective=objective))
    assert len(encoder.spec.leads) == {"synthetic": 12, "mitbih": 2}[data]
    assert encoder(torch.randn(2, len(encoder.spec.leads), encoder.spec.samples)).shape == (2, 32)


KILLED = """
import os, runpy, signal, sys
from ecg_lightning.objectives.base import Objective

def on_train_batch_end(self, outputs, batch, batch_idx):
    if (self.current_epoch, batch_idx) == (3, 1):
        os.kill(os.getpid(), signal.SIGKILL)

Objective.on_train_batch_end = on_train_batch_end
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def test_a_killed_run_continues_to_the_very_same_weights(
    train: Train, tiny: Callable[[str], list[str]], finished_run: Path, tmp_path: Path
) -> None:
    """Against one that was never interrupted: weights, moments, schedule, early stop, the best epoch."""
    command = [str(PROJECT / "train.py"), *tiny("synthetic"), f"run_dir={tmp_path / 'run'}"]
    environment = os.environ | {"OMP_NUM_THREADS": str(torch.get_num_threads())}
    start = partial(subprocess.run, check=False, cwd=tmp_path, env=environment, capture_output=True, text=True)
    killed = start([sys.executable, "-c", f"import sys\nsys.argv = {command}\n{KILLED}"])
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert last(tmp_path / "run")["epoch"] == 2 and not (tmp_path / "run" / "encoder.pt").exists()

    again = start([sys.executable, *command])
    assert again.returncode == 0 and "continuing from" in again.stderr, again.stderr
    interrupted, straight = last(tmp_path / "run"), last(finished_run)
    for key in ("state_dict", "optimizer_states", "lr_schedulers", "global_step", "epoch", "validation_metrics"):
        assert same(interrupted[key], straight[key]), key
    stop = next(key for key in straight["callbacks"] if key.startswith("EarlyStop"))
    assert same(interrupted["callbacks"][stop], straight["callbacks"][stop])
    ours, theirs = (read_checkpoint(folder / "encoder.pt") for folder in (tmp_path / "run", finished_run))
    assert ours.digest == theirs.digest
    assert {**ours.training, "commit": ""} == {**theirs.training, "commit": ""}


def test_a_run_that_was_moved_continues_as_if_it_had_not_been(
    train: Train, finished_run: Path, tmp_path: Path, monkeypatch: Any
) -> None:
    def fail(self: Objective, outputs: Any, batch: Any, batch_idx: int) -> None:
        if (self.current_epoch, batch_idx) == (3, 1):
            raise RuntimeError("power cut")

    with monkeypatch.context() as patched, pytest.raises(RuntimeError, match="power cut"):
        patched.setattr(Objective, "on_train_batch_end", fail, raising=False)
        train(tmp_path / "here")
    (tmp_path / "here").rename(tmp_path / "there")
    ours, theirs = (read_checkpoint(train(folder)) for folder in (tmp_path / "there", finished_run))
    assert ours.digest == theirs.digest and ours.training["epoch"] == theirs.training["epoch"]

    def states(run_dir: Path) -> list[Any]:
        kept = [state for key, state in last(run_dir)["callbacks"].items() if key.startswith("Checkpoint")]
        return [(state["best_model_score"], Path(state["best_model_path"]).name) for state in kept]

    assert states(tmp_path / "there") == states(finished_run)
    tables = [list(folder.glob("csv/*/metrics.csv")) for folder in (tmp_path / "there", finished_run)]
    assert len(tables[0]) == 1, "one table for the whole run"
    pd.testing.assert_frame_equal(*(pd.read_csv(table) for (table,) in tables))


@pytest.mark.parametrize("objective", ["byol", "jepa", "swav", "transformation"])
def test_teachers_views_and_kinds_continue_as_if_nothing_had_been(
    objective: str, train: Train, tmp_path: Path, monkeypatch: Any
) -> None:
    def fail(self: Objective, outputs: Any, batch: Any, batch_idx: int) -> None:
        if (self.current_epoch, batch_idx) == (2, 1):
            raise RuntimeError("power cut")

    words = partial(train, objective=objective)
    with monkeypatch.context() as patched, pytest.raises(RuntimeError, match="power cut"):
        patched.setattr(Objective, "on_train_batch_end", fail, raising=False)
        words(tmp_path / "cut", "trainer.max_epochs=3")
    for folder in ("cut", "straight"):
        words(tmp_path / folder, "trainer.max_epochs=3")
    for key in ("state_dict", "optimizer_states", "lr_schedulers", "validation_metrics"):
        assert same(last(tmp_path / "cut")[key], last(tmp_path / "straight")[key]), key


def test_two_runs_of_one_process_are_two_runs_of_wandb(train: Train, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setenv("WANDB_SILENT", "true")
    ids = []
    for name in ("a", "b"):
        train(tmp_path / name, "logger=wandb", "logger.wandb.offline=true", "trainer.max_epochs=1")
        ids.append((tmp_path / name / "wandb_id").read_text())
        (offline,) = (tmp_path / name / "wandb").glob("offline-run-*")
        assert offline.name.endswith(f"-{ids[-1]}") and list(offline.rglob("reconstruction*.png"))
        assert list((tmp_path / name).glob("csv/*/metrics.csv")), "the CSV is written all the same"
    assert ids[0] != ids[1] and wandb.run is None, "finished"

    (tmp_path / "a" / "encoder.pt").unlink()
    train(tmp_path / "a", "logger=wandb", "logger.wandb.offline=true", "trainer.max_epochs=1")
    assert (tmp_path / "a" / "wandb_id").read_text() == ids[0], "a continued run keeps its id"
    wandb.teardown()  # until then the service may still be writing
    for each in ids:
        files = tmp_path.glob(f"*/wandb/offline-run-*/run-{each}.wandb")
        assert b"val/relative_error" in b"".join(path.read_bytes() for path in files)
