"""Commands that are killed at random moments, again and again, end with what undisturbed ones give, bit for bit."""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Callable, Iterator
from hashlib import blake2b
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np
import pandas as pd
import pytest
import torch
from starting import Started, results, times

from ecg_lightning.checkpoint_io import checkpoint_to_continue
from ecg_lightning.encoders.checkpoint import read_checkpoint

pytestmark = [pytest.mark.kill, pytest.mark.timeout(900)]

SEED = time.time_ns() % 1_000_000
KILLS, MOST = 5, 20
"""Of each command, at least, and of one that ends at last."""

Tiny = Callable[..., list[str]]


class Case(NamedTuple):
    """A command, and what it leaves.

    Attributes:
        script: that is run.
        words: of its command line, given `tiny` and an encoder.
        left: what it leaves that is the same every time.
        seconds: between two checkpoints in the middle of an epoch.
        share: of the time that it takes, in which it is killed.
    """

    script: str
    words: Callable[[Tiny, Path], list[str]]
    left: Callable[[Path], Any]
    seconds: float = 600.0
    share: float = 0.8


def training(folder: Path) -> Any:
    """All that a training leaves that is the same every time."""
    state = torch.load(folder / "run" / "checkpoints" / "last.ckpt", weights_only=True)
    parts = [state[key] for key in ("state_dict", "optimizer_states", "lr_schedulers", "epoch", "global_step")]
    table = pd.read_csv(folder / "run" / "csv" / "version_0" / "metrics.csv")
    encoder = read_checkpoint(folder / "run" / "encoder.pt")
    training = {key: value for key, value in encoder.training.items() if key != "config"}
    return encoder.digest, training, [hashed(part) for part in parts], table.to_csv()


def hashed(content: Any) -> str:
    """Of tensors in containers."""

    def parts(each: Any) -> Iterator[bytes]:
        if isinstance(each, torch.Tensor):
            yield each.numpy().tobytes()
        elif isinstance(each, dict):
            for key, value in each.items():
                yield str(key).encode()
                yield from parts(value)
        elif isinstance(each, list | tuple):
            for value in each:
                yield from parts(value)
        else:
            yield repr(each).encode()

    return blake2b(b"".join(parts(content))).hexdigest()


def cells(folder: Path) -> Any:
    """What every cell says; the prepared recordings and the features."""
    return results(folder / "out"), cached(folder)


def cached(folder: Path) -> dict[str, Any]:
    """The content of every file below `cache/`."""
    found: dict[str, Any] = {}
    for path in sorted((folder / "cache").rglob("*")):
        if path.suffix == ".npz":
            with np.load(path) as file:
                found[path.name] = {name: file[name].tobytes() for name in file.files}
        elif path.suffix == ".h5":
            with h5py.File(path) as file:
                found[path.name] = {name: np.asarray(file[name][:]).tolist() for name in file}
    return found


def fresh(tiny: Tiny, objective: str = "mae") -> list[str]:
    """The words of a tiny training with a cache of its own."""
    return [*(word for word in tiny("synthetic", objective) if not word.startswith("cache_dir")), "cache_dir=cache"]


def evaluating(*words: str) -> Callable[[Tiny, Path], list[str]]:
    def say(tiny: Tiny, encoder: Path) -> list[str]:
        where = [word for word in fresh(tiny) if word.startswith(("data", "cache_dir"))]
        return [*where, f"checkpoint={encoder}", "results_dir=out", "resamples=20", *words]

    return say


CASES = {
    "store": Case("train.py", lambda tiny, _: [*fresh(tiny), "trainer.max_epochs=1", "run_dir=run"], cached, share=0.4),
    "training": Case(
        "train.py", lambda tiny, _: [*fresh(tiny, "byol"), "trainer.max_epochs=12", "run_dir=run"], training
    ),
    "long epochs": Case(
        "train.py",
        lambda tiny, _: [*fresh(tiny), "trainer.max_epochs=3", "++trainer.limit_train_batches=40", "run_dir=run"],
        training,
        seconds=0.1,
    ),
    "sweep": Case(
        "evaluate.py",
        evaluating("-m", "protocol=linear,finetune", "finetune_steps=10", "budget=10,25", "seed=0,1"),
        cells,
    ),
    "grid": Case(
        "evaluate.py", evaluating("protocol=all", "protocol.seeds=2", "protocol.budgets=[10,25]"), cells
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_a_command_killed_again_and_again_ends_as_if_it_had_not_been(
    name: str, tiny: Tiny, finished_run: Path, tmp_path: Path
) -> None:
    case, draw = CASES[name], random.Random(f"{SEED} {name}")
    words = case.words(tiny, finished_run / "encoder.pt")
    begin = time.monotonic()
    straight = Started(tmp_path / "straight", case.script, *words, seconds=case.seconds)
    assert straight.end() == 0, straight.told
    whole, expected = time.monotonic() - begin, case.left(tmp_path / "straight")

    moments: list[float] = []
    while len(moments) < KILLS:
        folder = tmp_path / f"killed after {len(moments)}"
        moments += killed_until_it_ends(case, words, folder, lambda: draw.uniform(0.0, case.share * whole))
        assert case.left(folder) == expected
        big = [path.name for part in ("cache", "run/checkpoints") for path in (folder / part).rglob("*-*")]
        assert not [name for name in big if name.startswith(".")], "what was begun of the big files is gone"
    print(f"\nseed {SEED}, {name}: {whole:.1f} s undisturbed; killed after {', '.join(f'{s:.2f}' for s in moments)} s")


def killed_until_it_ends(case: Case, words: list[str], folder: Path, moment: Callable[[], float]) -> list[float]:
    """Start a command until it ends by itself; returns after how many seconds each of the others was killed."""
    moments: list[float] = []
    done: dict[Path, int] = {}
    while True:
        run, seconds = Started(folder, case.script, *words, seconds=case.seconds), moment()
        ended = run.end(seconds if len(moments) < MOST else 300.0)
        if ended is None:
            run.send(signal.SIGKILL)
            moments.append(seconds)
        now = times(folder / "out")
        assert now.items() >= done.items(), "a finished cell was computed again"
        done = now
        if ended is not None:
            assert ended == 0, run.told
            return moments
        assert run.end() == -signal.SIGKILL, run.told
        results(folder / "out"), cached(folder), checkpoint_to_continue(folder / "run")  # each is whole
