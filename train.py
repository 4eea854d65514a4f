"""Pretrain an encoder without labels: `python train.py objective=mae data=ptbxl`; `--help` lists the choices."""

from pathlib import Path

import hydra
from omegaconf import DictConfig


@hydra.main(config_path="conf", config_name="train", version_base="1.3")
def main(config: DictConfig) -> float | None:
    """Compose, train, write `encoder.pt`; gives the figure that a search looks at."""
    from ecg_lightning.cli import run
    from ecg_lightning.pretraining import figure, pretrain, run_folder

    def train() -> Path:
        encoder = pretrain(config, run_folder(config))
        figure(encoder, config.returns)  # that there is none fails this job, not the search
        return encoder

    encoder = run(train)
    return figure(encoder, config.returns) if isinstance(encoder, Path) else None


if __name__ == "__main__":
    from ecg_lightning.cli import sweep_command

    sweep_command("train", main)
