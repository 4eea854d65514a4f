"""How fast each method loses its worth under a stress: the curves of every board, in every metric."""

from __future__ import annotations

from typing import NamedTuple

import pandas as pd

from ecg_lightning.reporting.curves import mean_and_interval
from ecg_lightning.reporting.report.boards import Board
from ecg_lightning.reporting.report.leaderboard import Value
from ecg_lightning.reporting.robustness import SUFFERS, stress_curves
from ecg_lightning.reporting.tables import METRICS


class Stressed(NamedTuple):
    """One metric of all methods under one stress at one budget.

    Attributes:
        board: of the methods.
        stress: its name.
        axis: what its levels are.
        budget: of labels.
        metric: which.
        levels: from easy to hard; `clean` first where the easiest level is a stress already.
        values: by method, then by level.
    """

    board: Board
    stress: str
    axis: str
    budget: str
    metric: str
    levels: list[str]
    values: dict[str, dict[str, Value]]


def stressed(board: Board) -> list[Stressed]:
    """Every stress of a board."""
    cells = [(path, result) for path, result in board.cells if "robustness" in result]
    return [
        Stressed(
            board, str(curve.stress["name"]), curve.stress["axis"] + SUFFERS[curve.stress["applies_to"]], curve.budget,
            metric, curve.levels, _values(curve.rows),
        )
        for metric in METRICS
        for curve in stress_curves(cells, board.root, metric).values()
    ]  # fmt: skip


def _values(rows: pd.DataFrame) -> dict[str, dict[str, Value]]:
    values: dict[str, dict[str, Value]] = {}
    for (method, at), results in rows.groupby(["method", "at"], sort=False):
        values.setdefault(str(method), {})[str(at)] = Value(*mean_and_interval(results), len(results))
    return values
