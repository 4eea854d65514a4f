"""What two jobs at once are worth on two cores, beside the same jobs one after the other.

Four cells that train a small network from scratch, and four short pretrainings, on synthetic recordings; by Ray with a core a job,
and in one process that has all cores, or one. Counted is the time from the first job's beginning to the last one's end: starting
Ray and the first imports of a worker are shown beside it.

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
SEEDS = "seed=1,2,3,4"


class Took(NamedTuple):
    """Seconds of the jobs, and of the whole command."""

    jobs: float
    command: float


def sweep(scratch: Path, way: str, script: str, *words: str) -> Took:
    """Run a sweep in a way, in a folder of its own."""
    launcher, more = WAYS[way]
    folder = scratch / f"{script}-{list(WAYS).index(way)}"
    folder.mkdir()
    environment = {key: value for key, value in os.environ.items() if key != "OMP_NUM_THREADS"} | more
    line = [sys.executable, str(PROJECT / script), "-m", *words, SEEDS, *launcher]
    begin = perf_counter()
    subprocess.run(line, check=True, capture_output=True, cwd=folder, env=environment)
    whole = perf_counter() - begin
    (noted,) = (list(records(each)) for each in (folder / "runs" / "sweeps").iterdir())
    return Took(max(each.ended or 0.0 for each in noted) - min(each.began for each in noted), whole)


def main() -> None:
    with TemporaryDirectory() as folder:
        scratch = Path(folder)
        write_dataset(scratch, records=600, holter=0)
        where = ["data=synthetic", f"data.root={scratch / 'ptbxl'}", f"cache_dir={scratch / 'cache'}"]
        trained = f"checkpoint={encoder(scratch / 'encoder.pt')}"
        kinds = {
            "few-shot cells from scratch": ("evaluate.py", [*where, trained, "protocol=scratch", "protocol.beside=[]",
                                                            "budget=100", "finetune_steps=60", "resamples=100"]),
            "pretrainings": ("train.py", [*where, "objective=mae", "trainer.max_epochs=2", "data.batch_size=16",
                                          "trainer.enable_progress_bar=false"]),
        }  # fmt: skip
        took: dict[str, dict[str, Took]] = {}
        for kind, (script, words) in kinds.items():
            aside = [*words, f"results_dir={scratch / 'warm'}"] if script == "evaluate.py" else words
            sweep(scratch / "", next(iter(WAYS)), script, *aside)  # prepares the recordings
            for path in scratch.glob(f"{script}-*"):
                path.rename(scratch / f"warm-{script}")
            took[kind] = {way: sweep(scratch, way, script, *words, *_results(script, scratch, way)) for way in WAYS}
    print(f"`python benchmarks/parallel.py`, commit {commit()}, {device()}\n")
    print(
        "| four jobs | " + " | ".join(f"{kind} | with start" for kind in took) + " |\n|---|" + "---:|---:|" * len(took)
    )
    for way in WAYS:
        cells = [f"{times[way].jobs:.1f} s | {times[way].command:.1f} s" for times in took.values()]
        print(f"| {way} | " + " | ".join(cells) + " |")
    side, alone, all_cores = (list(WAYS)[n] for n in (2, 1, 0))
    for kind, times in took.items():
        print(f"\n{kind}: two at once have {times[alone].jobs / times[side].jobs:.2f} x the throughput of one after the "
              f"other on one core each, {times[all_cores].jobs / times[side].jobs:.2f} x of one after the other on all")  # fmt: skip


def _results(script: str, scratch: Path, way: str) -> list[str]:
    return [f"results_dir={scratch / 'results' / str(list(WAYS).index(way))}"] if script == "evaluate.py" else []


if __name__ == "__main__":
    main()
