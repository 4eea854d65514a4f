"""How far a sweep is, in one line."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from ecg_lightning.job import JobRecord, records
from ecg_lightning.sweeps.grid import Grid
from ecg_lightning.sweeps.history import Guess, Past, guess, pasts, said, total


class State(NamedTuple):
    """How many jobs of a sweep are where, and what is left."""

    done: int
    running: int
    failed: int
    left: int
    time: Guess | None


def state_of(sweep: Path, command: str, grid: Grid, at_once: int | None, since: float, before: list[Past]) -> State:
    """How far a sweep is.

    Args:
        sweep: its folder.
        command: `train` or `evaluate`.
        grid: its jobs.
        at_once: how many run together; None: as many as do now.
        since: when it was started; what was noted earlier is to be looked at again.
        before: jobs of other sweeps, whose times tell of those to come.
    """
    noted = [each for each in records(sweep) if each.number < grid.size]
    fresh = [each for each in noted if each.noted >= since]
    done = sum(each.status == "done" for each in fresh)
    failed = sum(each.status == "failed" for each in fresh)
    alive = [each for each in fresh if each.is_alive]
    left = grid.size - done - failed - len(alive)
    known, ended = [*before, *pasts(noted)], {each.number for each in fresh if each.status != "running"}
    to_come = [grid.jobs[n] if grid.jobs else () for n in range(grid.size) if n not in ended]
    time_to_come = total([guess(command, words, known) for words in to_come], at_once or max(1, len(alive)))
    return State(done, len(alive), failed, left, time_to_come and _less(time_to_come, alive, at_once))


def _less(time_to_come: Guess, alive: Sequence[JobRecord], at_once: int | None) -> Guess:
    """Without what the running jobs have spent already."""
    spent = sum(time.time() - each.began for each in alive) / (at_once or max(1, len(alive)))
    return time_to_come._replace(seconds=max(0.0, time_to_come.seconds - spent))


def line(name: str, state: State) -> str:
    """A state in words."""
    told = f"{name}: {state.done} done, {state.running} running, {state.failed} failed, {state.left} left"
    if state.left + state.running == 0:
        return told
    return told if state.time is None else f"{told}; {said(state.time)} to go"


class ProgressLine(threading.Thread):
    """Says how far a sweep is while it runs: on a terminal in a line that stays, else now and then.

    Args:
        sweep: its folder.
        command: `train` or `evaluate`.
        grid: its jobs.
        at_once: how many run together.
        before: jobs of other sweeps.
        alone: whether the jobs run in this process and write to the terminal themselves.
    """

    EVERY, AT_MOST_EVERY = 1.0, 15.0
    """Seconds between two looks; between two lines where lines do not stay."""

    def __init__(
        self, sweep: Path, command: str, grid: Grid, at_once: int | None, before: list[Past], alone: bool
    ) -> None:
        super().__init__(name="progress of the sweep", daemon=True)
        self.what = (sweep, command, grid, at_once, time.time(), before)
        self.stays = sys.stderr.isatty() and not alone
        self.over = threading.Event()
        self.last = ""

    def run(self) -> None:
        """Look and tell until `finish`."""
        told = time.monotonic()
        while not self.over.wait(self.EVERY):
            if self.stays or time.monotonic() - told >= self.AT_MOST_EVERY:
                self._tell("\r\x1b[K" if self.stays else "", "" if self.stays else "\n")
                told = time.monotonic()

    def finish(self) -> State:
        """End, with a last line; gives the state."""
        self.over.set()
        self.join()
        self._tell("\r\x1b[K" if self.stays else "", "\n", always=True)
        return state_of(*self.what)

    def _tell(self, before: str, after: str, always: bool = False) -> None:
        state = state_of(*self.what)
        text = line(self.what[0].name, state)
        if always or text != self.last:
            print(f"{before}{text}", end=after, file=sys.stderr, flush=True)
        self.last = text
