"""A signal and what became of it, one over the other on ECG paper whose squares say time and voltage."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ecg_lightning.reporting.ecg_sheet import BOLD, FINE
from ecg_lightning.reporting.style import BLUE, FONT, INK, new_figure, points, save_png

if TYPE_CHECKING:
    from matplotlib.axes import Axes

BEFORE = "#A6A6A6"
SQUARE_S, SQUARE_MV = 0.2, 0.5  # a large square, of five small ones either way
HEADROOM = 0.25  # mV around the signal
REACH = 1.0  # mV by which what became of a signal may leave the signal's own range before it is cut off
LOWEST = 1.5  # mV, so that a quiet lead is not blown up to the noise of its amplifier


def draw_before_after(
    before_T: NDArray[np.floating],
    after_T: NDArray[np.floating],
    fs: float,
    name: str,
    *,
    width_mm: float,
    height_mm: float,
    line_mm: float,
) -> bytes:
    """Draw a piece of one lead before, as a wide grey line, and after, as a fine blue one upon it.

    Args:
        before_T: (T,) mV; samples that are not finite leave a gap.
        after_T: (T,) likewise.
        fs: the rate in Hz.
        name: of the lead.
        width_mm: of the picture.
        height_mm: of the picture.
        line_mm: width of the blue line.

    Returns:
        A PNG; the same signals give the same bytes.
    """
    figure = new_figure(width_mm, height_mm)
    low, high = _range(before_T, after_T)
    axes = figure.add_axes((0, 0, 1, 1), xlim=(0, (len(before_T) - 1) / fs), ylim=(low, high))
    axes.axis("off")
    _draw_squares(axes)
    t_T = np.arange(len(before_T)) / fs
    axes.plot(t_T, before_T, color=BEFORE, linewidth=points(2.5 * line_mm), solid_joinstyle="round")
    axes.plot(t_T, after_T, color=BLUE, linewidth=points(line_mm), solid_joinstyle="round")
    axes.text(
        0.012, 0.97, name, transform=axes.transAxes, family=FONT, fontsize=11, fontweight="bold", color=INK, va="top"
    )
    with TemporaryDirectory() as folder:
        return save_png(figure, Path(folder) / "picture.png", on_paper=True).read_bytes()


def _range(before_T: NDArray[np.floating], after_T: NDArray[np.floating]) -> tuple[float, float]:
    """Lowest and highest voltage to draw."""
    low, high = float(np.nanmin(before_T)), float(np.nanmax(before_T))
    low = max(low - REACH, min(low, float(np.nanmin(after_T)))) - HEADROOM
    high = min(high + REACH, max(high, float(np.nanmax(after_T)))) + HEADROOM
    lacking = max(0.0, LOWEST - (high - low)) / 2
    return low - lacking, high + lacking


def _draw_squares(axes: Axes) -> None:
    """Lines at whole multiples of the squares' sides, the zero of both among them."""
    from matplotlib.collections import LineCollection

    (left, right), (low, high) = axes.get_xlim(), axes.get_ylim()
    for step_s, step_mv, colour, width in (
        (SQUARE_S / 5, SQUARE_MV / 5, FINE, 0.16),
        (SQUARE_S, SQUARE_MV, BOLD, 0.2),
    ):
        upright = [((x, low), (x, high)) for x in step_s * np.arange(np.ceil(left / step_s), right / step_s + 1)]
        level = [((left, y), (right, y)) for y in step_mv * np.arange(np.ceil(low / step_mv), high / step_mv + 1)]
        axes.add_collection(LineCollection(upright + level, colors=colour, linewidths=points(width), zorder=0))
