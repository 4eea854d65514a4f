"""Processes that train together, through the real command line: started by Lightning, by torchrun, by SLURM."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import PROJECT, build_training
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig

from ecg_lightning.errors import UserError
from ecg_lightning.precheck import check_training
from ecg_lightning.pretraining import pretrain

Words = Callable[..., list[str]]
Process = subprocess.Popen[str]

OF_A_CLUSTER = ("SLURM_", "MASTER_", "TORCHELASTIC_", "LOCAL_RANK", "NODE_RANK", "RANK", "WORLD_SIZE", "GROUP_RANK")
LINE = [sys.executable, str(PROJECT / "train.py")]
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", LINE[1]]
PAIR = ["trainer=ddp", "trainer.accelerator=cpu", "trainer.devices=2"]
SECONDS = 300


@pytest.fixture(scope="module")
def words(tiny: Words) -> Words:
    """What to say for a training of seconds: `words(objective, *more)`."""

    def say(objective: str, *more: str) -> list[str]:
        own = [word for word in tiny("synthetic", objective) if not word.startswith("encoder.")]
        return [*own, *more]

    return say


CONTRAST = ["encoder=ecg1dcnn", "encoder.width=4", "trainer.precision=64-true", "trainer.max_epochs=3"]
"""Whose loss gathers the rows of all processes, whose norms count over all of them, and which draws nothing."""

MASKED = ["encoder.dim=32", "encoder.depth=1", "encoder.heads=2", "data.batch_size=3", "trainer.max_epochs=10"]
"""Which draws masks, in validation too: 7 windows there are 3 batches, and one process of two has one fewer."""


def start(line: list[str], folder: Path, **environment: str) -> Process:
    mine = {key: value for key, value in os.environ.items() if not key.startswith(OF_A_CLUSTER)}
    return subprocess.Popen(line, cwd=folder, env={**mine, "OMP_NUM_THREADS": "1", **environment}, text=True,
                            stderr=subprocess.PIPE, start_new_session=True)  # fmt: skip


def finish(*processes: Process) -> list[str]:
    """What each said, when all of them have ended well."""
    try:
        said = [process.communicate(timeout=SECONDS)[1] for process in processes]
    finally:
        for process in processes:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
    assert [process.returncode for process in processes] == [0] * len(processes), "\n".join(said)
    return said


def last(run_dir: Path) -> dict[str, Any]:
    checkpoint: dict[str, Any] = torch.load(run_dir / "checkpoints" / "last.ckpt", weights_only=True)
    return checkpoint


def configured(overrides: list[str]) -> DictConfig:
    with initialize_config_dir(str(PROJECT / "conf"), version_base="1.3"):
        return compose("train", overrides)


def validated(config: DictConfig, state: dict[str, Any]) -> dict[str, float]:
    """The validation figures of one process, batch by batch and weighed by hand."""
    data, objective = build_training(config)
    kind, usual = next(iter(state.values())).dtype, torch.get_default_dtype()
    objective.to(kind).eval().load_state_dict(state)
    torch.set_default_dtype(kind)
    total: dict[str, float] = {}
    with torch.no_grad():
        for number, raw in enumerate(data.val_dataloader()):
            batch = data.on_after_batch_transfer(raw._replace(scale=raw.scale.to(kind)), 0)
            torch.manual_seed(number)
            for key, value in objective.loss(batch).items():
                total[key] = total.get(key, 0.0) + float(value) * len(batch.x)
    torch.set_default_dtype(usual)
    return {f"val/{key}": value / len(data.unlabelled("val")) for key, value in total.items()}


# --- one process with all windows -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def pair(words: Words, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run of two processes that Lightning started, without a run_dir."""
    folder = tmp_path_factory.mktemp("pair")
    said = finish(start([*LINE, *words("cmsc", *CONTRAST, "data.batch_size=3", *PAIR)], folder))[0]
    assert said.count("an epoch;") == 1, "told once, not by each process"
    (run_dir,) = (folder / "runs").glob("cmsc-synthetic/*")
    return run_dir


