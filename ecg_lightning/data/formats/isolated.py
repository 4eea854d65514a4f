"""Calls into a library that a damaged file can bring down or hold up for ever, made in a process of their own.

HDF5 is one: a wrong length in its heap of strings makes it loop without end or write where it must not, and no `except`
is reached. The process is started at the first call and serves until it dies, by a file's fault or with its parent.
"""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
from collections.abc import Callable
from threading import Lock
from typing import Any, TypeVar

from ecg_lightning.data.formats.stated import Fault

Result = TypeVar("Result")

_lock = Lock()
_servant: tuple[int, subprocess.Popen[bytes]] | None = None


def isolated(function: Callable[..., Result], *arguments: Any, seconds: int) -> Result:
    """Call a function in the other process.

    Args:
        function: of a module, so that its name is enough to find it there.
        arguments: its arguments; they and the result are pickled.
        seconds: that it may take.

    Raises:
        Fault: the process died or took too long.
        Exception: what the function raises; its text alone where it is not a `Fault`.
    """
    with _lock:
        servant = _serving()
        assert servant.stdin and servant.stdout
        try:
            pickle.dump((function, arguments, seconds), servant.stdin)
            servant.stdin.flush()
            good, result = pickle.load(servant.stdout)
        except (OSError, EOFError, pickle.UnpicklingError):
            _dismiss()
            raise Fault("brings down the library that reads it, or holds it up for ever; export it again") from None
        except BaseException:  # Ctrl-C in the middle of an answer: the next call must not be given the rest of it.
            _dismiss()
            raise
    if not good:
        raise result
    return result  # type: ignore[no-any-return]


def _serving() -> subprocess.Popen[bytes]:
    global _servant  # noqa: PLW0603
    if _servant is None or _servant[0] != os.getpid():  # a fork must not talk to its parent's
        code = f"from {__name__} import _serve; _serve()"
        path = os.pathsep.join(entry or os.getcwd() for entry in sys.path)  # noqa: PTH109
        _servant = os.getpid(), subprocess.Popen(
            [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": path}, start_new_session=True
        )  # fmt: skip
    return _servant[1]


def _dismiss() -> None:
    global _servant  # noqa: PLW0603
    if _servant is not None:
        _servant[1].kill()
        _servant[1].communicate()
        _servant = None


def _serve() -> None:
    """The other process: answers until its parent is gone."""
    calls, answers = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # What a library prints is no answer.
    while True:
        try:
            function, arguments, seconds = pickle.load(calls)
        except EOFError:
            return
        signal.alarm(seconds)  # Ends the process, not the call: no handler runs while the library loops.
        try:
            answer = True, function(*arguments)
        except Exception as error:
            answer = False, error if isinstance(error, Fault | MemoryError) else ValueError(str(error))
        pickle.dump(answer, answers, protocol=pickle.HIGHEST_PROTOCOL)
        answers.flush()
        signal.alarm(0)
