"""Make an encoder.pt of another project's checkpoint: `python adopt.py checkpoint=FILE encoder=xresnet1d50`."""

from pathlib import Path

import hydra
from omegaconf import DictConfig


@hydra.main(config_path="conf", config_name="adopt", version_base="1.3")
def main(config: DictConfig) -> None:
    """Compose, take the weights over, write `encoder.pt`."""
    from hydra.core.hydra_config import HydraConfig

    from ecg_lightning.adoption import adopt_checkpoint
    from ecg_lightning.cli import run

    run(lambda: adopt_checkpoint(config, Path(HydraConfig.get().runtime.output_dir)))


if __name__ == "__main__":
    from ecg_lightning.cli import command_line

    command_line(main)