def test_weights_are_those_of_one_process_with_the_batch_of_both(pair: Path, words: Words, tmp_path: Path) -> None:
    config = configured(words("cmsc", *CONTRAST, "data.batch_size=6", "trainer.accelerator=cpu"))
    alone = pretrain(config, tmp_path).parent
    one, two = last(alone), last(pair)
    assert two["global_step"] == one["global_step"] == 9
    torch.testing.assert_close(two["state_dict"], one["state_dict"], rtol=1e-7, atol=1e-9)
    features = [key for key in one["validation_metrics"] if "auroc" in key or "rank" in key or "deviation" in key]
    assert "val/probe_auroc" in features and "start/effective_rank" in features
    for key in features:
        assert two["validation_metrics"][key] == pytest.approx(one["validation_metrics"][key], rel=1e-5)


def test_validation_is_that_of_one_process_to_the_last_digits(pair: Path, words: Words) -> None:
    found = last(pair)
    by_hand = validated(configured(words("cmsc", *CONTRAST, "data.batch_size=3")), found["state_dict"])
    assert len(by_hand) == 3
    assert {key: found["validation_metrics"][key] for key in by_hand} == pytest.approx(by_hand, rel=1e-12)


def test_a_run_leaves_what_a_run_of_one_process_leaves(pair: Path) -> None:
    shown = {path.name for path in pair.glob("[!.]*")}
    assert shown == {"config.yaml", "checkpoints", "csv", "encoder.pt"}
    assert [path.name for path in (pair / "csv").iterdir()] == ["version_0"]
    rows = (pair / "csv" / "version_0" / "metrics.csv").read_text().splitlines()
    steps = [row.split(",")[rows[0].split(",").index("step")] for row in rows[1:] if "val" not in row]
    assert len(steps) >= 9


# --- torchrun and SLURM -----------------------------------------------------------------------------------------


@pytest.mark.kill
def test_a_killed_run_continues_under_torchrun_to_the_weights_of_one_of_slurm(words: Words, tmp_path: Path) -> None:
    command = words("mae", *MASKED, "trainer=ddp", "trainer.accelerator=cpu")
    pair, killed, elsewhere = [*command, "trainer.devices=2", "run_dir=killed"], tmp_path / "killed", tmp_path / "whole"
    _kill_when(start([*LINE, *pair], tmp_path), killed / "checkpoints" / "last.ckpt")
    assert not (killed / "encoder.pt").exists()

    _refused_by_another_number_of_processes(killed, [*LINE, *pair], tmp_path)
    finish(start([*TORCHRUN, *pair], tmp_path))
    nodes = [*LINE, *command, "trainer.devices=1", "trainer.num_nodes=2", f"run_dir={elsewhere}"]
    port = _free_port()
    finish(*(start(nodes, tmp_path, **_of_slurm(node, port)) for node in range(2)))

    one, other = last(killed), last(elsewhere)
    torch.testing.assert_close(one["state_dict"], other["state_dict"], rtol=0, atol=0)
    assert one["validation_metrics"] == other["validation_metrics"]
    assert (killed / "encoder.pt").exists() and (killed / "pictures" / "reconstruction.png").exists()
    by_hand = validated(configured(words("mae", *MASKED)), one["state_dict"])
    assert {key: one["validation_metrics"][key] for key in by_hand} == pytest.approx(by_hand, rel=1e-6)


def _kill_when(process: Process, there: Path) -> None:
    """Kill a process and all that it started as soon as a file is there."""
    end = time.monotonic() + SECONDS
    while not there.exists() and process.poll() is None and time.monotonic() < end:
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGKILL)
    said = process.communicate()[1]
    assert there.exists(), said


