"""A SLURM of one machine, for tests: `sbatch`, `srun`, `sacct` as the launcher calls them, and what they were asked."""

from __future__ import annotations

import os
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

JOB = 4000
COMMANDS = ("sbatch", "srun", "sacct")


def install(folder: Path) -> str:
    """Write the commands into a folder; gives the `PATH` that finds them first."""
    folder.mkdir()
    for name in COMMANDS:
        (folder / name).write_text(f'#!/bin/sh\nexec {sys.executable} {__file__} {name} {folder} "$@"\n')
        (folder / name).chmod(0o755)
    return f"{folder}{os.pathsep}{os.environ['PATH']}"


def asked(folder: Path) -> dict[str, str]:
    """The directives of the file that was submitted."""
    lines = [line.removeprefix("#SBATCH --") for line in (folder / "submitted").read_text().splitlines()
             if line.startswith("#SBATCH --")]  # fmt: skip
    return dict(line.split("=", 1) if "=" in line else (line, "") for line in lines)


def sbatch(folder: Path, script: str) -> None:
    """Take a job in, and start the tasks of its array one after the other."""
    (folder / "submitted").write_text(Path(script).read_text())
    first, last = (int(number) for number in asked(folder)["array"].split("%")[0].split("-"))
    print(f"Submitted batch job {JOB}", flush=True)
    if os.fork():
        return
    with (folder / "log").open("w") as log:
        for stream in (1, 2):
            os.dup2(log.fileno(), stream)  # who submitted waits until nobody holds the old ones
        for task in range(first, last + 1):
            names = {"SLURM_JOB_ID": str(JOB + task), "SLURM_ARRAY_JOB_ID": str(JOB), "SLURM_ARRAY_TASK_ID": str(task)}
            one = {"SLURM_NTASKS": "1", "SLURM_PROCID": "0", "SLURM_LOCALID": "0", "SLURM_NODEID": "0",
                   "SLURM_JOB_NUM_NODES": "1", "SLURM_JOB_NODELIST": "localhost"}  # fmt: skip
            devices = {"CUDA_VISIBLE_DEVICES": str(task)}
            subprocess.run(["sh", script], check=False, env=os.environ | names | one | devices)


def srun(*words: str) -> None:
    """Run a command in the place of its own options."""
    command = list(words)
    while command[0].startswith("--"):
        command = command[2 if command[0] in ("--output", "--error") else 1 :]
    os.execvp(command[0], command)


def sacct(*words: str) -> None:
    """Say that all jobs run: those that are over have left their results."""
    jobs = [word for before, word in pairwise(words) if before == "-j"]
    print("JobID|State|NodeList", *(f"{job}|RUNNING|localhost" for job in jobs), sep="\n")


if __name__ == "__main__":
    name, where, *rest = sys.argv[1:]
    if name == "sbatch":
        sbatch(Path(where), rest[0])
    else:
        {"srun": srun, "sacct": sacct}[name](*rest)
