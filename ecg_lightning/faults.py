"""From an exception to what the person at the keyboard is told."""

from __future__ import annotations

import errno
import traceback

from ecg_lightning.errors import UserError

NOT_WRITABLE = {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.ENOTDIR,
                errno.EEXIST, errno.EISDIR}  # fmt: skip
"""Faults of a disk or a folder, whichever step of the work meets them."""


def is_mendable(error: Exception) -> bool:
    """Whether the person at the keyboard can mend it."""
    from omegaconf.errors import OmegaConfBaseException

    if isinstance(error, OSError):
        return error.errno in NOT_WRITABLE
    return isinstance(error, UserError | OmegaConfBaseException)


def told(error: Exception) -> str:
    """One line for what the user can mend, the traceback of anything else."""
    from omegaconf.errors import MissingMandatoryValue

    if not is_mendable(error):
        return "".join(traceback.format_exception(error))
    if isinstance(error, MissingMandatoryValue):
        return f"error: {error.full_key} is not given; add {error.full_key}=... to the command"
    if isinstance(error, OSError):
        where = f"{error.filename}: " if error.filename else ""
        return (f"error: {where}cannot be written ({error.strerror or in_one_line(str(error))}); free some space, or "
                "set run_dir, cache_dir or results_dir to where there is leave and room")  # fmt: skip
    return f"error: {in_one_line(str(error))}"


def in_one_line(text: str) -> str:
    """A text without line breaks and repeated blanks."""
    return " ".join(text.split())
