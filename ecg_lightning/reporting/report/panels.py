"""The charts of the page: label efficiency and robustness."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape

from ecg_lightning.reporting.curves import FULL
from ecg_lightning.reporting.report.leaderboard import Line, Value
from ecg_lightning.reporting.report.markup import words
from ecg_lightning.reporting.report.stresses import Stressed
from ecg_lightning.reporting.report.svg import Series, colours, line_chart, swatch
from ecg_lightning.reporting.robustness import CLEAN
from ecg_lightning.reporting.style import method_colours
from ecg_lightning.reporting.tables import METRICS, budget_order, labels_of

MOST_LINES = 10
"""More methods than these are drawn in a panel for each encoder."""


def efficiency(lines: Sequence[Line], number: int) -> str:
    """The label-efficiency curves of one board, in every metric; none where there is one budget alone.

    Args:
        lines: of the board.
        number: of the board.
    """
    colour = method_colours(line.method for line in lines)
    panels = {"": list(lines)}
    if len(colour) > MOST_LINES:
        panels = {}
        for line in lines:
            panels.setdefault(str(line.first["encoder"]["digest"])[:8], []).append(line)
    return "".join(
        _efficiency_panel(members, metric, number, f", encoder {encoder}" if encoder else "", colour)
        for metric in METRICS
        for encoder, members in panels.items()
    )


def _efficiency_panel(lines: Sequence[Line], metric: str, number: int, of: str, colour: Mapping[str, str]) -> str:
    values: dict[str, dict[str, Value]] = {}
    for line in lines:
        if metric in line.values:
            values.setdefault(line.method, {})[_tick(line.budget)] = line.values[metric]
    budgets = sorted({line.budget for line in lines if metric in line.values}, key=budget_order)
    if len(budgets) < 2:
        return ""
    places, apart = places_of(budgets)
    axis = "labelled examples, on a logarithmic scale" if all(map(str.isdigit, budgets)) else "label budget"
    title = f"{lines[0].board.name}{of}"
    return _figure(values, places, apart, axis, title, "mean and 95 % interval over seeds", metric, number, "", colour)


def _tick(budget: str) -> str:
    return budget if budget.isdigit() else labels_of(budget)


def places_of(budgets: Sequence[str]) -> tuple[dict[str, float], str | None]:
    """Where each budget stands: numbers of labels at their logarithm, others behind them one step apart.

    Args:
        budgets: in their order.

    Returns:
        The places by tick; and `full` where it stands behind numbers, so that no line of the scale leads to it.
    """
    logs = {budget: math.log10(int(budget)) for budget in budgets if budget.isdigit()}
    others = [budget for budget in budgets if not budget.isdigit()]
    places = {_tick(budget): at for budget, at in logs.items()}
    known = sorted(logs.values())
    step = (known[-1] - known[0]) / (len(known) - 1) if len(known) > 1 else 1.0
    for place, budget in enumerate(others, start=1):
        places[_tick(budget)] = (known[-1] if known else 0.0) + place * step
    return places, FULL if logs and FULL in others else None


def robustness(found: Stressed, number: int, colour: Mapping[str, str]) -> str:
    """One metric of all methods under one stress."""
    places = {at: float(place) for place, at in enumerate(found.levels)}
    apart = CLEAN if found.levels[0] == CLEAN else None
    title = f"{found.board.name}: {found.stress}, {labels_of(found.budget)}"
    note = "mean and 95 % interval over seeds; of one seed, over test patients"
    return _figure(found.values, places, apart, found.axis, title, note, found.metric, number, found.budget, colour)


def _figure(
    values: Mapping[str, Mapping[str, Value]],
    places: Mapping[str, float],
    apart: str | None,
    axis: str,
    title: str,
    note: str,
    metric: str,
    number: int,
    budget: str,
    colour: Mapping[str, str],
) -> str:
    series = [Series(name, colour[name], of) for name, of in sorted(values.items(), key=lambda each: _last(each[1]))]
    legend = "".join(
        f'<li data-series="{place}" style="{colours(each.colour)}">{swatch(place)}<span>{escape(each.name)}</span></li>'
        for place, each in enumerate(series)
    )
    chosen = f' data-budget="{escape(budget)}"' if budget else ""
    return (
        f'<figure class="m m-{metric}" data-board="{number}"{chosen}><figcaption><h3>{escape(title)}</h3>'
        f'<span class="quiet">{escape(words(metric))}: {escape(note)}</span></figcaption>'
        f'{line_chart(series, places, axis, apart)}<ul class="legend">{legend}</ul></figure>'
    )


def _last(values: Mapping[str, Value]) -> float:
    """The best at the last tick comes first."""
    return -list(values.values())[-1].mean
