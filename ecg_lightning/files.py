"""Files that are written whole or not at all, and folders in which one process works at a time."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from glob import escape
from pathlib import Path
from secrets import token_hex

log = logging.getLogger(__name__)

LEFT_BEHIND = 24 * 3600
"""Seconds after which nobody can still be writing a file that no one has touched."""


@contextmanager
def replacing(path: Path, *, alone: bool = False) -> Iterator[Path]:
    """A name to write to; what is there at the end of the block takes the place of `path` at once.

    A process that is killed, a full disk, a power cut or an exception leaves the file as it was. Several processes may
    write the same file: the last one counts, whole. What killed ones have left behind is removed first.

    Args:
        path: of the file; its folder is made where it is missing.
        alone: whether no other process can be writing it, so that whatever was begun is left behind.

    Raises:
        OSError: it cannot be written; names the file.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    _clear(path, 0 if alone else LEFT_BEHIND)
    partial = path.with_name(f".{token_hex(4)}-{path.name}")
    try:
        yield partial
        _to_disk(partial)
        partial.replace(path)
    except OSError as error:
        if error.filename is None or str(error.filename) == str(partial):
            error.filename = str(path)
        raise
    finally:
        partial.unlink(missing_ok=True)


def _clear(path: Path, seconds: float) -> None:
    """Remove what was begun of a file and not touched for a while."""
    for begun in path.parent.glob(f".{'[0-9a-f]' * 8}-{escape(path.name)}"):
        try:
            if time.time() - begun.stat().st_mtime >= seconds:
                begun.unlink(missing_ok=True)
        except FileNotFoundError:
            continue  # finished, or cleared by another process


def _to_disk(path: Path) -> None:
    """Else a power cut could leave the new name with nothing behind it."""
    with path.open("rb") as file:
        os.fsync(file.fileno())


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Work in a folder while no other process does, which is waited for.

    A killed process holds nobody up.

    Args:
        folder: made where it is missing.
    """
    from filelock import FileLock, Timeout

    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / ".lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        log.warning(f"{folder}: another process works there; this one waits for it to end")
        lock.acquire()
    try:
        yield
    finally:
        lock.release()
