from __future__ import annotations

import os
import signal
import threading

import pytest

from ecg_lightning.interrupts import interrupts_held


def press() -> None:
    os.kill(os.getpid(), signal.SIGINT)


def test_an_interrupt_comes_where_it_may_and_not_before() -> None:
    before = signal.getsignal(signal.SIGINT)
    reached = []
    with pytest.raises(KeyboardInterrupt), interrupts_held() as interrupt_point:
        interrupt_point()
        press()
        reached.append("after the signal")
        interrupt_point()
        reached.append("after the point")
    assert reached == ["after the signal"]
    assert signal.getsignal(signal.SIGINT) is before


def test_an_interrupt_that_met_no_point_comes_at_the_end() -> None:
    reached = []
    with pytest.raises(KeyboardInterrupt), interrupts_held():
        press()
        reached.append("end")
    assert reached == ["end"]


def test_an_interrupt_tells_more_than_the_fault_it_caused() -> None:
    with pytest.raises(KeyboardInterrupt) as caught, interrupts_held():
        press()
        raise RuntimeError("a worker has died")
    assert isinstance(caught.value.__context__, RuntimeError)


def test_nothing_is_held_outside_the_main_thread() -> None:
    before, inside = signal.getsignal(signal.SIGINT), []

    def work() -> None:
        with interrupts_held() as interrupt_point:
            interrupt_point()
            inside.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert inside == [before]
