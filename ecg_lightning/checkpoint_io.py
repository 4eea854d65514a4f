"""Checkpoints of a training: written whole or not at all, and which of them a run goes on from."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any
from zipfile import BadZipFile, ZipFile

from lightning.fabric.plugins import TorchCheckpointIO

from ecg_lightning.encoders.checkpoint import write_plain
from ecg_lightning.errors import UserError

log = logging.getLogger(__name__)

FOLDER, LAST, BEST = "checkpoints", "last", "best"
SUFFIX = ".ckpt"


class WholeCheckpoints(TorchCheckpointIO):
    """Puts a checkpoint in the place of the one before when all of it is on the disk.

    Lightning's own writes it where temporary files lie, which may be another disk, and may be killed in copying it.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        """See `CheckpointIO`."""
        del storage_options
        write_plain(Path(path), checkpoint, alone=True)


def checkpoint_to_continue(run_dir: Path) -> Path | None:
    """The checkpoint that a run goes on from, None where there is none yet.

    That is the last one. Where it is damaged, as by a broken disk, it is that of the best epoch: every checkpoint holds
    all that the rest of the training depends on, so that the epochs after it are repeated as they were.

    Raises:
        UserError: what there is is damaged and nothing can take its place.
    """
    folder = run_dir / FOLDER
    last, best = (folder / f"{name}{SUFFIX}" for name in (LAST, BEST))
    needed = best if best.exists() else last
    if not needed.exists():
        return None
    if not _is_whole(needed):
        raise UserError(
            f"{needed}: damaged, and no other checkpoint can take its place; put it back from a copy, or delete "
            f"{folder} and run the same command again to train from the beginning"
        )
    if last.exists() and _is_whole(last):
        return last
    if last.exists():
        log.warning(f"{last}: damaged; the run goes on from {best.name} and repeats the epochs after it")
    return best


def _is_whole(path: Path) -> bool:
    """Whether every part of a file of `torch.save` has its checksum."""
    try:
        with ZipFile(path) as file:
            return file.testzip() is None
    except (BadZipFile, EOFError):
        return False
