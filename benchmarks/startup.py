"""How long a command takes to answer: help, a mistake, the import of the package, and a training up to its first step.

Each is the best of several starts of a process of its own. The training is `+experiment=demo` on prepared data.

    python benchmarks/startup.py
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any

from torch.optim import AdamW

from ecg_lightning.data.synthetic.write import write_dataset
from ecg_lightning.provenance import commit, device

ROOT = Path(__file__).resolve().parent.parent
STARTS = 5


class FirstStep(AdamW):
    """Ends the process where it would begin to learn."""

    def step(self, *arguments: Any, **keywords: Any) -> None:  # type: ignore[override]
        """The loss and its gradient are there, and so is the step once it is made."""
        super().step(*arguments, **keywords)
        os._exit(0)


def seconds(folder: Path, *words: str, fails: bool = False) -> float:
    """The shortest time from the start of a process to its end, in a folder of its own."""
    paths = os.pathsep.join([str(ROOT), str(ROOT / "benchmarks")])
    environment = {**os.environ, "PYTHONPATH": paths, "ECG_DATA_ROOT": str(folder)}
    taken = []
    for _ in range(STARTS):
        begin = perf_counter()
        ended = subprocess.run(
            [sys.executable, *words], check=False, capture_output=True, text=True, cwd=folder, env=environment
        )
        taken.append(perf_counter() - begin)
        if bool(ended.returncode) != fails:
            raise RuntimeError(f"{' '.join(words)} ended with code {ended.returncode}: {ended.stderr}")
    return min(taken)


def first_step(folder: Path) -> float:
    """From the command to the end of the first step of the optimiser, on data that an earlier start has prepared."""
    write_dataset(folder / "synthetic", records=400, holter=0)
    optimizer = "optimizer._target_=startup.FirstStep"
    return seconds(folder, str(ROOT / "train.py"), "+experiment=demo", optimizer, "trainer.enable_progress_bar=false")


def main() -> None:
    """Print the table."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        rows = {
            f"`python {script}.py --help`": seconds(folder, str(ROOT / f"{script}.py"), "--help")
            for script in ("train", "evaluate", "adopt")
        }
        for mistake in ("train.py data=foo", "train.py data=ptbxl data.root=nowhere",
                        "evaluate.py checkpoint=no/encoder.pt data=mitbih"):  # fmt: skip
            script, *words = mistake.split()
            rows[f"`python {mistake}`: refused"] = seconds(folder, str(ROOT / script), *words, fails=True)
        rows["`import ecg_lightning`"] = seconds(folder, "-c", "import ecg_lightning")
        for library in ("torch", "lightning"):
            rows[f"`import {library}`, for comparison"] = seconds(folder, "-c", f"import {library}")
        rows["`python train.py +experiment=demo` to the end of its first step"] = first_step(folder)
    print(f"`python benchmarks/startup.py`, commit {commit()}, {device()}, the best of {STARTS} starts\n")
    print("| from the start of the process | seconds |\n|---|---:|")
    for told, taken in rows.items():
        print(f"| {told} | {taken:.2f} |")


if __name__ == "__main__":
    main()
