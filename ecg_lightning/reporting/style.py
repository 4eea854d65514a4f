"""How every picture looks: one font, fixed colours, and one way to a file."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ecg_lightning.files import replacing
from ecg_lightning.reporting.dark import on_dark_ground

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PX_PER_MM = 6
"""Whole pixels per millimetre (152.4 dpi), so that millimetre paper falls on the pixel raster."""

FONT = "DejaVu Sans"
"""Ships with matplotlib: the same glyphs on every machine."""

INK, GREY, GRID = "#111111", "#666666", "#E6E6E6"
BLUE, VERMILLION, GREEN, PURPLE, SKY = "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#2A9BD1"
ORANGE, BROWN, OLIVE = "#C48700", "#7A4A1D", "#5F6B00"
PALETTE = (BLUE, VERMILLION, GREEN, PURPLE, SKY, ORANGE, BROWN, OLIVE)
"""After Okabe & Ito (2008), told apart with every common colour vision; the pale ones darkened to show on white."""

NOTE_LINE = 4.3
"""mm from one line of small print to the next."""

# A role keeps its colour in every figure; a name with no role here takes one that the figure leaves free.
_ROLES = {
    "random": GREY,
    "classical": INK,
    "scratch": ORANGE,
    "mae": BLUE,
    "cpc": VERMILLION,
    "simclr": GREEN,
    "jepa": PURPLE,
    "transformation": SKY,
}


def method_colours(methods: Iterable[str]) -> dict[str, str]:
    """A colour for each method.

    Args:
        methods: names such as `MAE, linear probe` or `from scratch`; a word that is a role gives the colour, to the
            first in alphabetical order where several claim it.

    Returns:
        Hex colours by name, in alphabetical order.
    """
    names = sorted(set(methods))
    owners = {colour: name for name in reversed(names) if (colour := _role_colour(name))}
    colours = {name: colour for colour, name in owners.items()}
    free = cycle([colour for colour in PALETTE if colour not in owners] or PALETTE)
    return {name: colours.get(name) or next(free) for name in names}


def class_colours(classes: int, shown: Sequence[int]) -> dict[int, str]:
    """A colour for each class that a picture shows, the same in every picture of so few that each has its own.

    Args:
        classes: how many there are.
        shown: numbers of at most as many as there are colours.
    """
    own = classes <= len(PALETTE)
    return {number: PALETTE[number if own else place] for place, number in enumerate(sorted(shown))}


def _role_colour(name: str) -> str | None:
    words = set(re.findall(r"[a-z0-9]+", name.lower()))
    return next((colour for role, colour in _ROLES.items() if role in words), None)


def new_figure(width_mm: float, height_mm: float) -> Figure:
    """An empty white figure of that size, apart from pyplot's global state."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width_mm / 25.4, height_mm / 25.4), dpi=25.4 * PX_PER_MM, facecolor="white")
    FigureCanvasAgg(figure)
    return figure


def save_png(figure: Figure, path: str | Path, margin_mm: float | None = None, *, on_paper: bool = False) -> Path:
    """Write the figure as PNG, and as NAME-dark.png on a dark ground; the same figure gives the same bytes.

    Args:
        figure: made by `new_figure`.
        path: where to; missing folders are made, a file there is replaced.
        margin_mm: white left around what is drawn, wherever that ends; without it the page keeps its size.
        on_paper: ECG paper is pink everywhere: there is no dark one.

    Returns:
        The path written.
    """
    path = Path(path)
    how: dict[str, Any] = {"format": "png", "dpi": figure.dpi, "metadata": {"Software": None}}
    if margin_mm is not None:
        how |= {"bbox_inches": "tight", "pad_inches": margin_mm / 25.4}
    with replacing(path) as partial:
        figure.savefig(partial, **how)
    if not on_paper:
        with on_dark_ground(figure), replacing(dark_name(path)) as partial:
            figure.savefig(partial, **how)
    return path


def dark_name(path: Path) -> Path:
    """Where the dark version of a chart lies."""
    return path.with_name(f"{path.stem}-dark{path.suffix}")


def write_heading(axes: Axes, title: str, note: str, height_mm: float) -> None:
    """A title and a line of small print above a chart.

    Args:
        axes: of the chart.
        title: one or more lines.
        note: says what is drawn; may be several lines.
        height_mm: of the axes.
    """
    note_lines = note.count("\n") + 1
    style: dict[str, Any] = {"transform": axes.transAxes, "family": FONT, "parse_math": False, "va": "bottom"}
    above = 4 + NOTE_LINE * note_lines
    axes.text(0, 1 + above / height_mm, title, fontsize=12, fontweight="bold", color=INK, **style)
    axes.text(0, 1 + 3 / height_mm, note, fontsize=9, color=GREY, linespacing=1.3, **style)


def quiet_axes(axes: Axes) -> None:
    """Two thin axes, small ticks."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set(color=GREY, linewidth=points(0.25))
    axes.tick_params(labelsize=9, labelfontfamily=FONT, color=GREY, labelcolor=INK, length=3)


def points(mm: float) -> float:
    """A length in points, as matplotlib wants the widths of lines."""
    return mm * 72 / 25.4
