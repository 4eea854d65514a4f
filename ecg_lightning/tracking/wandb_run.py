"""A run of W&B: begun quietly on the first process, continued by its id, always finished."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

from lightning.fabric.loggers.logger import rank_zero_experiment
from lightning.pytorch.loggers import Logger, WandbLogger
from lightning.pytorch.utilities import rank_zero_only

from ecg_lightning.errors import UserError
from ecg_lightning.files import replacing
from ecg_lightning.tracking.naming import RunIdentity
from ecg_lightning.tracking.prerequisites import OFFLINE

log = logging.getLogger(__name__)

QUIET = {"silent": True, "console": "off"}
"""W&B prints nothing, and takes nothing that is printed away from progress bars."""


class WandB(WandbLogger):
    """Lightning's logger, with a run that is the same one whenever its folder is continued.

    Args:
        save_dir: below which W&B keeps its files.
        project: in W&B.
        id_file: keeps the run's id; written when the run begins, where it is missing.
        entity: whose project it is; None for the account's own.
        offline: keep the run on disk, to be sent with `wandb sync`.
        identity: what the run is called.
        config: plain nested containers.
    """

    def __init__(
        self,
        save_dir: str,
        project: str,
        id_file: Path,
        entity: str | None = None,
        offline: bool = False,
        identity: RunIdentity | None = None,
        config: Mapping[str, Any] | None = None,
    ) -> None:
        named = {} if identity is None else {**vars(identity), "tags": list(identity.tags)}
        super().__init__(
            save_dir=save_dir,
            project=project,
            entity=entity,
            mode="offline" if offline else None,
            resume="allow",
            settings=QUIET,
            config=None if config is None else dict(config),
            **named,
        )
        del self._wandb_init["anonymous"]  # of which W&B says at every run that it has no effect
        self.id_file = id_file

    @property
    @rank_zero_experiment
    def experiment(self) -> Any:
        """The run, begun where it is first asked for.

        Raises:
            UserError: W&B cannot be reached, or does not know the account.
        """
        if self._experiment is None:
            import wandb

            self._id = self._wandb_init["id"] = _kept_id(self.id_file)
            try:
                run: Any = super().experiment
            except wandb.Error as error:
                raise UserError(f"logger=wandb: {str(error).rstrip('.')}; {OFFLINE}") from None
            where = f"offline; `wandb sync {run.settings.sync_dir}` sends it" if run.offline else run.url
            log.info(f"W&B: {where}")
        return self._experiment


def _kept_id(path: Path) -> str:
    if not path.exists():
        with replacing(path) as partial:
            partial.write_text(uuid4().hex[:8])
    return path.read_text().strip()


def runs(loggers: Sequence[Logger]) -> Iterator[Any]:
    """The W&B runs among loggers; none in a process that is not the first."""
    if _is_first():
        yield from (logger.experiment for logger in loggers if isinstance(logger, WandbLogger))


def _is_first() -> bool:
    return int(rank_zero_only.rank) == 0  # type: ignore[attr-defined]


@contextmanager
def finishing() -> Iterator[None]:
    """End the process' W&B run with the block: as failed, and why, where an exception or an interrupt ends it.

    Without this the next run of the same process would log into this one.
    """
    try:
        yield
    except BaseException as error:
        _finish(1, f"{type(error).__name__}: {error}")
        raise
    _finish(0)


def _finish(exit_code: int, why: str | None = None) -> None:
    if "wandb" not in sys.modules:
        return
    import wandb

    if wandb.run is not None:
        if why is not None:
            wandb.run.summary["error"] = why
        wandb.finish(exit_code)
