"""Foreign files are read under watch: with little memory and time, and with a list of what is opened."""

from __future__ import annotations

import os
import resource
import sys
from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from typing import Generic, NamedTuple, TypeVar

from ecg_lightning.errors import UserError

ROOM = 2**29
"""Bytes that a reader of a damaged file may ask for; a recording takes a thousandth."""

PATIENCE = 20.0
"""Seconds for one damaged file, on a busy machine."""

Result = TypeVar("Result")

OPENED: list[str] | None = None
"""The files that this process opens, while somebody watches."""


def _note_opened(event: str, args: tuple[object, ...]) -> None:
    if event == "open" and OPENED is not None and isinstance(args[0], str | bytes):
        OPENED.append(args[0] if isinstance(args[0], str) else args[0].decode())


sys.addaudithook(_note_opened)  # It stays for good.


class Seen(NamedTuple, Generic[Result]):
    """What came of a reading: its result, or the message of its refusal, or what is wrong with the reader."""

    result: Result | None = None
    message: str = ""
    fault: str = ""


def watch(reading: Callable[[], Result], folder: Path) -> Seen[Result]:
    """Read what is in a folder, with half a gigabyte, in twenty seconds, and opening nothing outside the folder."""
    global OPENED
    taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    limits = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (taken + ROOM, limits[1]))
    OPENED, begin = [], perf_counter()
    try:
        seen = Seen(reading())
    except UserError as error:
        seen = Seen(message=str(error), fault="" if is_clear(str(error), folder) else f"says: {error}")
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # pytest-timeout's, too: this one hung
        seen = Seen(fault=f"{type(error).__name__}: {error}")
    finally:
        opened, OPENED = OPENED, None
        resource.setrlimit(resource.RLIMIT_AS, limits)
    outside = [path for path in opened if not Path(path).absolute().is_relative_to(folder) and not is_own(path)]
    if outside:
        return Seen(fault=f"opened {outside}")
    if perf_counter() - begin > PATIENCE:
        return Seen(fault=f"took {perf_counter() - begin:.1f} s")
    return seen


def is_clear(message: str, folder: Path) -> bool:
    """Whether a message is one line that names a file, and is not about the memory that should not have been asked."""
    return str(folder) in message and "\n" not in message and "more memory" not in message


def is_own(path: str) -> bool:
    """Whether Python or a library opens such a file of itself: to import, to start a process, to count cores."""
    return ".py" in path or path == os.devnull or path.startswith("/sys/")
