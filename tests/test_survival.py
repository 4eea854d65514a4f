"""What ends a run, and that the same command then does the rest as if nothing had been."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from conftest import PROJECT, Train
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig
from starting import Started, is_there, results, times

from ecg_lightning import assessment
from ecg_lightning.assessment import assess
from ecg_lightning.checkpoint_io import checkpoint_to_continue
from ecg_lightning.data.store import Store
from ecg_lightning.encoders.checkpoint import read_checkpoint
from ecg_lightning.errors import UserError
from ecg_lightning.faults import told
from ecg_lightning.files import LEFT_BEHIND, alone_in, replacing
from ecg_lightning.interrupts import Stopped, interrupts_held, stopping_on_signals
from ecg_lightning.job import records
from ecg_lightning.metrics_log import MetricsLog
from ecg_lightning.objectives.base import Objective
from ecg_lightning.pretraining import run_folder
from ecg_lightning.question import cell_folder, open_setting

Tiny = Callable[..., list[str]]


# Files.


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "file"
    with replacing(path) as begun:
        begun.write_text("first")
        assert not path.exists()
    with pytest.raises(RuntimeError, match="power cut"), replacing(path) as begun:
        begun.write_text("half of the sec")
        raise RuntimeError("power cut")
    assert path.read_text() == "first" and [each.name for each in path.parent.iterdir()] == ["file"]


@pytest.mark.parametrize("alone", [True, False])
def test_what_killed_processes_left_behind_is_removed_when_nobody_can_be_writing_it(
    alone: bool, tmp_path: Path
) -> None:
    old, young, other = (tmp_path / f".{digit * 8}-{name}" for digit, name in zip("012", ("a", "a", "ba"), strict=True))
    for each in (old, young, other):
        each.write_text("half")
        os.utime(each, (0, time.time() - (0 if each is young else LEFT_BEHIND + 60)))
    with replacing(tmp_path / "a", alone=alone) as begun:
        begun.write_text("whole")
    assert [old.exists(), young.exists(), other.exists()] == [False, not alone, True]


def test_a_full_disk_is_told_by_the_name_of_the_file(tmp_path: Path) -> None:
    with pytest.raises(OSError) as caught, replacing(tmp_path / "last.ckpt"):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))  # as a write raises it, without a name
    assert told(caught.value).startswith(
        f"error: {tmp_path / 'last.ckpt'}: cannot be written (No space left on device)"
    )


def test_a_second_process_waits_for_the_first(tmp_path: Path) -> None:
    read, write = os.pipe()
    with alone_in(tmp_path):
        child = os.fork()
        if not child:
            with alone_in(tmp_path):
                os.write(write, b"in")
            os._exit(0)
        os.set_blocking(read, False)
        time.sleep(0.2)
        with pytest.raises(BlockingIOError):
            os.read(read, 2)
    assert os.waitpid(child, 0)[1] == 0 and os.read(read, 2) == b"in"


# Signals.


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGUSR1])
def test_a_signal_ends_a_process_with_the_code_that_shells_know(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    with pytest.raises(Stopped) as caught, stopping_on_signals():
        os.kill(os.getpid(), number)
        time.sleep(1)
    assert (caught.value.code, caught.value.signal) == (128 + number, number)
    assert signal.getsignal(number) is before


def test_a_held_signal_comes_as_the_one_that_it_is() -> None:
    with pytest.raises(Stopped) as caught, stopping_on_signals(), interrupts_held():
        os.kill(os.getpid(), signal.SIGTERM)
    assert caught.value.code == 143


def test_a_launchers_own_handler_stays() -> None:
    came: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, _: came.append(number))
    try:
        with stopping_on_signals():
            os.kill(os.getpid(), signal.SIGTERM)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert came == [signal.SIGTERM]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_training_ends_on_a_signal_and_keeps_its_checkpoint(
    number: signal.Signals, tiny: Tiny, tmp_path: Path
) -> None:
    run = Started(tmp_path, "train.py", *tiny("synthetic"), "run_dir=run", "trainer.max_epochs=100000")
    run.wait_for((tmp_path / "run" / "checkpoints" / "last.ckpt").exists)
    run.send(number)
    assert run.end(20) == 128 + number, run.told
    assert f"{number.name}: what is finished is kept; the same command does the rest" in run.told
    assert "Traceback" not in run.told
    assert checkpoint_to_continue(tmp_path / "run") == tmp_path / "run" / "checkpoints" / "last.ckpt"
    assert run.process.pid is not None and not is_there(run.process.pid)


def test_a_sweep_ends_on_a_signal_and_the_same_command_does_the_rest(
    tiny: Tiny, finished_run: Path, tmp_path: Path
) -> None:
    where = [word for word in tiny("synthetic") if word.startswith(("data", "cache_dir"))]
    words = ["-m", *where, f"checkpoint={finished_run / 'encoder.pt'}", "results_dir=out", "resamples=20",
             "protocol=random_encoder", "budget=10,25", "seed=range(0,4)"]  # fmt: skip
    first = Started(tmp_path, "evaluate.py", *words)
    first.wait_for(lambda: times(tmp_path / "out"))
    first.send(signal.SIGTERM)
    assert first.end(20) == 143 and "Traceback" not in first.told, first.told
    done = times(tmp_path / "out")
    assert 1 <= len(done) < 8, "the sweep ends, not only its job"
    (sweep,) = (tmp_path / "runs" / "sweeps").iterdir()
    assert not any(each.is_alive for each in records(sweep))

    again = Started(tmp_path, "evaluate.py", *words)
    assert again.end() == 0, again.told
    assert len(results(tmp_path / "out")) == 8 and times(tmp_path / "out").items() >= done.items()
    assert [each.status for each in records(sweep)] == ["done"] * 8


# Checkpoints.


def cut(
    train: Train, run_dir: Path, at: tuple[int, int], monkeypatch: pytest.MonkeyPatch, *words: str, **more: Any
) -> int:
    """Train until power is cut at a batch of an epoch; returns the number of batches learned from."""
    learned = 0

    def fail(self: Objective, outputs: Any, batch: Any, batch_idx: int) -> None:
        nonlocal learned
        learned += 1
        if (self.current_epoch, batch_idx) == at:
            raise RuntimeError("power cut")

    with monkeypatch.context() as patched:
        patched.setattr(Objective, "on_train_batch_end", fail, raising=False)
        try:
            train(run_dir, *words, **more)
        except RuntimeError as error:
            assert str(error) == "power cut"
    return learned


def test_a_damaged_last_checkpoint_is_replaced_by_the_best_and_nothing_changes(
    train: Train, finished_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    cut(train, tmp_path, (4, 1), monkeypatch)
    last, best = (tmp_path / "checkpoints" / f"{name}.ckpt" for name in ("last", "best"))
    assert torch.load(best, weights_only=True)["epoch"] < 5
    last.write_bytes(last.read_bytes()[: last.stat().st_size // 2])
    ours, theirs = (read_checkpoint(encoder) for encoder in (train(tmp_path), finished_run / "encoder.pt"))
    assert f"{last}: damaged; the run goes on from best.ckpt" in caplog.text
    assert ours.digest == theirs.digest and ours.training["metrics"] == theirs.training["metrics"]


@pytest.mark.parametrize("name", ["best.ckpt", "last.ckpt"])
def test_a_damaged_checkpoint_that_nothing_replaces_is_named(name: str, tmp_path: Path) -> None:
    folder = tmp_path / "checkpoints"
    folder.mkdir()
    torch.save({"epoch": torch.arange(1000)}, folder / "last.ckpt")
    broken = bytearray((folder / "last.ckpt").read_bytes())
    broken[len(broken) // 2] ^= 1
    (folder / name).write_bytes(broken)
    with pytest.raises(UserError, match=f"{name}: damaged.*delete {folder}"):
        checkpoint_to_continue(tmp_path)


def test_a_run_killed_in_the_middle_of_an_epoch_goes_on_with_the_next_batch(
    train: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ecg_lightning.callbacks.MidEpoch.SECONDS", 0.0)
    words = ["trainer.max_epochs=3", "++trainer.limit_train_batches=7", "trainer.accumulate_grad_batches=2"]
    count = partial(cut, train, objective="byol")
    straight = count(tmp_path / "straight", (-1, -1), monkeypatch, *words)
    before = count(tmp_path / "cut", (1, 4), monkeypatch, *words)
    after = count(tmp_path / "cut", (-1, -1), monkeypatch, *words)
    assert (straight, before, after) == (21, 7 + 5, 3 + 7), "batches 4 to 6 of epoch 1 are left, and epoch 2"
    ends = [
        torch.load(tmp_path / name / "checkpoints" / "last.ckpt", weights_only=True) for name in ("cut", "straight")
    ]
    for key in ("state_dict", "optimizer_states", "lr_schedulers", "validation_metrics"):
        torch.testing.assert_close(ends[0][key], ends[1][key], rtol=0, atol=0)
    tables = [pd.read_csv(tmp_path / name / "csv" / "version_0" / "metrics.csv") for name in ("cut", "straight")]
    pd.testing.assert_frame_equal(*tables)


def test_a_run_does_not_go_on_with_other_recordings(
    train: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cut(train, tmp_path, (1, 1), monkeypatch)
    monkeypatch.setattr(Store, "fingerprint", "other")
    with pytest.raises(UserError, match="no longer those that this run began with"):
        train(tmp_path)


def test_two_trainings_of_one_directory_are_one(tiny: Tiny, finished_run: Path, tmp_path: Path) -> None:
    runs = [Started(tmp_path / str(n), "train.py", *tiny("synthetic"), f"run_dir={tmp_path / 'run'}") for n in (0, 1)]
    assert [run.end() for run in runs] == [0, 0], [run.told for run in runs]
    said = sorted("another process works there" in run.told for run in runs)
    assert said == [False, True] and sum("this run is finished" in run.told for run in runs) == 1
    assert (
        read_checkpoint(tmp_path / "run" / "encoder.pt").digest == read_checkpoint(finished_run / "encoder.pt").digest
    )
    tables = [pd.read_csv(folder / "csv" / "version_0" / "metrics.csv") for folder in (tmp_path / "run", finished_run)]
    pd.testing.assert_frame_equal(*tables)


# The same command, and another one.


def test_a_runs_directory_belongs_to_what_is_learned_and_not_to_where_things_lie(tiny: Tiny) -> None:
    def folder(*words: str) -> Path:
        with initialize_config_dir(str(PROJECT / "conf"), version_base="1.3"):
            return run_folder(compose("train", [*tiny("synthetic"), *words]))

    same = {folder(), folder("cache_dir=elsewhere"), folder("logger=wandb")}
    others = [("seed=1",), ("trainer.max_epochs=7",), ("data.share=0.5",), ("encoder.depth=2",), ("optimizer.lr=1",)]
    assert len(same) == 1 and len(same | {folder(*words) for words in others}) == 1 + len(others)


def test_more_steps_of_fine_tuning_make_another_cell(evaluation: Callable[..., DictConfig]) -> None:
    configs = [evaluation("ptbxl", "protocol=finetune", f"finetune_steps={steps}") for steps in (5, 6, 5)]
    setting = open_setting(configs[0])
    folders = [cell_folder(config, setting.checkpoint, setting.data) for config in configs]
    assert folders[0] == folders[2] != folders[1]


def test_a_cell_that_fails_here_and_is_finished_elsewhere_is_finished(
    evaluation: Callable[..., DictConfig], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = evaluation("ptbxl", "budget=10", f"results_dir={tmp_path}", "protocol.beside=[]", "resamples=20")

    def meanwhile(*_: object) -> None:
        with monkeypatch.context() as patched:
            patched.setattr(assessment, "_evaluate", evaluate)
            assess(config)
        raise OSError(errno.ENOSPC, "No space left on device")

    evaluate = assessment._evaluate
    monkeypatch.setattr(assessment, "_evaluate", meanwhile)
    with pytest.raises(OSError, match="No space left"):
        assess(config)
    assert len(results(tmp_path)) == 1


# Full disks.


def test_half_a_line_of_metrics_is_taken_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = MetricsLog(str(tmp_path))
    log.log_metrics({"loss": 0.5}, 0)
    log.save()
    table = tmp_path / "csv" / "version_0" / "metrics.csv"
    before = table.read_bytes()

    def full(self: Any, rows: Any) -> None:
        with table.open("a") as file:
            file.write("1,0.")
        raise OSError(errno.ENOSPC, "No space left on device")

    log.log_metrics({"loss": 0.25}, 1)
    with monkeypatch.context() as patched, pytest.raises(OSError):
        patched.setattr("csv.DictWriter.writerows", full)
        log.save()
    assert table.read_bytes() == before
    log.save()
    assert pd.read_csv(table)["loss"].tolist() == [0.5, 0.25]


def test_a_training_whose_disk_is_full_says_so_and_goes_on_when_it_is_not(
    tiny: Tiny, finished_run: Path, tmp_path: Path, train: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_dir = tmp_path / "run"
    cut(train, run_dir, (2, 1), monkeypatch)
    before = (run_dir / "checkpoints" / "last.ckpt").read_bytes()
    full = Started(tmp_path, "train.py", *tiny("synthetic"), f"run_dir={run_dir}", largest_file=len(before) // 2)
    assert full.end() == 2 and full.told.count("error: ") == 1, full.told
    assert "checkpoints/" in full.told and "cannot be written (File too large)" in full.told
    assert "Traceback" not in full.told
    assert (run_dir / "checkpoints" / "last.ckpt").read_bytes() == before
    assert sorted(path.name for path in (run_dir / "checkpoints").iterdir()) == ["best.ckpt", "last.ckpt"]
    assert read_checkpoint(train(run_dir)).digest == read_checkpoint(finished_run / "encoder.pt").digest


@pytest.mark.parametrize(
    ("largest_file", "prepared", "missing"),
    [(100_000, [], "*.h5"), (9_000, ["*.h5"], "*.npz"), (2_000, ["*.h5", "features"], "result.json")],
    ids=["store", "features", "cell"],
)
def test_an_evaluation_whose_disk_is_full_leaves_nothing_by_halves(
    largest_file: int, prepared: list[str], missing: str, tiny: Tiny, finished_run: Path, tmp_path: Path
) -> None:
    (shared,) = (Path(word.partition("=")[2]) for word in tiny("synthetic") if word.startswith("cache_dir"))
    where = [word for word in tiny("synthetic") if word.startswith("data")]
    words = [*where, f"checkpoint={finished_run / 'encoder.pt'}", "results_dir=out", "resamples=200",
             "protocol=random_encoder", "budget=10"]  # fmt: skip
    if "features" in prepared:
        filled = Started(tmp_path, "evaluate.py", *words, f"cache_dir={shared}", "seed=1")
        assert filled.end() == 0, filled.told
        shutil.rmtree(tmp_path / "out")
    for path in (path for pattern in prepared for path in shared.glob(pattern)):
        copy = shutil.copytree if path.is_dir() else shutil.copy
        (tmp_path / "cache").mkdir(exist_ok=True)
        copy(path, tmp_path / "cache" / path.name)
    full = Started(tmp_path, "evaluate.py", *words, "cache_dir=cache", largest_file=largest_file)
    assert full.end() == 2, full.told
    assert "cannot be written (File too large); free some" in full.told or "no room for" in full.told, full.told
    assert "Traceback" not in full.told and not results(tmp_path / "out") and not list(tmp_path.rglob(missing))

    again = Started(tmp_path, "evaluate.py", *words, "cache_dir=cache")
    assert again.end() == 0 and len(results(tmp_path / "out")) == 1, again.told


# Two sweeps.


def test_two_sweeps_at_once_share_the_work_on_the_data_and_give_what_one_gives(
    tiny: Tiny, finished_run: Path, tmp_path: Path
) -> None:
    where = [word for word in tiny("synthetic") if word.startswith("data")]
    words = ["-m", *where, f"checkpoint={finished_run / 'encoder.pt'}", "resamples=20", "protocol=random_encoder",
             "budget=10,25", "seed=0,1"]  # fmt: skip

    def start(folder: str, shared: str) -> Started:
        out = tmp_path / shared
        return Started(
            tmp_path / folder, "evaluate.py", *words, f"results_dir={out / 'out'}", f"cache_dir={out / 'cache'}"
        )

    both = [start("a", "shared"), start("b", "shared")]
    assert [each.end() for each in both] == [0, 0], [each.told for each in both]
    assert sum("preparing" in each.told for each in both) == 1, "one prepares the recordings, the other waits"
    alone = start("c", "alone")
    assert alone.end() == 0, alone.told
    found = results(tmp_path / "shared" / "out")
    assert len(found) == 4
    assert found == results(tmp_path / "alone" / "out")
    caches = [sorted(path.name for path in (tmp_path / each / "cache").rglob("*")) for each in ("shared", "alone")]
    assert caches[0] == caches[1] and not any(name.startswith(".") for name in caches[0])
    shutil.rmtree(tmp_path / "shared")
