"""Signals that ask a process to end: Ctrl-C, and SIGTERM or SIGUSR1 of those who manage machines."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


class Stopped(SystemExit):
    """A signal has asked the process to end; unless caught it ends it, with the exit code that shells know.

    Args:
        number: of the signal.
    """

    def __init__(self, number: int) -> None:
        super().__init__(128 + number)
        self.signal = signal.Signals(number)


@contextmanager
def stopping_on_signals() -> Iterator[None]:
    """Let signals raise `Stopped` in the main thread, wherever it is, so that what is open is closed.

    Where somebody else, a launcher of jobs, has a handler of his own, that one stays.
    """
    asked = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)
    before = {number: signal.getsignal(number) for number in asked}
    ours = [number for number in asked if before[number] in (signal.SIG_DFL, signal.default_int_handler)]
    for number in ours:
        signal.signal(number, _stop)
    try:
        yield
    finally:
        for number in ours:
            signal.signal(number, before[number])


def _stop(number: int, _frame: FrameType | None) -> None:
    raise Stopped(number)


@contextmanager
def interrupts_held() -> Iterator[Callable[[], None]]:
    """Hold SIGINT and SIGTERM back; gives a function to call where one may come, which lets it if there was one.

    An exception comes wherever the main thread happens to be, also between taking a lock and entering the block that
    gives it back. Inside `concurrent.futures` such a lock is then never given back and the pool never ends.

    What was held comes at the end of the block, also in place of another exception. In a thread other than the main one
    nothing is held, for signals do not come there.

    Raises:
        KeyboardInterrupt: or what else the handlers raise that were there before; a signal came during the block.
    """
    came: list[int] = []

    def note(number: int, _frame: FrameType | None) -> None:
        came.append(number)

    def check() -> None:
        if came:
            number = came.pop()
            before[number](number, None)

    if threading.current_thread() is not threading.main_thread():
        yield check
        return
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    before = {int(number): handler for number, handler in handlers.items() if callable(handler)}
    for number in before:
        signal.signal(number, note)
    try:
        yield check
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        check()
