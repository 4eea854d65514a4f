"""What two jobs at once are worth on two cores, beside the same jobs one after the other.

Four cells that train a small network from scratch on synthetic recordings; by Ray with a core a job, and in one process
that has all cores, or one. Counted is the time from the first job's beginning to the last one's end, the imports of
each process included; the whole command, with the start of Ray, is shown beside it.

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

EVALUATE = Path(__file__).resolve().parent.parent / "evaluate.py"
ALL_CORES, ONE_CORE = "one after the other, all cores", "one after the other, one core"
WAYS: Mapping[str, tuple[list[str], dict[str, str]]] = {
    ALL_CORES: ([], {}),
    ONE_CORE: ([], {"OMP_NUM_THREADS": "1"}),
    "two at once, a core each (`ray_cpu`)": (["hydra/launcher=ray_cpu"], {}),
}
JOBS = ("-m", "seed=1,2,3,4")


class Took(NamedTuple):
    """Seconds of the jobs, and of the whole command."""

    jobs: float
    command: float


def sweep(folder: Path, way: str, *words: str) -> Took:
    """Run the jobs in a way, in a folder of their own."""
    folder.mkdir(parents=True)
    launcher, more = WAYS[way]
    environment = {key: value for key, value in os.environ.items() if key != "OMP_NUM_THREADS"} | more
    line = [sys.executable, str(EVALUATE), *JOBS, *words, f"results_dir={folder / 'results'}", *launcher]
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
        asked = [*where, f"checkpoint={encoder(scratch / 'encoder.pt')}", "protocol=scratch", "protocol.beside=[]",
                 "budget=100", "resamples=100"]  # fmt: skip
        sweep(scratch / "before", ALL_CORES, *asked, "finetune_steps=1")  # prepares the recordings
        took = {way: sweep(scratch / str(n), way, *asked, "finetune_steps=250") for n, way in enumerate(WAYS)}
    print(f"`python benchmarks/parallel.py`, commit {commit()}, {device()}\n")
    print("| four jobs | from the first to the last | whole command | throughput |\n|---|---:|---:|---:|")
    for way, each in took.items():
        print(f"| {way} | {each.jobs:.1f} s | {each.command:.1f} s | {took[ONE_CORE].jobs / each.jobs:.2f} x |")


if __name__ == "__main__":
    main()
