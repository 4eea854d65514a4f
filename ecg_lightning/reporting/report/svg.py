"""Line charts as SVG, drawn for a column of any width on a light or a dark ground."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from html import escape
from typing import NamedTuple

from ecg_lightning.reporting.dark import on_dark
from ecg_lightning.reporting.report.leaderboard import Value

Y = Callable[[float], float]
"""From a value to where it stands."""

WIDTH, HEIGHT = 600, 340
LEFT, RIGHT, TOP, BOTTOM = 58, 18, 14, 52
"""Margins of the axes, in the units of `WIDTH`."""

DODGE = 5
"""Between neighbouring series, so that their intervals do not hide one another; all of them within `WIDEST`."""

WIDEST = 30

MARKERS = (
    "M-4.5 0a4.5 4.5 0 1 0 9 0a4.5 4.5 0 1 0-9 0z",
    "M-4-4h8v8h-8z",
    "M0-5.5 5.5 0 0 5.5-5.5 0z",
    "M0-5 5 4h-10z",
    "M0 5 5-4h-10z",
)
"""A shape for each series in turn: colours alone do not tell them apart for everybody."""


class Series(NamedTuple):
    """One line.

    Attributes:
        name: of the method.
        colour: on white, as in every picture of the method.
        values: by tick.
    """

    name: str
    colour: str
    values: Mapping[str, Value]


@cache
def colours(colour: str) -> str:
    """A colour on either ground, for a `style`."""
    red, green, blue, _ = (round(255 * part) for part in on_dark(colour))
    return f"--c:{colour};--d:#{red:02x}{green:02x}{blue:02x}"


def line_chart(series: Sequence[Series], ticks: Mapping[str, float], axis: str, apart: str | None = None) -> str:
    """Draw a mean with its interval over what `ticks` are.

    Args:
        series: at least one, with at least one value.
        ticks: where each stands, from left to right.
        axis: what they are.
        apart: a tick that is out of the scale: lines to it are dotted.
    """
    ends = [end for each in series for value in each.values.values() for end in (value.mean, value.low, value.high)]
    levels = nice_levels(*_span([end for end in ends if end is not None]))
    first, last = min(ticks.values()), max(ticks.values())

    def x(tick: str, shift: float) -> float:
        inner = WIDTH - LEFT - RIGHT - WIDEST
        share = (ticks[tick] - first) / (last - first) if last > first else 0.5
        return LEFT + WIDEST / 2 + inner * share + shift

    def y(value: float) -> float:
        share = (value - levels[0]) / (levels[-1] - levels[0])
        return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * min(max(share, -0.02), 1.02)

    pitch = min(DODGE, WIDEST / max(len(series), 1))
    drawn = []
    for place, each in enumerate(series):
        shift = pitch * (place - (len(series) - 1) / 2)
        points = [(tick, x(tick, shift), value) for tick, value in each.values.items() if tick in ticks]
        drawn.append(_series(place, each, sorted(points, key=lambda point: point[1]), y, apart))
    return (
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(_told(series))}">'
        f"{_grid(levels, y)}{_ticks({tick: x(tick, 0) for tick in ticks}, axis)}{''.join(drawn)}</svg>"
    )


def nice_levels(low: float, high: float, wanted: int = 5) -> list[float]:
    """Round numbers around a range, about as many as wanted."""
    rough = max(high - low, 1e-6) / (wanted - 1)
    power = 10.0 ** math.floor(math.log10(rough))
    step = power * next(factor for factor in (1, 2, 2.5, 5, 10) if factor * power >= rough * 0.999)
    begin, end = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(step * k, 10) for k in range(begin, max(end, begin + 1) + 1)]


def _span(ends: Sequence[float]) -> tuple[float, float]:
    """What to show: of intervals that leave the values of a metric, two seeds' for one, the part within."""
    return max(min(ends), 0.0) if min(ends) > -0.5 else min(ends), min(max(ends), 1.0) if max(ends) < 1.5 else max(ends)


def _told(series: Sequence[Series]) -> str:
    return "; ".join(
        f"{each.name}: " + ", ".join(f"{value.mean:.3f} at {tick}" for tick, value in each.values.items())
        for each in series
    )


def _grid(levels: Sequence[float], y: Y) -> str:
    decimals = max(len(f"{level:g}".partition(".")[2]) for level in levels)
    return "".join(
        f'<path class="grid" d="M{LEFT} {y(level):.1f}H{WIDTH - RIGHT}"/>'
        f'<text class="tick" x="{LEFT - 8}" y="{y(level):.1f}" dy=".32em" text-anchor="end">{level:.{decimals}f}</text>'
        for level in levels
    )


def _ticks(places: Mapping[str, float], axis: str) -> str:
    base = HEIGHT - BOTTOM
    marks = "".join(
        f'<path class="axis" d="M{place:.1f} {base}v5"/>'
        f'<text class="tick" x="{place:.1f}" y="{base + 20}" text-anchor="middle">{escape(tick)}</text>'
        for tick, place in places.items()
    )
    middle = (LEFT + WIDTH - RIGHT) / 2
    name = f'<text class="name" x="{middle}" y="{HEIGHT - 7}" text-anchor="middle">{escape(axis)}</text>'
    return f'<path class="axis" d="M{LEFT} {base}H{WIDTH - RIGHT}"/>{marks}{name}'


def _series(place: int, series: Series, points: Sequence[tuple[str, float, Value]], y: Y, apart: str | None) -> str:
    sure = [(at, value.low, value.high) for _, at, value in points if value.low is not None and value.high is not None]
    upper = [f"{at:.1f},{y(high):.1f}" for at, _, high in sure]
    lower = [f"{at:.1f},{y(low):.1f}" for at, low, _ in reversed(sure)]
    band = f'<polygon class="band" points="{" ".join(upper + lower)}"/>' if len(sure) > 1 else ""
    stems = "".join(f"M{at:.1f} {y(low):.1f}V{y(high):.1f}" for at, low, high in sure)
    whole = " ".join(f"{at:.1f},{y(value.mean):.1f}" for _, at, value in points)
    scaled = " ".join(f"{at:.1f},{y(value.mean):.1f}" for tick, at, value in points if tick != apart)
    dotted = f'<polyline class="line dotted" points="{whole}"/>' if scaled != whole else ""
    marks = "".join(
        f'<path class="mark" transform="translate({at:.1f} {y(value.mean):.1f})" d="{MARKERS[place % len(MARKERS)]}">'
        f"<title>{escape(f'{series.name}, {tick}: {told(value)}')}</title></path>"
        for tick, at, value in points
    )
    return (
        f'<g class="series" data-series="{place}" style="{colours(series.colour)}">{band}'
        f'<path class="stem" d="{stems}"/>{dotted}<polyline class="line" points="{scaled}"/>{marks}</g>'
    )


def told(value: Value) -> str:
    """`0.713 [0.690, 0.736], 10 seeds`."""
    sure = "" if value.low is None else f" [{value.low:.3f}, {value.high:.3f}]"
    return f"{value.mean:.3f}{sure}, {value.seeds} seed{'s' if value.seeds > 1 else ''}"


def swatch(place: int) -> str:
    """The mark of a series, for a legend."""
    return (
        '<svg class="swatch" viewBox="-11 -7 22 14" aria-hidden="true"><path class="line" d="M-11 0H11"/>'
        f'<path class="mark" d="{MARKERS[place % len(MARKERS)]}"/></svg>'
    )
