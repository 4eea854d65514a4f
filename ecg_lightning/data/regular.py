"""What may be opened at all: a pipe or a device in the place of a file would be read for ever."""

from __future__ import annotations

import errno
from pathlib import Path
from stat import S_ISREG


def regular_size(path: Path) -> int:
    """Bytes of a file; links are followed.

    Raises:
        OSError: it is missing or out of reach, its links lead in a circle, or it is a folder, a pipe or a device.
    """
    try:
        state = path.stat()
    except ValueError as error:  # a name that no file can have
        raise OSError(errno.EINVAL, str(error)) from None
    if not S_ISREG(state.st_mode):
        raise OSError(errno.EINVAL, "not a file but a folder, a pipe or a device")
    return state.st_size
