"""What an encoder is worth with few labels: `python evaluate.py checkpoint=RUN/encoder.pt data=mitbih budget=100`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from ecg_lightning.hydra_main import hydra_main

if TYPE_CHECKING:
    from omegaconf import DictConfig


@hydra_main("evaluate")
def main(config: DictConfig) -> object:
    """Compose, evaluate, write `result.json`."""
    from ecg_lightning.cli import run_cell

    return run_cell(config)


if __name__ == "__main__":
    from ecg_lightning.cli import sweep_command
    from ecg_lightning.words import expand_pattern, quote_numeric_options

    sys.argv[1:] = expand_pattern(quote_numeric_options(sys.argv[1:], "budget"), "checkpoint")
    sweep_command("evaluate", main)
