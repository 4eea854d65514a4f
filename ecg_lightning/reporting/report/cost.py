"""What each method took: time, memory and parameters, and on which device."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ecg_lightning.reporting.report.leaderboard import Line


class Cost(NamedTuple):
    """What the cells of one method at one budget took.

    Attributes:
        line: the method.
        seconds: median over its cells, learning and judging together.
        slowest: the most seconds.
        memory: the most that one of their processes held, in megabytes.
        parameters: of the encoder; None where the result is from before they were counted.
        devices: on which they ran.
    """

    line: Line
    seconds: float
    slowest: float
    memory: float
    parameters: int | None
    devices: tuple[str, ...]


def costs(lines: Sequence[Line]) -> list[Cost]:
    """The cost of every line."""
    return [_cost(line) for line in lines]


def _cost(line: Line) -> Cost:
    seconds = np.array([result["seconds"] for result in line.results], float)
    memory = max(float(result["peak_memory_mb"]) for result in line.results)
    devices = tuple(sorted({str(result["device"]) for result in line.results}))
    parameters = line.first["encoder"].get("parameters")
    return Cost(line, float(np.median(seconds)), float(seconds.max()), memory, parameters, devices)
