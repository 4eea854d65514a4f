"""How long a command takes to answer: help, a mistake, the import of the package, and a training up to its first step.

Each is the best of several starts of a process of its own. The training is `+experiment=demo` on prepared data.

    python benchmarks/startup.py
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path
from resource import RUSAGE_CHILDREN, getrusage
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any, NamedTuple

from torch.optim import AdamW

from ecg_lightning.data.synthetic.write import write_dataset
from ecg_lightning.provenance import commit, device

ROOT = Path(__file__).resolve().parent.parent
STARTS = 3

ANSWERS = {
    "train.py --help": 0,
    "evaluate.py --help": 0,
    "adopt.py --help": 0,
    "train.py data=foo": 2,
    "train.py seed=-1": 2,
    "train.py data=ptbxl data.root=nowhere": 2,
    "evaluate.py checkpoint=no/encoder.pt data=mitbih": 2,
    "-c 'import ecg_lightning'": 0,
    "-c 'import torch'": 0,
    "-c 'import lightning'": 0,
}
"""Words after `python`, and the exit code."""

TRAINING = "train.py +experiment=demo optimizer._target_=startup.FirstStep trainer.enable_progress_bar=false"


class Seconds(NamedTuple):
    """That a start took, by the clock and of the processor."""

    clock: float
    processor: float


class FirstStep(AdamW):
    """Ends the process once it has learned from one batch."""

    def step(self, *arguments: Any, **keywords: Any) -> None:  # type: ignore[override]
        """One step, and no more."""
        super().step(*arguments, **keywords)
        os._exit(0)


def start(folder: Path, line: str, code: int) -> Seconds:
    """Start a process in a folder and wait for its end."""
    script, *words = shlex.split(line)
    where = {"PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "benchmarks")]), "ECG_DATA_ROOT": str(folder)}
    command = [sys.executable, str(ROOT / script) if script.endswith(".py") else script, *words]
    begin, before = perf_counter(), getrusage(RUSAGE_CHILDREN)
    ended = subprocess.run(command, check=False, capture_output=True, text=True, cwd=folder, env=os.environ | where)
    clock, after = perf_counter() - begin, getrusage(RUSAGE_CHILDREN)
    if ended.returncode != code:
        raise RuntimeError(f"{line} ended with code {ended.returncode}: {ended.stderr}")
    return Seconds(clock, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)


def best(folder: Path, line: str, code: int) -> Seconds:
    """The least of several starts."""
    starts = [start(folder, line, code) for _ in range(STARTS)]
    return Seconds(min(each.clock for each in starts), min(each.processor for each in starts))


def main() -> None:
    """Print the table."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        rows = {f"`python {line}`": best(folder, line, code) for line, code in ANSWERS.items()}
        write_dataset(folder / "synthetic", records=400, holter=0)
        start(folder, TRAINING, 0)  # prepares the recordings
        rows["`python train.py +experiment=demo` to its first step"] = best(folder, TRAINING, 0)
    print(f"`python benchmarks/startup.py`, commit {commit()}, {device()}, the best of {STARTS} starts\n")
    print("| from the start of the process to its answer | seconds | of the processor |\n|---|---:|---:|")
    for told, taken in rows.items():
        print(f"| {told} | {taken.clock:.2f} | {taken.processor:.2f} |")


if __name__ == "__main__":
    main()
