"""Pretrain an encoder without labels: `python train.py objective=mae data=ptbxl`; `--help` lists the choices."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ecg_lightning.hydra_main import hydra_main

if TYPE_CHECKING:
    from omegaconf import DictConfig


@hydra_main("train")
def main(config: DictConfig) -> float | None:
    """Compose, train, write `encoder.pt`; gives the figure that a search looks at."""
    from ecg_lightning.cli import run

    encoder = run(lambda: train(config))
    if not isinstance(encoder, Path):
        return None
    from ecg_lightning.pretraining import figure

    return figure(encoder, config.returns)


def train(config: DictConfig) -> Path:
    """Train in the folder that the configuration names."""
    from ecg_lightning.precheck import check_training

    check_training(config)  # a wrong number is told before torch and Lightning are imported
    from ecg_lightning.pretraining import figure, pretrain, run_folder

    encoder = pretrain(config, run_folder(config))
    figure(encoder, config.returns)  # that there is none fails this job, not the search
    return encoder


if __name__ == "__main__":
    from ecg_lightning.cli import sweep_command

    sweep_command("train", main)
