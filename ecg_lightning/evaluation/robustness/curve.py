"""The metrics of a cell at every level of a stress."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ecg_lightning.evaluation.cell import Cell, Fitted
from ecg_lightning.evaluation.condition import CLEAN
from ecg_lightning.evaluation.metrics import MACRO, score
from ecg_lightning.evaluation.robustness.base import Stress
from ecg_lightning.evaluation.setting import Setting


def withstand(
    stress: Stress,
    setting: Setting,
    cell: Cell,
    fitted: Fitted,
    fit: Callable[[Cell], Fitted],
    clean: Mapping[str, Any],
    resamples: int,
) -> dict[str, Any]:
    """What a cell says under stress; it is learned anew only where what is learned from changes.

    Args:
        stress: its `prepare` called.
        setting: the cell's.
        cell: a clean one.
        fitted: what was learned from it.
        fit: learns from another one.
        clean: the report of the clean test signals, see `metrics.score`.
        resamples: see `metrics.score`.

    Returns:
        For `result.json`: `name`, `axis`, `applies_to`, and `levels`, each with its `metrics`, those of `MACRO`.
    """
    levels = []
    for level in stress.levels:
        stressed = stress.at(level, cell)
        report = clean
        if stressed.cell is not cell or stressed.test.condition is not CLEAN:
            learned = fitted if stressed.cell is cell else fit(stressed.cell)
            probability = setting.judged(learned.predict(stressed.test))
            report = score(setting.truth, probability, setting.data.classes, setting.test_patient, resamples=resamples)
        levels.append({"level": level, "metrics": {name: report[name] for name in MACRO}})
    return {"name": stress.name, "axis": stress.axis, "applies_to": stress.applies_to, "levels": levels}
