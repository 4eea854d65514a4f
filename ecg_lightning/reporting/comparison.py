"""Does pretraining help, and which one? Methods on the same labels and patients, in words."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ecg_lightning.evaluation.paired import Contest, Outcome, compare
from ecg_lightning.reporting.tables import METRIC_NAMES, budget_order, labels_of
from ecg_lightning.results import read_resampled

LEAST_SEEDS = 5

Row = dict[Any, Any]


class Resampled:
    """Metrics of cells in every resample, each file read once."""

    def __init__(self, folder: Path, metrics: Sequence[str]) -> None:
        """Read nothing yet.

        Args:
            folder: of the cells.
            metrics: that will be asked for.
        """
        self._folder, self._metrics = folder, tuple(metrics)
        self._read: dict[str, dict[str, NDArray[np.floating[Any]]]] = {}

    def of(self, cell: str, metric: str) -> NDArray[np.floating[Any]]:
        """(R,) one metric of a cell; empty where none was drawn, or the predictions were deleted.

        Raises:
            UserError: the cell's predictions are damaged.
        """
        if cell not in self._read:
            self._read[cell] = read_resampled(self._folder / cell, self._metrics)
        return self._read[cell].get(metric, np.empty(0))


def are_rivals(ours: Row, theirs: Row) -> bool:
    """Whether a pretrained method is asked to beat another; of two pretrained ones the first in the alphabet asks."""
    if not ours["pretrained"]:
        return False
    alike = ours["kind"] == theirs["kind"]
    if theirs["pretrained"]:
        return bool(alike and ours["method"] < theirs["method"])
    return bool(alike or theirs["protocol"] in ("scratch", "classical"))


def compare_methods(
    rows: pd.DataFrame,
    folder: Path,
    metric: str,
    rivals: Callable[[Row, Row], bool] = are_rivals,
    resampled: Resampled | None = None,
) -> pd.DataFrame:
    """Every pretrained method against its rivals at every budget, all intervals holding at once.

    Rivals are the same method on other features or another encoder, training from scratch, and the classical baseline.
    Differences are paired: the same labels under each seed, the same test patients, the same resamples of them.

    Args:
        rows: see `tables.flatten`.
        folder: of the cells.
        metric: the one to compare.
        rivals: whether the first of two rows is to be compared with the second.
        resampled: where metrics in resamples were read before, for other metrics of the same cells.

    Returns:
        A row for each comparison over at least five label seeds: `method`, `rival`, `budget`, `seeds`, `difference`,
        `low`, `high`, `p`, `over_patients`, `verdict`.
    """
    resampled = resampled or Resampled(folder, [metric])
    cells: dict[tuple[str, str], list[Row]] = {}
    for row in records(rows.dropna(subset=[metric])):
        cells.setdefault((row["method"], row["budget"]), []).append(row)
    found = []
    for (method, budget), ours in cells.items():
        for rival, theirs in ((name, own) for (name, size), own in cells.items() if size == budget):
            contest = _contest(ours, theirs, resampled, metric) if rivals(ours[0], theirs[0]) else None
            if contest is not None:
                found.append(({"method": method, "rival": rival, "budget": budget}, contest))
    outcomes = compare([contest for _, contest in found])
    return pd.DataFrame([
        {**names, "seeds": len(contest.observed), "difference": outcome.mean, **outcome._asdict(),
         "verdict": verdict(outcome)}
        for (names, contest), outcome in zip(found, outcomes, strict=True)
    ]).drop(columns="mean", errors="ignore")  # fmt: skip


def records(rows: pd.DataFrame) -> list[Row]:
    """A mapping for each row; `DataFrame.to_dict` takes ten times as long."""
    names = rows.columns.tolist()
    columns = [rows[name].tolist() for name in names]
    return [dict(zip(names, values, strict=True)) for values in zip(*columns, strict=True)]


def verdict(outcome: Outcome) -> str:
    """`beats`, `loses to`, or `no difference shown`."""
    return "beats" if outcome.low > 0 else "loses to" if outcome.high < 0 else "no difference shown"


def sentences(comparisons: pd.DataFrame, metric: str) -> Iterator[str]:
    """One line for each pair of methods, with its verdict at every budget; then what the intervals mean."""
    table = sorted(comparisons.to_dict("records"), key=_pair)
    for (method, rival), group in groupby(table, _pair):
        entries = sorted(group, key=lambda row: budget_order(row["budget"]))
        yield f"{method} against {rival}: " + "; ".join(_entry(row) for row in entries)
    if table:
        over = {"test patients and label seeds" if row["over_patients"] else "label seeds" for row in table}
        yield (f"differences in {METRIC_NAMES.get(metric, metric)} are paired; their 95 % intervals over "
               f"{' or '.join(sorted(over))} hold for all {len(table)} comparisons together")  # fmt: skip


def _pair(row: Row) -> tuple[str, str]:
    return row["method"], row["rival"]


def _entry(row: Row) -> str:
    at = f"{row['difference']:+.3f} [{row['low']:+.3f}, {row['high']:+.3f}]"
    return f"{row['verdict'].removesuffix(' to')} at {labels_of(row['budget'])} ({at})"


def _contest(ours: Sequence[Row], theirs: Sequence[Row], resampled: Resampled, metric: str) -> Contest | None:
    """The differences under the label seeds that both have, averaged over the model seeds that both have."""
    first, second = ({row["seed"]: row for row in rows} for rows in (ours, theirs))
    by_label: dict[str, list[tuple[float, np.ndarray[Any, Any]]]] = {}
    for seed in first.keys() & second.keys():
        pair = first[seed], second[seed]
        observed = pair[0][metric] - pair[1][metric]
        both = [resampled.of(row["cell"], metric) for row in pair]
        same = pair[0]["truth"] == pair[1]["truth"] and len(both[0]) == len(both[1])
        difference = both[0] - both[1] if same else np.empty(0)
        by_label.setdefault(str(seed).partition("/")[0], []).append((observed, difference))
    if len(by_label) < LEAST_SEEDS:
        return None
    pairs_S = [pairs for _, pairs in sorted(by_label.items())]
    observed_S = np.array([sum(each for each, _ in pairs) / len(pairs) for pairs in pairs_S])
    R = min(len(each) for pairs in pairs_S for _, each in pairs)
    resampled_SR = np.array([np.add.reduce([each[:R] for _, each in pairs]) / len(pairs) for pairs in pairs_S])
    return Contest(observed_S, resampled_SR)
