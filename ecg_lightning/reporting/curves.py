"""Curves of several methods: a metric over the number of labels, or over whatever else has levels."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ecg_lightning.evaluation.intervals import seed_interval
from ecg_lightning.reporting.style import (
    FONT,
    GREY,
    GRID,
    INK,
    method_colours,
    new_figure,
    points,
    quiet_axes,
    save_png,
    write_heading,
)
from ecg_lightning.reporting.tables import METRIC_NAMES

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

COLUMNS = ("method", "budget", "seed", "value")
FULL = "full"
MARKERS = "osD^v<>"
DODGE = 0.012  # decades of labels between neighbouring methods, so that their seeds do not hide one another

WIDTH, HEIGHT = 105, 72  # mm, the axes; the page grows around them with what is written there
MARGIN = 4  # mm
NAME_GAP, NAME_PITCH = 7, 5  # mm from the axes to the names of the methods, from one name to the next


def label_efficiency(
    rows: pd.DataFrame | Sequence[Mapping[str, Any]],
    path: str | Path,
    metric: str = "macro_f1",
    title: str = "",
    chance: float | None = None,
    axis: str = "labelled examples",
) -> Path:
    """Draw a line per method over the number of labels: the mean over seeds, its 95 % t-interval, each seed a dot.

    Args:
        rows: `method`, `budget` (a number of labels or "full"), `seed` and `value` of each result.
        path: the PNG to write; missing folders are made.
        metric: name of the metric, for the axis.
        title: above the curves.
        chance: the metric of a guess, drawn dashed.
        axis: what the budgets are numbers of.

    Returns:
        The path written.

    Raises:
        ValueError: there are no rows, a column is missing, a budget is neither a positive number nor "full", a value
            is not finite, or a method has two values for one budget and seed.
    """
    table = _checked(rows).rename(columns={"budget": "at"})
    places = _places(table["at"])
    return draw_curves(table, places, path, metric, title, f"{axis} (log scale)", apart=FULL, chance=chance)


def draw_curves(
    table: pd.DataFrame,
    places: Mapping[Any, float],
    path: str | Path,
    metric: str,
    title: str,
    axis: str,
    apart: Any = None,
    chance: float | None = None,
) -> Path:
    """Draw a line per method: the mean over seeds with its 95 % t-interval, or one seed's own interval.

    Args:
        table: `method`, `at`, `seed` and `value` of each result; `low` and `high` too where a seed that is alone
            brings an interval over test patients.
        places: where each `at` stands on the axis, from left to right.
        path: the PNG to write; missing folders are made.
        metric: name of the metric, for the axis.
        title: above the curves.
        axis: what `at` is.
        apart: the first or last `at` where it is out of the scale: lines to it are dotted.
        chance: the metric of a guess, drawn dashed.

    Returns:
        The path written.
    """
    colours = method_colours(table["method"])
    height = max(HEIGHT, NAME_PITCH * (len(colours) + 1))
    figure = new_figure(WIDTH, height)
    axes = figure.add_axes((0, 0, 1, 1))

    ends = _draw_methods(axes, table, places, colours, apart)
    if chance is not None:
        axes.axhline(chance, color=GREY, linewidth=points(0.3), linestyle=(0, (4, 3)), zorder=1)
    _dress(axes, places, metric, axis, margin=0.05 + DODGE * len(colours) / 2)
    if chance is not None:
        ends.append(("chance", GREY, axes.get_xlim()[1], chance))
    write_heading(axes, textwrap.fill(title, 55), _note(table), height)
    _write_names(axes, ends, NAME_PITCH / height)
    return save_png(figure, path, margin_mm=MARGIN)


def _checked(rows: pd.DataFrame | Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    import pandas as pd

    table = pd.DataFrame(rows)
    missing = [column for column in COLUMNS if column not in table]
    if table.empty or missing:
        raise ValueError(
            f"rows of a label-efficiency curve need {', '.join(COLUMNS)}; missing: {missing or 'all rows'}"
        )
    table = table[list(COLUMNS)].astype({"method": str, "value": float})
    table["budget"] = [_budget(value) for value in table["budget"]]
    unusable = table[~np.isfinite(table["value"])]
    twice = table[table.duplicated(["method", "budget", "seed"])]
    for fault, found in (("value that is not finite", unusable), ("second value", twice)):
        if len(found):
            method, budget, seed, _ = found.iloc[0]
            raise ValueError(f"{method}, budget {budget}, seed {seed} has a {fault}")
    return table.sort_values(["method", "value"])


def _budget(value: Any) -> int | str:
    if value == FULL:
        return FULL
    try:
        labels = float(value)
    except (TypeError, ValueError):
        labels = 0.0
    if labels < 1 or not labels.is_integer():
        raise ValueError(f"budget {value!r} is neither a positive number of labels nor {FULL!r}")
    return int(labels)


def _places(budgets: Iterable[int | str]) -> dict[int | str, float]:
    """Where each budget stands on the axis: at its logarithm, all labels one average step behind the last number."""
    numbers = sorted(int(budget) for budget in set(budgets) - {FULL})
    places: dict[int | str, float] = {number: math.log10(number) for number in numbers}
    if FULL in set(budgets):
        logs = [*places.values()] or [0.0]
        places[FULL] = logs[-1] + (logs[-1] - logs[0]) / max(len(logs) - 1, 1) + 0.1
    return places


def _draw_methods(
    axes: Axes, table: pd.DataFrame, places: Mapping[Any, float], colours: Mapping[str, str], apart: Any
) -> list[tuple[str, str, float, float]]:
    """Every method beside its neighbours; gives name, colour and end of each line."""
    ends = []
    for i, ((method, colour), marker) in enumerate(zip(colours.items(), cycle(MARKERS), strict=False)):
        shift = DODGE * (i - (len(colours) - 1) / 2)
        beside = {at: x + shift for at, x in places.items()}
        end = _draw_method(axes, table[table["method"] == method], beside, colour, marker, apart)
        ends.append((method, colour, *end))
    return ends


def _draw_method(
    axes: Axes, table: pd.DataFrame, places: Mapping[Any, float], colour: str, marker: str, apart: Any
) -> tuple[float, float]:
    """One method's line, interval and seeds; gives the line's end."""
    by_place = {at: table[table["at"] == at] for at in places}
    present = {at: results for at, results in by_place.items() if len(results)}
    x = np.array([places[at] for at in present])
    mean, low, high = np.array([mean_and_interval(results) for results in present.values()], dtype=float).T
    scaled = np.array([at != apart for at in present])

    axes.fill_between(x, low, high, color=colour, alpha=0.13, linewidth=0, zorder=2)
    axes.vlines(x, low, high, color=colour, alpha=0.6, linewidth=points(0.25), zorder=3)
    axes.scatter(
        np.repeat(x, [len(results) for results in present.values()]),
        np.concatenate([results["value"] for results in present.values()]),
        s=7, color=colour, alpha=0.5, linewidths=0, zorder=3,
    )  # fmt: skip
    axes.plot(x, mean, color=colour, linewidth=points(0.35), linestyle=(0, (1, 1.5)), zorder=4)
    axes.plot(x[scaled], mean[scaled], color=colour, linewidth=points(0.6), zorder=4)
    axes.plot(x, mean, marker, color=colour, markersize=5.5, markeredgecolor="white", markeredgewidth=0.6, zorder=5)
    return float(x[-1]), float(mean[-1])


def mean_and_interval(results: pd.DataFrame) -> tuple[float, float | None, float | None]:
    """The mean of `value` over seeds with its 95 % t-interval; of one seed its own, `low` to `high`, if any."""
    if len(results) == 1 and {"low", "high"} <= set(results):
        value, low, high = results.iloc[0][["value", "low", "high"]]
        return value, low, high
    return seed_interval(results["value"].to_numpy())


def _dress(axes: Axes, places: Mapping[Any, float], metric: str, axis: str, margin: float) -> None:
    """Axes, ticks at the places themselves, and a quiet grid."""
    axes.set_xticks(list(places.values()), [str(at) for at in places])
    axes.set_xlim(min(places.values()) - margin, max(places.values()) + margin)
    axes.set_ylim(*axes.get_ylim())
    axes.ticklabel_format(axis="y", useOffset=False)
    axes.set_xlabel(axis, family=FONT, fontsize=10, color=INK, labelpad=5)
    axes.set_ylabel(METRIC_NAMES.get(metric, metric.replace("_", " ")), family=FONT, fontsize=10, color=INK, labelpad=5)
    axes.grid(axis="y", color=GRID, linewidth=points(0.2), zorder=0)
    quiet_axes(axes)


def _note(table: pd.DataFrame) -> str:
    seeds = table.groupby(["method", "at"], sort=False).size()
    fewest, most = int(seeds.min()), int(seeds.max())
    count = f"{most}" if fewest == most else f"{fewest} to {most}"
    alone = "one seed, 95 % interval over test patients" if "low" in table else "one seed"
    return alone if most == 1 else f"mean and 95 % t-interval over {count} seeds; each dot is one seed"


def _write_names(axes: Axes, ends: Sequence[tuple[str, str, float, float]], pitch: float) -> None:
    """Each method's name beside the end of its line, moved apart where lines end close together."""
    (left, right), (bottom, top) = axes.get_xlim(), axes.get_ylim()
    x = np.array([(end[2] - left) / (right - left) for end in ends])
    y = np.array([(end[3] - bottom) / (top - bottom) for end in ends])
    at = 1 + NAME_GAP / WIDTH
    line: dict[str, Any] = {"transform": axes.transAxes, "clip_on": False, "linewidth": points(0.2), "alpha": 0.7}
    text: dict[str, Any] = {"transform": axes.transAxes, "family": FONT, "parse_math": False, "fontsize": 10}
    for (name, colour, *_), end, level, beside in zip(ends, x, y, spread(y, pitch), strict=True):
        axes.plot((end + 0.015, at - 0.01), (level, beside), color=colour, **line)
        axes.text(at, beside, name, color=colour, va="center_baseline", **text)


def spread(levels: NDArray[np.floating], pitch: float) -> NDArray[np.floating]:
    """Move levels apart to at least `pitch`, within 0 to 1, each as little as least squares allow.

    Isotonic regression of the levels less their rank times the pitch; their order is kept.
    """
    from scipy.optimize import isotonic_regression

    order = np.argsort(levels, kind="stable")
    steps = pitch * np.arange(len(levels))
    moved = np.clip(isotonic_regression(levels[order] - steps).x, 0, 1 - steps[-1]) + steps
    return moved[np.argsort(order)]
