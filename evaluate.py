"""What an encoder is worth with few labels: `python evaluate.py checkpoint=RUN/encoder.pt data=mitbih budget=100`."""

import sys

import hydra
from omegaconf import DictConfig


@hydra.main(config_path="conf", config_name="evaluate", version_base="1.3")
def main(config: DictConfig) -> object:
    """Compose, evaluate, write `result.json`."""
    from ecg_lightning.cli import run_cell

    return run_cell(config)


if __name__ == "__main__":
    from ecg_lightning.cli import expand_pattern, quote_numeric_options, sweep_command

    sys.argv[1:] = expand_pattern(quote_numeric_options(sys.argv[1:], "budget"), "checkpoint")
    sweep_command("evaluate", main)
