"""What each method is worth at each budget, and whether that is more than training from scratch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ecg_lightning.errors import UserError
from ecg_lightning.evaluation.intervals import seed_interval
from ecg_lightning.reporting.comparison import Resampled, Row, compare_methods, records
from ecg_lightning.reporting.report.boards import Board
from ecg_lightning.reporting.report.collect import Trouble
from ecg_lightning.reporting.tables import METRICS, budget_order

BEATS, LOSES, EQUAL = "beats", "loses", "no difference shown"
FEW, NONE, BASELINE = "too few seeds", "no scratch here", "baseline"


class Value(NamedTuple):
    """A mean over seeds with its 95 % t-interval.

    Attributes:
        mean: over the seeds.
        low: lower end; None for one seed.
        high: upper end.
        seeds: how many.
    """

    mean: float
    low: float | None
    high: float | None
    seeds: int


class Verdict(NamedTuple):
    """How a method stands against training the same encoder from scratch, on the same labels and patients.

    Attributes:
        word: one of `BEATS`, `LOSES`, `EQUAL`; `FEW` where fewer than five label seeds are shared, `NONE` where nobody
            trained from scratch, `BASELINE` for what is not pretrained itself.
        difference: mean of the paired differences; None where nothing was compared.
        low: lower end of its interval, which holds together with all others of the board and the metric.
        high: upper end.
        rival: name of the method that it was compared with.
    """

    word: str
    difference: float | None = None
    low: float | None = None
    high: float | None = None
    rival: str = ""


@dataclass(frozen=True)
class Line:
    """One method at one budget.

    Attributes:
        board: where it stands.
        method: its name.
        budget: of labels.
        values: by metric, where it is defined.
        verdicts: by metric, where it is defined.
        members: its cells' places in the board's rows.
    """

    board: Board
    method: str
    budget: str
    values: dict[str, Value]
    verdicts: dict[str, Verdict]
    members: Sequence[int]

    @property
    def first(self) -> dict[str, Any]:
        """The result of its first cell, for what all its cells have in common."""
        return dict(self.board.results[self.members[0]])

    @property
    def results(self) -> list[dict[str, Any]]:
        """The results of its cells."""
        return [dict(self.board.results[member]) for member in self.members]


COMPARED = ("method", "budget", "seed", "protocol", "kind", "pretrained", "encoder", "fingerprint", "truth", "cell")
"""Columns that say what is compared with what; a table of all is long in the making."""


class ForgivingResampled(Resampled):
    """Resamples, of which none are taken from a damaged file; that is noted."""

    def __init__(self, folder: Path, metrics: Sequence[str]) -> None:
        """See `Resampled`."""
        super().__init__(folder, metrics)
        self.troubles: dict[str, Trouble] = {}
        self._at = folder

    def of(self, cell: str, metric: str) -> NDArray[np.floating[Any]]:
        """See `Resampled.of`; nothing is raised."""
        if cell in self.troubles:
            return np.empty(0)
        try:
            return super().of(cell, metric)
        except UserError as error:
            why = f"compared over label seeds alone: {error}"
            self.troubles[cell] = Trouble("unreadable", str(self._at / cell), "", why)
            return np.empty(0)


def lines(board: Board) -> tuple[list[Line], list[Trouble]]:
    """Every method at every budget of a board.

    Returns:
        The lines, by budget and from the best to the worst; and predictions that could not be read.
    """
    values = {metric: _values(board.rows, metric) for metric in METRICS}
    verdicts, troubles = _verdicts(board)
    made = [
        Line(
            board, method, budget,
            {metric: of[method, budget] for metric, of in values.items() if (method, budget) in of},
            {metric: of[method, budget] for metric, of in verdicts.items() if (method, budget) in values[metric]},
            [int(place) for place in places],
        )
        for (method, budget), places in _groups(board.rows).items()
    ]  # fmt: skip
    return sorted(made, key=_order), troubles


def _order(line: Line) -> tuple[float, float, str]:
    value = line.values.get(line.board.metric)
    return budget_order(line.budget), -value.mean if value else 1.0, line.method


def _values(rows: pd.DataFrame, metric: str) -> dict[tuple[str, str], Value]:
    defined = rows.dropna(subset=[metric])
    column = defined[metric].to_numpy()
    return {key: Value(*seed_interval(column[places]), len(places)) for key, places in _groups(defined).items()}


def _groups(rows: pd.DataFrame) -> dict[tuple[str, str], NDArray[np.int64]]:
    """The places of the rows of each method and budget."""
    indices: dict[Any, Any] = rows.groupby(["method", "budget"], sort=False).indices
    return indices


def own_scratch(ours: Row, theirs: Row) -> bool:
    """Whether one is pretrained and the other trained from scratch with the same encoder on the same samples."""
    alike = ours["encoder"] == theirs["encoder"] and ours["fingerprint"] == theirs["fingerprint"]
    return bool(alike and ours["pretrained"] and theirs["protocol"] == "scratch")


def _verdicts(board: Board) -> tuple[dict[str, dict[tuple[str, str], Verdict]], list[Trouble]]:
    """By metric, then by method and budget."""
    resampled = ForgivingResampled(board.root, METRICS)
    table = board.rows.astype(dict.fromkeys(COMPARED, object))  # columns of words are slow to go through
    found = {metric: _verdicts_in(table, board.root, metric, resampled) for metric in METRICS}
    return found, list(resampled.troubles.values())


def _verdicts_in(
    all_rows: pd.DataFrame, root: Path, metric: str, resampled: Resampled
) -> dict[tuple[str, str], Verdict]:
    rows = all_rows[[*COMPARED, metric]]
    heads = records(rows.dropna(subset=[metric]).drop_duplicates(["method", "budget"]))
    means = rows.groupby(["method", "budget"])[metric].mean().to_dict()
    compared: dict[tuple[str, str], list[Row]] = {}
    for row in compare_methods(rows, root, metric, own_scratch, resampled).to_dict("records"):
        compared.setdefault((row["method"], row["budget"]), []).append(row)
    trained_anew = [head for head in heads if head["protocol"] == "scratch"]
    verdicts = {}
    for head in heads:
        key = head["method"], head["budget"]
        if key in compared:  # with the strongest, where scratch was run in several ways
            verdicts[key] = _told(max(compared[key], key=lambda row: means[row["rival"], row["budget"]]))
        elif not head["pretrained"]:
            verdicts[key] = Verdict(BASELINE)
        else:
            there = any(each["budget"] == head["budget"] and own_scratch(head, each) for each in trained_anew)
            verdicts[key] = Verdict(FEW if there else NONE)
    return verdicts


def _told(row: Row) -> Verdict:
    word = {"beats": BEATS, "loses to": LOSES}.get(row["verdict"], EQUAL)
    return Verdict(word, row["difference"], row["low"], row["high"], row["rival"])


def interval(value: Value | Verdict, show: Callable[[float], str]) -> str:
    """`[0.690, 0.736]`, empty where there is none."""
    return "" if value.low is None or value.high is None else f"[{show(value.low)}, {show(value.high)}]"
