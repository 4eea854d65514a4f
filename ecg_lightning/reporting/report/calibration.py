"""How far the probabilities of each method are from what is observed, as they are and after each scaler."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from ecg_lightning.evaluation.intervals import seed_interval
from ecg_lightning.reporting.report.leaderboard import Line, Value
from ecg_lightning.reporting.report.shape import MEASURES, NOT_SCALERS

UNSCALED = "none"


class Calibration(NamedTuple):
    """One method at one budget after one scaler.

    Attributes:
        line: the method.
        scaler: its name, `none` for the probabilities as they are.
        values: by measure, where it is defined.
    """

    line: Line
    scaler: str
    values: dict[str, Value]


def calibrations(lines: Sequence[Line]) -> list[Calibration]:
    """Every line after every scaler that its cells were given, unscaled first."""
    return [
        Calibration(line, scaler, values)
        for line in lines
        for scaler in _scalers(line)
        if (values := _values(line, scaler))
    ]


def _scalers(line: Line) -> list[str]:
    names = {name for result in line.results for name in result.get("calibration", {}) if name not in NOT_SCALERS}
    return sorted(names, key=lambda name: (name != UNSCALED, name))


def _values(line: Line, scaler: str) -> dict[str, Value]:
    reports = [result.get("calibration", {}).get(scaler, {}) for result in line.results]
    by_measure = {
        name: [report[name]["value"] for report in reports if report.get(name, {}).get("value") is not None]
        for name in MEASURES
    }
    return {name: Value(*seed_interval(of), len(of)) for name, of in by_measure.items() if of}