def _refused_by_another_number_of_processes(run_dir: Path, line: list[str], folder: Path) -> None:
    """A fault that all processes meet when they have met: one of them tells it, and none is left behind."""
    path = run_dir / "checkpoints" / "last.ckpt"
    good, checkpoint = path.read_bytes(), last(run_dir)
    assert checkpoint["processes"] == 2
    torch.save({**checkpoint, "processes": 3}, path)
    refused = start(line, folder)
    said = refused.communicate(timeout=SECONDS)[1]  # ends when the last process that could still say something has
    assert refused.returncode == 2 and said.count("begun by 3 processes and cannot be continued by 2") == 1
    assert "Traceback" not in said
    path.write_bytes(good)


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def _of_slurm(node: int, port: int) -> dict[str, str]:
    """What srun tells the one process of each of two nodes."""
    told = {"JOB_NAME": "train", "JOB_ID": "1", "NTASKS": "2", "NTASKS_PER_NODE": "1", "NNODES": "2",
            "PROCID": str(node), "NODEID": str(node), "LOCALID": "0"}  # fmt: skip
    return {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)} | {f"SLURM_{key}": it for key, it in told.items()}


# --- what is refused, and what every objective must do ----------------------------------------------------------


ALONE = ("LOCAL_RANK", "TORCHELASTIC_RUN_ID", "SLURM_NTASKS")


@pytest.fixture
def nobody_started_us(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ALONE:
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    ("overrides", "remedy"),
    [
        (["trainer.devices=2"], "choose trainer=ddp"),
        (["trainer.devices=auto"], "choose trainer=ddp"),
        (["+trainer.num_nodes=2"], "choose trainer=ddp"),
        (
            ["trainer.devices=2", "+trainer.strategy=ddp"],
            "choose trainer=ddp",
        ),  # would draw what Lightning's sampler does
        (["trainer=ddp", "trainer.devices=2"], None),
        (["trainer=ddp"], None),
        (["trainer.devices=[1]"], None),
    ],
)
def test_several_processes_are_those_of_the_trainer_made_for_them(
    overrides: list[str], remedy: str | None, nobody_started_us: None
) -> None:
    if remedy is None:
        check_training(configured(overrides))
    else:
        with pytest.raises(UserError, match=remedy):
            check_training(configured(overrides))


@pytest.mark.parametrize(
    ("started_by", "refused"),
    [
        ({}, True),
        ({"SLURM_NTASKS": "1", "SLURM_JOB_NAME": "a"}, True),  # a batch script without srun
        ({"SLURM_NTASKS": "2", "SLURM_NTASKS_PER_NODE": "2", "SLURM_JOB_NAME": "a"}, False),
        ({"TORCHELASTIC_RUN_ID": "a", "WORLD_SIZE": "2", "LOCAL_RANK": "0"}, False),
    ],
)
def test_a_sweep_of_trainings_on_several_devices_is_left_to_those_who_start_the_processes(
    started_by: dict[str, str], refused: bool, monkeypatch: pytest.MonkeyPatch, nobody_started_us: None
) -> None:
    for name, value in started_by.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("ecg_lightning.precheck.sweep_job", object)
    config = configured(["trainer=ddp", "trainer.devices=2"])
    check_training(configured([]))
    if not refused:
        return check_training(config)
    with pytest.raises(UserError, match=r"torchrun or srun.*hydra/launcher"):
        check_training(config)


def test_another_number_of_processes_than_were_started_is_refused(words: Words, tmp_path: Path) -> None:
    told = {"WORLD_SIZE": "2", "RANK": "0", "LOCAL_RANK": "0", "TORCHELASTIC_RUN_ID": "a"}
    wrong = start([*LINE, *words("cmsc", *CONTRAST, *PAIR[:2], "trainer.devices=3")], tmp_path, **told)
    said = wrong.communicate(timeout=SECONDS)[1]
    assert wrong.returncode == 2 and said.count("trainer.devices or trainer.num_nodes does not fit") == 1


@pytest.mark.parametrize("objective", sorted(path.stem for path in (PROJECT / "conf" / "objective").glob("*.yaml")))
def test_every_step_reaches_every_weight(objective: str, words: Words) -> None:
    """Processes wait for the gradient of each."""
    data, made = build_training(configured(words(objective, "data.batch_size=4")))
    batch = data.on_after_batch_transfer(next(iter(data.train_dataloader())), 0)
    made.train().loss(batch)["loss"].backward()
    assert not [name for name, each in made.named_parameters() if each.requires_grad and each.grad is None]
