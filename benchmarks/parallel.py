"""What two jobs at once are worth on two cores, beside the same jobs one after the other.

Four cells that train a small network from scratch, and four short pretrainings, on synthetic recordings; by Ray with a
core a job, and in one process that has all cores, or one. Counted is the time from the first job's beginning to the
last one's end; the whole command, with the start of Ray, is shown beside it.

    python benchmarks/parallel.py
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import NamedTuple

from sweep import encoder

from ecg_lightning.data.synthetic.write import write_dataset
from ecg_lightning.job import records
from ecg_lightning.provenance import commit, device

PROJECT = Path(__file__).resolve().parent.parent
WAYS: Mapping[str, tuple[list[str], dict[str, str]]] = {
    "one after the other, all cores": ([], {}),
    "one after the other, one core": ([], {"OMP_NUM_THREADS": "1"}),
    "two at once, a core each (`ray_cpu`)": (["hydra/launcher=ray_cpu"], {}),
    "two at once, all cores each": (["hydra/launcher=ray_cpu"], {"OMP_NUM_THREADS": "2"}),
}
JOBS = ("-m", "seed=1,2,3,4")


class Took(NamedTuple):
    """Seconds of the jobs, and of the whole command."""

    jobs: float
    command: float


def sweep(folder: Path, way: str, script: str, *words: str) -> Took:
    """Run the jobs in a way, in a folder of their own."""
    folder.mkdir(parents=True)
    launcher, more = WAYS[way]
    own = [f"results_dir={folder / 'results'}"] if script == "evaluate.py" else []
    environment = {key: value for key, value in os.environ.items() if key != "OMP_NUM_THREADS"} | more
    line = [sys.executable, str(PROJECT / script), *JOBS, *words, *own, *launcher]
    begin = perf_counter()
    subprocess.run(line, check=True, capture_output=True, cwd=folder, env=environment)
    whole = perf_counter() - begin
    (noted,) = (list(records(each)) for each in (folder / "runs" / "sweeps").iterdir())
    return Took(max(each.ended or 0.0 for each in noted) - min(each.began for each in noted), whole)


def kinds(scratch: Path) -> dict[str, tuple[str, ...]]:
    """Script and words of each kind of jobs."""
    where = ("data=synthetic", f"data.root={scratch / 'ptbxl'}", f"cache_dir={scratch / 'cache'}")
    cell = ("protocol=scratch", "protocol.beside=[]", "budget=100", "finetune_steps=60", "resamples=100")
    short = ("trainer.max_epochs=2", "data.batch_size=16", "trainer.enable_progress_bar=false")
    return {
        "few-shot cells from scratch": ("evaluate.py", *where, f"checkpoint={scratch / 'encoder.pt'}", *cell),
        "pretrainings": ("train.py", *where, "objective=mae", *short),
    }


def main() -> None:
    took: dict[str, list[Took]] = {}
    with TemporaryDirectory() as folder:
        scratch = Path(folder)
        write_dataset(scratch, records=600, holter=0)
        encoder(scratch / "encoder.pt")
        for kind, words in kinds(scratch).items():
            sweep(scratch / kind / "before", next(iter(WAYS)), *words)  # prepares the recordings
            took[kind] = [sweep(scratch / kind / str(n), way, *words) for n, way in enumerate(WAYS)]
    print(f"`python benchmarks/parallel.py`, commit {commit()}, {device()}\n")
    print("| four jobs | " + " | ".join(f"{kind} | whole command" for kind in took) + " |")
    print("|---|" + "---:|---:|" * len(took))
    for n, way in enumerate(WAYS):
        print(
            f"| {way} | "
            + " | ".join(f"{each[n].jobs:.1f} s | {each[n].command:.1f} s" for each in took.values())
            + " |"
        )
    for kind, (all_cores, one_core, side_by_side, _) in took.items():
        against_one, against_all = one_core.jobs / side_by_side.jobs, all_cores.jobs / side_by_side.jobs
        print(f"\n{kind}: two at once have {against_one:.2f} x the throughput of one after the other on one core, "
              f"{against_all:.2f} x that on all cores")  # fmt: skip


if __name__ == "__main__":
    main()
