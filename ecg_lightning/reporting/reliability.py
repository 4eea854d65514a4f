"""Reliability diagrams: how often comes true what is said to have some probability."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ecg_lightning.evaluation.calibration import Curve, reliability
from ecg_lightning.reporting.style import (
    BLUE,
    FONT,
    GREEN,
    GREY,
    INK,
    ORANGE,
    PURPLE,
    VERMILLION,
    new_figure,
    points,
    save_png,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_PANELS, COLUMNS = 12, 4
BINS = 10
"""Fewer than calibration errors are measured in: points that can be told apart."""

SIDE, STRIP = 33, 9  # mm, the square of the diagram and the histogram below it
ACROSS, DOWN, GAP = 40, 57, 2  # mm, from one panel to the next, and between a diagram and its histogram
MARGIN = 4  # mm
TICKS, REACH = (0, 0.5, 1), (-0.03, 1.03)
WIDE, FINE = 1.0, 0.35  # mm
LEAST = 0.7  # of a histogram, so that a single one is seen
COLOURS = (BLUE, VERMILLION, GREEN, PURPLE, ORANGE)

Columns = Mapping[str, NDArray[np.floating]]
"""What was said of one class, (M,), before scaling and after."""


def draw_reliability(
    y: NDArray[np.integer],
    probabilities: Mapping[str, NDArray[np.floating]],
    classes: Sequence[str],
    path: str | Path,
    title: str = "",
) -> Path:
    """Draw a diagram for each of the most frequent classes, and below it how often each probability was said.

    A point is a bin of equal mass: its observed share against its mean probability. The bar through it is the 95 %
    interval of a share (Wilson 1927), which takes rows to be independent. Two exclusive classes are one diagram.

    Args:
        y: (M,) class numbers, or (M, C) zeros and ones.
        probabilities: (M, C) by name: `none` as they were predicted, others as scalers made them.
        classes: the C names.
        path: the PNG to write; missing folders are made.
        title: above the diagrams.

    Returns:
        The path written.

    Raises:
        ValueError: no class has both positives and negatives.
    """
    truth_MC = (y[:, None] == np.arange(len(classes)) if y.ndim == 1 else y).astype(bool)
    shown = _most_frequent(truth_MC, exclusive=y.ndim == 1)
    rows = math.ceil(len(shown) / COLUMNS)
    columns = math.ceil(len(shown) / rows)
    width, height = (columns - 1) * ACROSS + SIDE, (rows - 1) * DOWN + SIDE + GAP + STRIP
    figure = new_figure(width, height)

    def axes_at(left: float, top: float, tall: float) -> Axes:
        return figure.add_axes((left / width, 1 - (top + tall) / height, SIDE / width, tall / height))

    for place, c in enumerate(shown):
        row, column = divmod(place, columns)
        said = {name: probability[:, c] for name, probability in probabilities.items()}
        diagram = axes_at(column * ACROSS, row * DOWN, SIDE)
        strip = axes_at(column * ACROSS, row * DOWN + SIDE + GAP, STRIP)
        _draw_diagram(diagram, said, truth_MC[:, c], classes[c])
        _draw_strip(strip, said, len(y))
        if column == 0:
            diagram.set_ylabel("observed share", family=FONT, fontsize=8, color=INK)
            strip.set_ylabel("count", family=FONT, fontsize=8, color=INK)
        for axes in (diagram, strip):
            axes.yaxis.set_tick_params(labelleft=column == 0)
        if place + columns >= len(shown):
            strip.set_xlabel("predicted probability", family=FONT, fontsize=8, color=INK)
    _write_heading(figure, title, list(probabilities), width, height)
    return save_png(figure, path, margin_mm=MARGIN)


def _most_frequent(truth_MC: NDArray[np.bool_], exclusive: bool) -> list[int]:
    """The classes to draw, in their own order."""
    positive_C = truth_MC.sum(axis=0)
    drawable = np.flatnonzero((positive_C > 0) & (positive_C < len(truth_MC)))
    if not len(drawable):
        raise ValueError("no class has both positives and negatives: nothing can be compared with a probability")
    if exclusive and truth_MC.shape[1] == 2:
        drawable = drawable[-1:]
    most = drawable[np.argsort(-positive_C[drawable], kind="stable")[:MOST_PANELS]]
    return sorted(most.tolist())


def _draw_diagram(axes: Axes, said: Columns, hit: NDArray[np.bool_], name: str) -> None:
    """One class; what scalers made of it as fine lines upon a wide one."""
    axes.plot((0, 1), (0, 1), color=GREY, linewidth=points(0.2), linestyle=(0, (4, 3)), zorder=1)
    for k, (colour, p) in enumerate(zip(COLOURS, said.values(), strict=False)):
        curve = reliability(p, hit, BINS)
        share, low, high = _shares(curve)
        wide = k == 0 and len(said) > 1
        axes.vlines(curve.said, low, high, color=colour, alpha=0.55, linewidth=points(0.25), zorder=2)
        axes.plot(curve.said, share, color=colour, linewidth=points(WIDE if wide else FINE), zorder=3,
                  alpha=0.35 if wide else 1)  # fmt: skip
        axes.plot(curve.said, share, "o", color=colour, markersize=4.5 if wide else 3, markeredgewidth=0.4,
                  markeredgecolor="white", zorder=4)  # fmt: skip
    _write_errors(
        axes, [reliability(p, hit).error for p in said.values()], too_low=hit.mean() > next(iter(said.values())).mean()
    )
    axes.set(xlim=REACH, ylim=REACH)
    axes.set_title(name, family=FONT, fontsize=8, fontweight="bold", color=INK, loc="left", pad=3, parse_math=False)
    _dress(axes)
    axes.set_yticks(TICKS, [f"{tick:g}" for tick in TICKS])
    axes.xaxis.set_tick_params(labelbottom=False)


def _write_errors(axes: Axes, errors: Sequence[float], too_low: bool) -> None:
    """In the corner that the curves leave free."""
    x, first, side = (0.98, 0.04 + 0.1 * (len(errors) - 1), "right") if too_low else (0.04, 0.89, "left")
    for k, (colour, error) in enumerate(zip(COLOURS, errors, strict=False)):
        axes.text(x, first - 0.1 * k, f"ECE {error:.3f}", transform=axes.transAxes, color=colour, family=FONT,
                  fontsize=7, ha=side, va="bottom", zorder=5)  # fmt: skip


def _shares(curve: Curve) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Observed shares and the ends of their intervals."""
    from scipy.stats import binomtest

    bins = zip(curve.hits.tolist(), curve.rows.tolist(), strict=True)
    intervals = [binomtest(hits, rows).proportion_ci(method="wilson") for hits, rows in bins]
    low, high = np.array(intervals).T
    return curve.hits / curve.rows, low, high


