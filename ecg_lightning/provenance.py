"""Where a number comes from: the commit and the machine's make."""

from __future__ import annotations

import platform
import subprocess
from functools import cache
from pathlib import Path


@cache
def commit() -> str:
    """The project's git commit, with `+changes` where the files differ from it; `unknown` outside a checkout."""
    here = Path(__file__).resolve().parent
    try:
        head = _git(here, "rev-parse", "--short=12", "HEAD")
        return f"{head}+changes" if _git(here, "status", "--porcelain", "--untracked-files=no") else head
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def _git(folder: Path, *arguments: str) -> str:
    run = subprocess.run(["git", "-C", str(folder), *arguments], capture_output=True, text=True, check=True)
    return run.stdout.strip()


@cache
def device() -> str:
    """The accelerator's name, or the processor's kind and the threads torch uses."""
    import torch

    if torch.cuda.is_available():
        return str(torch.cuda.get_device_name())
    return f"{platform.machine()} CPU, {torch.get_num_threads()} threads"
