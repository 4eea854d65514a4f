"""Processes that train together, through the real command line: started by Lightning, by torchrun, by SLURM."""

from __future__ import annotations

import os
import shutil
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

from ecg_lightning.build import build_encoder, build_objective, build_optimizer, build_training_data
from ecg_lightning.encoders.checkpoint import read_checkpoint
from ecg_lightning.errors import UserError
from ecg_lightning.job import Job
from ecg_lightning.precheck import check_training

Words = Callable[..., list[str]]
Process = subprocess.Popen[str]

OF_A_CLUSTER = ("SLURM_", "MASTER_", "TORCHELASTIC_", "LOCAL_RANK", "NODE_RANK", "RANK", "WORLD_SIZE", "GROUP_RANK")
LINE = [sys.executable, str(PROJECT / "train.py")]
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", "--master-port=0", LINE[1]]
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
    """The validation figures of one process, by plain slicing and weighing."""
    data, objective = build_training(config)
    objective.load_state_dict(state)
    objective.to(next(iter(state.values())).dtype).eval()
    total: dict[str, float] = {}
    with torch.no_grad():
        for number, raw in enumerate(data.val_dataloader()):
            batch = data.on_after_batch_transfer(raw, 0)
            torch.manual_seed(number)
            for key, value in objective.loss(batch._replace(x=batch.x.to(objective.dtype))).items():
                total[key] = total.get(key, 0.0) + float(value) * len(batch.x)
    return {f"val/{key}": value / len(data.unlabelled("val")) for key, value in total.items()}
