"""Pretrain an encoder without labels: `python train.py objective=mae data=ptbxl`; `--help` lists the choices."""

from pathlib import Path

import hydra
from omegaconf import DictConfig


@hydra.main(config_path="conf", config_name="train", version_base="1.3")
def main(config: DictConfig) -> None:
    """Compose, train, write `encoder.pt`."""
    from hydra.core.hydra_config import HydraConfig

    from ecg_lightning.cli import run
    from ecg_lightning.pretraining import pretrain

    run(lambda: pretrain(config, Path(HydraConfig.get().runtime.output_dir)))


if __name__ == "__main__":
    from ecg_lightning.cli import command_line

    command_line(main)
