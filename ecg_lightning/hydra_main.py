"""What a script is to Hydra; Hydra itself is imported when there is something to compose, not to tell what there is."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import TYPE_CHECKING

from ecg_lightning.choices import CONF
from ecg_lightning.help import gave_help

if TYPE_CHECKING:
    from omegaconf import DictConfig


def hydra_main(name: str) -> Callable[[Callable[[DictConfig], object]], Callable[[], None]]:
    """As `hydra.main`, for `conf/NAME.yaml`, with a `--help` that composes nothing.

    Args:
        name: of the configuration.
    """

    def decorated(job: Callable[[DictConfig], object]) -> Callable[[], None]:
        @wraps(job)
        def main() -> None:
            if not gave_help(name):
                import hydra

                hydra.main(config_path=str(CONF), config_name=name, version_base="1.3")(job)()

        return main

    return decorated