def _draw_strip(axes: Axes, said: Columns, most: int) -> None:
    """Histograms of probabilities, on a logarithmic axis: most labels are absent most of the time."""
    edges = np.linspace(0, 1, 21)
    for k, (colour, p) in enumerate(zip(COLOURS, said.values(), strict=False)):
        count = np.histogram(p, edges)[0]
        if k == 0:
            axes.stairs(count, edges, baseline=LEAST, color=colour, alpha=0.25, fill=True)
        axes.stairs(count, edges, baseline=LEAST, color=colour, linewidth=points(0.2))
    axes.set(xlim=REACH, yscale="log", ylim=(LEAST, 1.5 * most))
    _dress(axes)
    highest = 10 ** math.floor(math.log10(most))
    axes.set_yticks((1, highest), ("1", f"{highest}"))
    axes.minorticks_off()


def _dress(axes: Axes) -> None:
    axes.set_xticks(TICKS, [f"{tick:g}" for tick in TICKS])
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set(color=GREY, linewidth=points(0.25))
    axes.tick_params(labelsize=7, labelfontfamily=FONT, color=GREY, labelcolor=INK, length=2, pad=2)


def _write_heading(figure: Figure, title: str, names: Sequence[str], width: float, height: float) -> None:
    """Title, what points and bars are, and the names of the curves in their colours."""
    from matplotlib.lines import Line2D

    style: dict[str, Any] = {"family": FONT, "parse_math": False, "va": "bottom"}
    note = textwrap.fill(
        "bins of equal mass, 95 % Wilson intervals of independent rows; ECE of 15 such bins", int(width * 0.75)
    )
    top = 6.0
    if len(names) > 1:
        handles = [Line2D([], [], color=colour, linewidth=points(0.6)) for colour in COLOURS[: len(names)]]
        beside = min(len(names), max(2, int(width / 30)))
        called = ["unscaled" if name == "none" else name for name in names]
        figure.legend(handles, called, loc="lower left", bbox_to_anchor=(0, 1 + 5 / height), ncols=beside,
                      frameon=False, borderpad=0, borderaxespad=0, handlelength=1.2, columnspacing=1.2,
                      prop={"family": FONT, "size": 8})  # fmt: skip
        top += 4.5 * math.ceil(len(names) / beside)
    figure.text(0, 1 + top / height, note, fontsize=8, color=GREY, **style)
    top += 5.0 + 3.5 * note.count("\n")
    title = textwrap.fill(title, max(int(width * 0.45), 20))
    figure.text(0, 1 + top / height, title, fontsize=11, fontweight="bold", color=INK, **style)
