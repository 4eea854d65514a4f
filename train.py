"""Pretrain an encoder without labels: `python train.py objective=mae data=ptbxl`; `--help` lists the choices."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from ecg_lightning.hydra_main import hydra_main

if TYPE_CHECKING:
    from omegaconf import DictConfig


@hydra_main("train")
def main(config: DictConfig) -> object:
    """Compose, train, write `encoder.pt`."""
    from ecg_lightning.cli import run

    return run(lambda: train(config))


def train(config: DictConfig) -> Path:
    """Train in the folder that the configuration names."""
    from ecg_lightning.precheck import check_training

    check_training(config)  # a wrong number is told before torch and Lightning are imported
    from ecg_lightning.pretraining import pretrain, run_folder

    return pretrain(config, run_folder(config))


if __name__ == "__main__":
    from ecg_lightning.cli import command_line, name_sweep

    sys.argv[1:] = name_sweep("train", sys.argv[1:])
    command_line(main)
