"""A sheet of ECG paper to scale: millimetre grid, traces, calibration pulses, names, legend.

The page is one axes in millimetres from its lower left corner, so that every number here is a length on paper.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ecg_lightning.reporting.ecg_layout import SQUARE, Band, Strip, fitting_gain, stack_bands
from ecg_lightning.reporting.ecg_wash import Wash
from ecg_lightning.reporting.style import FONT, GREY, INK, new_figure, points, save_png

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MM_PER_S = 25.0
LEFT, MARGIN, FOOTER, LINE = 30, 5, 10, 6  # mm: start of the traces, beside and below the paper, a line of text
MIN_WIDTH = 110  # mm, so that footer and legend find room beside a short strip
PULSE_LEFT, PULSE_S = 20, 0.2  # calibration pulse: left edge in mm, width in s
FINE, BOLD, TINT = "#FBE3E3", "#F0B8B8", "#9DB4CE"


@dataclass(frozen=True)
class Pen:
    """A signal and how to draw it.

    Attributes:
        signal: (L, T) about its baseline, mV; NaN leaves a gap.
        colour: of the line.
        width: of the line in mm.
        name: its entry in the legend; none if empty.
        on_shade: whether it belongs to the shaded samples; the legend shows it so.
    """

    signal: NDArray[np.floating]
    colour: str = INK
    width: float = 0.3
    name: str = ""
    on_shade: bool = False


@dataclass(frozen=True)
class Scale:
    """From samples and mV to mm on the page."""

    fs: float
    gain: float

    def x(self, samples: Any) -> Any:
        """Where samples, counted from the start of the recording, lie from the left."""
        return LEFT + MM_PER_S * np.asarray(samples) / self.fs


def draw_sheet(
    path: str | Path,
    strips: Sequence[Strip],
    pens: Sequence[Pen],
    shade_LT: NDArray[np.bool_],
    *,
    fs: float,
    leads: Sequence[str],
    title: str,
    unit: str,
    note: str,
    wash: Wash | None = None,
) -> Path:
    """Draw strips of signal on ECG paper.

    Args:
        path: the PNG to write.
        strips: which part of which lead goes into which row.
        pens: what to draw over one another, the last on top.
        shade_LT: (L, T), samples to tint the paper behind; each reaches half a sample to either side.
        fs: rate in Hz.
        leads: names of the leads.
        title: above the paper, wrapped to its width.
        unit: of the signals.
        note: at the right of the footer.
        wash: colour behind the traces.

    Returns:
        The path written.
    """
    signals = [pen.signal for pen in pens]
    scale = Scale(fs, fitting_gain(signals, strips))
    bands = stack_bands(signals, strips, scale.gain, FOOTER)
    width = max(MIN_WIDTH, SQUARE * math.ceil(scale.x(shade_LT.shape[1]) / SQUARE) + 2 * MARGIN)
    lines = textwrap.wrap(title, int((width - 2 * MARGIN) / 2.6))
    entries = {**_legend(pens), **({} if wash is None else wash.legend())}
    top = bands[0].top + SQUARE
    figure, axes = _page(width, top + MARGIN + LINE * (len(lines) + bool(entries)))

    _draw_grid(axes, range(MARGIN, width - MARGIN + 1), range(FOOTER, top + 1))
    for band in bands:
        _draw_pulse(axes, band, scale)
    for strip in strips:
        _draw_tint(axes, shade_LT, strip, bands[strip.row], scale)
        if wash is not None:
            _draw_wash(axes, wash, strip, bands[strip.row], scale)
        _draw_traces(axes, pens, strip, bands[strip.row], scale)
        _draw_name(axes, leads[strip.lead], strip, bands[strip.row], scale)
    _draw_legend(axes, entries, top + 2)
    for i, line in enumerate(reversed(lines)):
        _write(axes, MARGIN, top + 2.5 + LINE * (i + bool(entries)), line, fontsize=12, fontweight="bold")
    _write(axes, MARGIN, 4, f"{MM_PER_S:g} mm/s   {scale.gain:g} mm/{unit}", fontsize=10)
    _write(axes, width - MARGIN, 4, note, fontsize=10, ha="right", color=GREY)
    return save_png(figure, path, on_paper=True)


def _page(width: int, height: int) -> tuple[Figure, Axes]:
    figure = new_figure(width, height)
    axes = figure.add_axes((0, 0, 1, 1), xlim=(0, width), ylim=(0, height))
    axes.axis("off")
    return figure, axes


def _draw_grid(axes: Axes, columns: range, rows: range) -> None:
    """Small squares of 1 mm, large ones of 5 mm."""
    from matplotlib.collections import LineCollection

    for step, colour, width in ((1, FINE, 0.16), (SQUARE, BOLD, 0.2)):
        upright = [((x, rows[0]), (x, rows[-1])) for x in columns[::step]]
        level = [((columns[0], y), (columns[-1], y)) for y in rows[::step]]
        grid = LineCollection(upright + level, colors=colour, linewidths=points(width), zorder=0)
        grid.set_snap(True)
        axes.add_collection(grid)


def _draw_pulse(axes: Axes, band: Band, scale: Scale) -> None:
    """One unit for 0.2 s, as a recorder writes it before each row."""
    left, right = PULSE_LEFT, PULSE_LEFT + PULSE_S * MM_PER_S
    x = (left - 1.5, left, left, right, right, right + 1.5)
    y = band.baseline + scale.gain * np.array([0, 0, 1, 1, 0, 0])
    axes.plot(x, y, color=INK, linewidth=points(0.3), solid_joinstyle="miter")


def _draw_tint(axes: Axes, shade_LT: NDArray[np.bool_], strip: Strip, band: Band, scale: Scale) -> None:
    shade_T = shade_LT[strip.lead, strip.start : strip.stop]
    edges = strip.start - 0.5 + np.flatnonzero(np.diff(shade_T, prepend=False, append=False))
    for start, stop in scale.x(edges.reshape(-1, 2)):
        axes.fill_betweenx((band.bottom, band.top), start, stop, color=TINT, alpha=0.45, linewidth=0)


def _draw_traces(axes: Axes, pens: Sequence[Pen], strip: Strip, band: Band, scale: Scale) -> None:
    """The strip in each pen, kept to its own band of paper."""
    from matplotlib.transforms import Bbox, TransformedBbox

    x = scale.x(np.arange(strip.start, strip.stop))
    paper = TransformedBbox(Bbox.from_extents(0, band.bottom, x[-1] + MARGIN, band.top), axes.transData)
    for pen in pens:
        y = band.baseline + scale.gain * pen.signal[strip.lead, strip.start : strip.stop]
        (line,) = axes.plot(x, y, color=pen.colour, linewidth=points(pen.width), solid_joinstyle="round")
        line.set_clip_box(paper)


def _draw_name(axes: Axes, name: str, strip: Strip, band: Band, scale: Scale) -> None:
    """Beside the calibration pulse; where a further lead takes over, at a divider above its trace."""
    if strip.start == 0:
        _write(axes, MARGIN + 1.5, band.baseline + 3, name, fontsize=11, fontweight="bold")
        return
    x = scale.x(strip.start)
    axes.plot((x, x), (band.baseline - 3, band.baseline + 3), color=INK, linewidth=points(0.3))
    _write(axes, x + 1, band.top - 4, name, fontsize=11, fontweight="bold")


def _draw_wash(axes: Axes, wash: Wash, strip: Strip, band: Band, scale: Scale) -> None:
    left, right = scale.x(np.array([strip.start, strip.stop]) - 0.5)
    wash.draw(axes, strip.lead, strip.start, strip.stop, (left, right), (band.bottom, band.top))
    if wash.marked is not None:
        first, last = np.clip(scale.x(np.array(wash.marked) - 0.5), left, right)
        wash.draw_mark(axes, (first, last), band.top)


def _legend(pens: Sequence[Pen]) -> dict[str, Any]:
    """The pens that have names; one that belongs to shaded samples shows the tint."""
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    tint = Patch(color=TINT, alpha=0.45, linewidth=0)
    lines = [(pen, Line2D([], [], color=pen.colour, linewidth=points(pen.width))) for pen in pens if pen.name]
    return {pen.name: (tint, line) if pen.on_shade else line for pen, line in lines}


def _draw_legend(axes: Axes, entries: Mapping[str, Any], y: float) -> None:
    """One line of entries above the paper."""
    if not entries:
        return
    axes.legend(
        list(entries.values()),
        list(entries),
        loc="lower left",
        bbox_to_anchor=(MARGIN, y),
        bbox_transform=axes.transData,
        ncols=len(entries),
        frameon=False,
        borderpad=0,
        borderaxespad=0,
        columnspacing=1.6,
        handletextpad=0.6,
        prop={"family": FONT, "size": 10},
    )


def _write(axes: Axes, x: float, y: float, text: str, **style: Any) -> None:
    axes.text(x, y, text, family=FONT, parse_math=False, **{"color": INK, **style})
