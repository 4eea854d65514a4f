"""Every figure as plain tables: those of the page, and those of every cell."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pandas as pd

from ecg_lightning.files import replacing
from ecg_lightning.reporting.report.boards import Board
from ecg_lightning.reporting.report.cost import costs
from ecg_lightning.reporting.report.leaderboard import Line, Value
from ecg_lightning.reporting.report.page import Report

COLUMNS = ("part", "data", "method", "encoder", "budget", "condition", "level", "figure", "mean", "low", "high",
           "seeds", "verdict", "difference", "difference_low", "difference_high", "rival")  # fmt: skip

UNDEFINED = float("nan")

Row = dict[str, Any]


def figures(report: Report) -> pd.DataFrame:
    """Every figure of the page, a row each.

    `part` is the section; `condition` a stress or a scaler, and `level` its level; what does not apply is empty.
    """
    rows = [*_leaderboard(report.every_line), *_stresses(report), *_calibrations(report), *_costs(report.every_line)]
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    numbers = ("mean", "low", "high", "difference", "difference_low", "difference_high")
    kinds = dict.fromkeys(numbers, float) | {"seeds": "Int64"}
    words = [name for name in COLUMNS if name not in kinds]
    table[words] = table[words].astype(object).fillna("").astype(str)
    return table.astype(kinds)


def _leaderboard(lines: Sequence[Line]) -> Iterator[Row]:
    for line in lines:
        for metric, value in line.values.items():
            verdict = line.verdicts[metric]
            yield {**_about(line), "part": "leaderboard", "figure": metric, **value._asdict(), "verdict": verdict.word,
                   "difference": verdict.difference, "difference_low": verdict.low, "difference_high": verdict.high,
                   "rival": verdict.rival}  # fmt: skip


def _stresses(report: Report) -> Iterator[Row]:
    for each in report.stresses:
        about = {"part": "robustness", "data": each.board.name, "budget": each.budget, "figure": each.metric,
                 "condition": f"{each.stress}: {each.axis}"}  # fmt: skip
        for method, values in each.values.items():
            for level, value in values.items():
                yield {**about, "method": method, "level": level, **value._asdict()}


def _calibrations(report: Report) -> Iterator[Row]:
    for each in report.calibrations:
        for name, value in each.values.items():
            about = {**_about(each.line), "part": "calibration", "condition": each.scaler}
            yield {**about, "figure": name, **value._asdict()}


def _costs(lines: Sequence[Line]) -> Iterator[Row]:
    for cost in costs(lines):
        told = {"seconds": cost.seconds, "slowest_seconds": cost.slowest, "peak_memory_mb": cost.memory,
                "parameters": cost.parameters}  # fmt: skip
        for name, number in told.items():
            if number is not None:
                value = Value(float(number), None, None, len(cost.line.members))
                yield {**_about(cost.line), "part": "cost", "figure": name, **value._asdict()}


def _about(line: Line) -> Row:
    return {"data": line.board.name, "method": line.method, "encoder": line.first["encoder"]["digest"],
            "budget": line.budget}  # fmt: skip


def cells(boards: Sequence[Board]) -> pd.DataFrame:
    """Every finished cell, a row each: what was asked, every metric, and its cost.

    Metrics of all classes come with their interval over test patients; those of one class without.
    """
    table = pd.DataFrame([row for board in boards for row in _cells(board)])
    return table.astype({name: str for name in table if table[name].dtype == object})


def _cells(board: Board) -> Iterator[Row]:
    for row, result in zip(board.rows.to_dict("records"), board.results, strict=True):
        metrics = {
            f"{name}{end}": metric[key]
            for name, metric in result["metrics"].items()
            if isinstance(metric, dict) and "value" in metric
            for key, end in (("value", ""), ("low", "_low"), ("high", "_high"))
            if not end or "/" not in name
        }
        yield {
            "cell": row["cell"], "data": board.name, "method": row["method"], "budget": row["budget"],
            "seed": str(result["seed"]), "model_seed": str(result["model_seed"]), "encoder": row["encoder"],
            "pretrained_on": str(result["encoder"]["pretrained_on"]), "fingerprint": row["fingerprint"],
            "truth": row["truth"], "split": board.split, "commit": str(result["commit"]),
            "device": str(result["device"]), "seconds": float(result["seconds"]),
            "peak_memory_mb": float(result["peak_memory_mb"]),
            "parameters": float(result["encoder"].get("parameters", UNDEFINED)),
            "collapsed": bool(result["collapsed"]),
            **{name: UNDEFINED if value is None else float(value) for name, value in metrics.items()},
        }  # fmt: skip


def write_figures(table: pd.DataFrame, path: Path) -> list[Path]:
    """Write a table as CSV, and as Parquet where pyarrow is installed.

    Args:
        table: to be written.
        path: without a suffix.

    Returns:
        What was written.
    """
    csv, parquet = path.with_suffix(".csv"), path.with_suffix(".parquet")
    if find_spec("pyarrow") is None:
        with replacing(csv) as partial:
            table.to_csv(partial, index=False)
        return [csv]
    import pyarrow
    from pyarrow.csv import write_csv
    from pyarrow.parquet import write_table

    arrow = pyarrow.Table.from_pandas(table, preserve_index=False)
    for path_of, write in ((csv, write_csv), (parquet, write_table)):  # ten times as fast as pandas
        with replacing(path_of) as partial:
            write(arrow, partial)
    return [csv, parquet]
