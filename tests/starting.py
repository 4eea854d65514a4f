"""Starts commands of the project in processes of their own, quickly: what they import is imported once for all."""

from __future__ import annotations

import json
import os
import resource
import runpy
import signal
import sys
import time
from collections.abc import Callable, Collection
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from conftest import PROJECT

CONTEXT = get_context("forkserver")
CONTEXT.set_forkserver_preload([
    "ecg_lightning.cli", "ecg_lightning.pretraining", "ecg_lightning.grid", "ecg_lightning.transfer", "captum.attr",
    "ecg_lightning.reporting.sweep", "sklearn.linear_model", "sklearn.metrics", "wandb", "torchmetrics", "scipy.signal",
    "matplotlib.backends.backend_agg", "hydra._internal.core_plugins.basic_launcher", "hydra.main", "h5py",
])  # fmt: skip

UNLIKE = ("seconds", "peak_memory_mb", "cache_dir", "results_dir")
"""Keys of a result that say how it was come by."""


class Started:
    """A command that runs."""

    def __init__(self, folder: Path, script: str, *words: str, largest_file: int = -1, seconds: float = 600.0) -> None:
        """Start a script.

        Args:
            folder: that it runs in, where its `stdout` and `stderr` go.
            script: `train.py` or `evaluate.py`.
            words: of its command line.
            largest_file: bytes that a file may have, as if the disk were full beyond; -1 for any number.
            seconds: between two checkpoints in the middle of an epoch.
        """
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        line = [str(PROJECT / script), *words]
        self.process = CONTEXT.Process(target=_work, args=(folder, line, largest_file, seconds))
        self.process.start()

    @property
    def told(self) -> str:
        """What it has said on stderr."""
        return (self.folder / "stderr").read_text()

    def end(self, seconds: float = 200.0) -> int | None:
        """Wait for its end; returns its exit code, None where it goes on."""
        self.process.join(seconds)
        return self.process.exitcode

    def send(self, number: signal.Signals) -> None:
        """Send a signal to it and to whatever it has started."""
        pid = self.process.pid
        assert pid is not None
        try:
            os.killpg(pid, number)
        except ProcessLookupError:
            if self.process.is_alive():  # it has no group of its own yet
                os.kill(pid, number)

    def wait_for(self, there: Callable[[], object], seconds: float = 100.0) -> None:
        """Wait until something is there while it runs."""
        end = time.monotonic() + seconds
        while not there():
            assert self.process.is_alive() and time.monotonic() < end, self.told
            time.sleep(0.01)


def is_there(group: int) -> bool:
    """Whether any process of a group is left."""
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def results(folder: Path) -> dict[str, Any]:
    """Every finished cell, but for what differs from one computation of it to the next."""
    found = {}
    for path in folder.rglob("result.json"):
        content = json.loads(path.read_text())
        if content["status"] == "done":
            with np.load(path.with_name("predictions.npz")) as file:
                content["said"] = {name: file[name].tobytes() for name in file.files}
            found[str(path.parent.relative_to(folder))] = _without(content, UNLIKE)
    return found


def times(folder: Path) -> dict[Path, int]:
    """When each cell was finished."""
    return {path: path.stat().st_mtime_ns for path in folder.rglob("result.json")}


def _without(content: Any, keys: Collection[str]) -> Any:
    if not isinstance(content, dict):
        return content
    return {key: _without(value, keys) for key, value in content.items() if key not in keys}


def _work(folder: Path, line: list[str], largest_file: int, seconds: float) -> None:
    from ecg_lightning.callbacks import MidEpoch

    os.setsid()
    os.chdir(folder)
    for number, name in ((1, "stdout"), (2, "stderr")):
        os.dup2(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
    MidEpoch.SECONDS = seconds
    sys.argv = line
    if largest_file >= 0:
        resource.setrlimit(resource.RLIMIT_FSIZE, (largest_file, resource.RLIM_INFINITY))
    runpy.run_path(line[0], run_name="__main__")
