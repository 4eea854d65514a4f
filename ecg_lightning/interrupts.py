"""Ctrl-C while other threads work.

Python raises `KeyboardInterrupt` wherever the main thread happens to be, also between taking a lock and entering the
block that gives it back. Inside `concurrent.futures` such a lock is then never given back and the pool never ends.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def interrupts_held() -> Iterator[Callable[[], None]]:
    """Hold SIGINT back; gives a function to call where an interrupt may come, which raises it if there was one.

    What was held is raised at the end of the block, also in place of another exception. In a thread other than the
    main one nothing is held, for signals do not come there.

    Raises:
        KeyboardInterrupt: SIGINT came during the block.
    """
    came = threading.Event()

    def note(_signal: int, _frame: FrameType | None) -> None:
        came.set()

    def check() -> None:
        if came.is_set():
            raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():
        yield check
        return
    before = signal.signal(signal.SIGINT, note)
    try:
        yield check
    finally:
        signal.signal(signal.SIGINT, before)
        check()
