"""Whether what follows a run is to be had: packages, and an account of W&B; told before any long work."""

from __future__ import annotations

import importlib.util
import os

from omegaconf import DictConfig

from ecg_lightning.errors import UserError

OFFLINE = "set logger.wandb.offline=true, and send the run later with `wandb sync`"
"""The way without an account or a network."""


def check_loggers(config: DictConfig | None) -> None:
    """Whether what loggers need is there, told before any long work.

    Args:
        config: the group `logger`.

    Raises:
        UserError: a package is missing, or W&B does not know the account.
    """
    wanted = {} if config is None else config
    if "tensorboard" in wanted and not any(map(importlib.util.find_spec, ("tensorboard", "tensorboardX"))):
        raise UserError("logger=tensorboard needs the package tensorboard: pip install 'ecg_lightning[tensorboard]'")
    if "wandb" in wanted and not wanted["wandb"].offline and "WANDB_MODE" not in os.environ:
        _log_in()


def _log_in() -> None:
    import wandb

    try:
        wandb.login()
    except wandb.Error as error:
        raise UserError(f"logger=wandb: {str(error).rstrip('.')}; or {OFFLINE}") from None
