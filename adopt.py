"""Make an encoder.pt of another project's checkpoint: `python adopt.py checkpoint=FILE encoder=xresnet1d50`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ecg_lightning.hydra_main import hydra_main

if TYPE_CHECKING:
    from omegaconf import DictConfig


@hydra_main("adopt")
def main(config: DictConfig) -> None:
    """Compose, take the weights over, write `encoder.pt`."""
    from hydra.core.hydra_config import HydraConfig

    from ecg_lightning.adoption import adopt_checkpoint
    from ecg_lightning.cli import run

    run(lambda: adopt_checkpoint(config, Path(HydraConfig.get().runtime.output_dir)))


if __name__ == "__main__":
    from ecg_lightning.cli import command_line

    command_line(main)
