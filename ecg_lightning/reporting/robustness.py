"""Robustness curves: how fast each method loses its worth under a stress."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from ecg_lightning.reporting.curves import draw_curves, mean_and_interval
from ecg_lightning.reporting.tables import METRIC_NAMES, entry, flatten, labels_of, markdown_lines, print_lines

CLEAN = "clean"
PITCH = 0.25
"""From one level to the next on the axis, in decades of a label-efficiency curve."""

SUFFERS = {"test": ", test signals only", "both": ", training and test signals", "labels": ""}
"""What an axis adds to the name of the level."""

Cells = Sequence[tuple[Path, Mapping[str, Any]]]
"""See `results.cells`."""


class Curve(NamedTuple):
    """All that one picture shows.

    Attributes:
        stress: `robustness` of a result of it.
        budget: of the results.
        rows: `method`, `at`, `seed`, `value`, `low` and `high` of each result at each level.
        levels: every `at`, from easy to hard.
    """

    stress: Mapping[str, Any]
    budget: str
    rows: pd.DataFrame
    levels: list[str]


def without_twins(found: Cells) -> list[tuple[Path, Mapping[str, Any]]]:
    """Each set of clean metrics once: of finished cells that differ in their stress alone the one without, if any."""
    twins = {path: path.parent / result["robustness"]["twin"] for path, result in found if "robustness" in result}
    kept: dict[Path, tuple[Path, Mapping[str, Any]]] = {}
    for path, result in sorted(found, key=lambda cell: cell[0] in twins):
        kept.setdefault(twins.get(path, path), (path, result))
    return sorted(kept.values(), key=lambda cell: cell[0])


def summarise_stresses(found: Cells, folder: Path, metric: str) -> list[Path]:
    """Print a table for each stress and budget, and write it beside its picture.

    Args:
        found: the cells of a folder, finished or not.
        folder: where they lie.
        metric: the one to show.

    Returns:
        The pictures.
    """
    pictures = []
    for name, curve in stress_curves(found, folder, metric).items():
        shown = METRIC_NAMES.get(metric, metric.replace("_", " "))
        title = f"{shown} on {folder.name}, {labels_of(curve.budget)}: {curve.stress['name']}"
        axis = curve.stress["axis"] + SUFFERS[curve.stress["applies_to"]]
        header, lines = table(curve)
        print_lines(header, lines, title, [axis])
        (folder / f"{name}.md").write_text(markdown_lines(header, lines, title, [axis]))
        places = {at: PITCH * i for i, at in enumerate(curve.levels)}
        pictures.append(draw_curves(curve.rows, places, folder / f"{name}.png", metric, title, axis, apart=CLEAN))
    return pictures


def table(curve: Curve) -> tuple[list[str], list[list[str]]]:
    """Header and lines: a line per method, the one that stands the hardest level best first; a column per level."""
    means = {key: mean_and_interval(results) for key, results in curve.rows.groupby(["method", "at"], sort=False)}
    entries = {key: entry(dict(zip(("mean", "low", "high"), mean, strict=True))) for key, mean in means.items()}
    hardest = {method: mean[0] for (method, at), mean in means.items() if at == curve.levels[-1]}
    methods = sorted(curve.rows["method"].unique(), key=lambda method: -hardest.get(method, -1.0))
    lines = [[method, *(entries.get((method, at), "") for at in curve.levels)] for method in methods]
    return ["method", *curve.levels], lines


def stress_curves(found: Cells, folder: Path, metric: str) -> dict[str, Curve]:
    """By the name of their files; cells of stresses that are called alike and are not share none."""
    groups: dict[tuple[str, str], list[tuple[Path, Mapping[str, Any]]]] = {}
    for path, result in found:
        if "robustness" in result:
            asked = json.dumps({**result["config"]["robustness"], "root": None, "levels": None}, sort_keys=True)
            groups.setdefault((asked, result["budget"]), []).append((path, result))
    curves: dict[str, Curve] = {}
    for (asked, budget), cells in groups.items():
        stress = cells[0][1]["robustness"]
        name = f"robustness_{stress['name']}_{stress['applies_to']}_{budget}"
        name += f"_{blake2b(asked.encode(), digest_size=2).hexdigest()}" if name in curves else ""
        rows = pd.DataFrame(_rows(cells, folder, metric)).dropna(subset=["value"])
        rows = rows.drop_duplicates(["method", "at", "seed"])
        rows = rows[~rows["at"].eq(CLEAN)] if _begins_clean(cells, metric) else rows
        if len(rows):
            curves[name] = Curve(stress, budget, rows, _levels(cells, rows))
    return curves


def _rows(cells: Cells, folder: Path, metric: str) -> Iterator[dict[str, Any]]:
    for row, (_, result) in zip(flatten(cells, folder).to_dict("records"), cells, strict=True):
        levels = [(CLEAN, result["metrics"]), *((_tick(each["level"]), each["metrics"])
                                                for each in result["robustness"]["levels"])]  # fmt: skip
        for at, metrics in levels:
            yield {"method": row["method"], "at": at, "seed": row["seed"], **metrics[metric]}


def _begins_clean(cells: Cells, metric: str) -> bool:
    """Whether the easiest level is no stress at all."""
    return all(result["robustness"]["levels"][0]["metrics"][metric] == result["metrics"][metric] for _, result in cells)


def _levels(cells: Cells, rows: pd.DataFrame) -> list[str]:
    """What stands on the axis, from easy to hard: as the results have them, which rise or fall."""
    each = [level["level"] for level in cells[0][1]["robustness"]["levels"]]
    every = {level["level"] for _, result in cells for level in result["robustness"]["levels"]}
    order = [CLEAN, *map(_tick, sorted(every, reverse=each[0] > each[-1]))]
    return [at for at in order if at in set(rows["at"])]


def _tick(level: float) -> str:
    return f"{level:g}"
