"""What W&B is told of an evaluation: the figures of a cell, or the table and the curve of many."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ecg_lightning.reporting.cell_pictures import PICTURES
from ecg_lightning.reporting.tables import flatten, summarise
from ecg_lightning.results import FILENAME, cells, read_result
from ecg_lightning.tracking.lineage import log_result
from ecg_lightning.tracking.media import pictures

SUMMARY = ("macro_auroc", "macro_f1", "accuracy", "balanced_accuracy", "average_precision")

LEVEL = "robustness/level"
"""Of a stress, over which its figures are drawn."""

TABLES = ("results.csv", "comparisons.csv", "table.md")
"""That a sweep writes beside its cells."""


def define_figures(run: Any) -> None:
    """Say which figures an evaluation is summarised by."""
    for name in SUMMARY:
        for end in ("", "_low", "_high"):
            run.define_metric(f"test/{name}{end}")


def tell_cell(run: Any, folder: Path) -> None:
    """Tell of one finished cell.

    Args:
        run: of W&B.
        folder: of the cell.
    """
    import wandb

    result = read_result(folder)
    assert result is not None
    drawn = dict(pictures(folder / PICTURES))
    media = {f"pictures/{name}": wandb.Image(str(path)) for name, path in drawn.items()}
    run.log({**dict(figures(result)), **media})
    for level in result.get("robustness", {}).get("levels", []):
        under = dict(_values(level["metrics"], "robustness"))
        for name in under:  # one by one, for Lightning says of `*` that it runs over the training's steps
            run.define_metric(name, step_metric=LEVEL)
        run.log({LEVEL: level["level"], **under})
    log_result(run, folder.name, [folder / FILENAME, *drawn.values()], folder)


def figures(result: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    """Name and value of what a cell's result has to say in single numbers.

    Args:
        result: a finished one.
    """
    yield from _values(result["metrics"], "test")
    yield "labels", result["labels"]["allowed"]
    yield "cost/seconds", result["seconds"]
    yield "cost/peak_memory_mb", result["peak_memory_mb"]


def _values(metrics: Mapping[str, Any], group: str) -> Iterator[tuple[str, float]]:
    """Each metric that is defined, and the ends of its interval where it has one."""
    for name, metric in metrics.items():
        if isinstance(metric, dict) and metric.get("value") is not None:
            ends = {"": metric["value"], "_low": metric.get("low"), "_high": metric.get("high")}
            yield from ((f"{group}/{name}{end}", value) for end, value in ends.items() if value is not None)


def tell_table(run: Any, folder: Path) -> None:
    """Tell of all finished cells of a folder: each in a row, the means over seeds, the pictures.

    Args:
        run: of W&B.
        folder: of the cells of one checkpoint on one data set.
    """
    import wandb

    found = [(path, result) for path, result in cells(folder) if result["status"] == "done"]
    if not found:
        return
    rows = flatten(found, folder)
    metric = "macro_auroc" if found[0][1]["multi_label"] else "macro_f1"
    means = summarise(rows, metric).rename(columns={"mean": f"mean {metric}"})
    drawn = dict(pictures(folder))
    run.log(
        {
            "cells": wandb.Table(dataframe=rows.astype({"seed": str})),
            "methods": wandb.Table(dataframe=means),
            "cost/seconds": sum(result["seconds"] for _, result in found),
            **{name: wandb.Image(str(path)) for name, path in drawn.items()},
        }
    )
    files = [*(path / FILENAME for path, _ in found), *(folder / name for name in TABLES), *drawn.values()]
    log_result(run, folder.name, [file for file in files if file.exists()], folder)
