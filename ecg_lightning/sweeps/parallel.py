"""How many jobs of a sweep run at once."""

from __future__ import annotations

import os

from omegaconf import DictConfig


def jobs_at_once(launcher: DictConfig) -> int | None:
    """As the launcher is going to run them.

    Args:
        launcher: its configuration, `hydra.launcher`.

    Returns:
        None where the machines of a cluster decide.
    """
    kind = str(launcher._target_).rpartition(".")[2]
    if kind == "BasicLauncher":
        return 1
    if kind == "RayLauncher" and launcher.ray.init.get("address") is None:
        return _on_this_machine(launcher.ray.remote.get("num_cpus", 1), launcher.ray.remote.get("num_gpus", 0))
    return None


def _on_this_machine(cores: float, gpus: float) -> int:
    by_cores = len(os.sched_getaffinity(0)) / cores if cores else float("inf")
    if not gpus:
        return max(1, int(by_cores))
    import torch

    return max(1, int(min(by_cores, torch.cuda.device_count() / gpus)))
