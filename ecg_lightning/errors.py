"""The one exception a user is meant to read."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


class UserError(ValueError):
    """Something the person at the keyboard can mend.

    Its message names the file or key at fault and the remedy. The command lines print it alone, without a
    traceback, and exit with a code that is not 0. It is one line, whatever a library had to say in it.
    """

    def __init__(self, message: str = "") -> None:
        super().__init__(" ".join(line.strip() for line in message.splitlines()))


class UnreadableCheckpoint(UserError):
    """There is no file of that name, or it may not be read.

    Args:
        path: of the file.
        reason: why, as the system says it.
    """

    def __init__(self, path: str | Path, reason: str | None) -> None:
        super().__init__(
            f"checkpoint={path}: cannot be read ({reason}); train.py writes encoder.pt in its run directory"
        )
