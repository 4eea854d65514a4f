"""Colour laid behind the traces of a sheet of ECG paper: how much each sample counts, and which way."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ecg_lightning.reporting.style import BLUE, INK, ORANGE, points

if TYPE_CHECKING:
    from matplotlib.axes import Axes

DENSEST = 0.85  # opacity of what counts most
MARK_WIDTH = 0.8  # mm


@dataclass(frozen=True)
class Wash:
    """How much each sample counts.

    Attributes:
        value: (L, T) from -1 to 1.
        above: what positive values mean, for the legend.
        below: what negative ones mean.
        marked: first and one-past-last sample of the stretch to mark at the upper edge of each row, if any.
        mark: what is marked, for the legend.
    """

    value: NDArray[np.floating[Any]]
    above: str
    below: str
    marked: tuple[int, int] | None = None
    mark: str = ""

    def draw(
        self, axes: Axes, lead: int, start: int, stop: int, edges: tuple[float, float], rows: tuple[float, float]
    ) -> None:
        """Lay the colour of samples `start` to `stop` of a lead between two edges and two rows, in mm."""
        from matplotlib.colors import to_rgb

        value_T = self.value[lead, start:stop]
        rgba_T4 = np.empty((stop - start, 4))
        rgba_T4[:, :3] = np.where(value_T[:, None] > 0, to_rgb(ORANGE), to_rgb(BLUE))
        rgba_T4[:, 3] = DENSEST * np.abs(value_T)
        limits = axes.get_xlim(), axes.get_ylim()
        axes.imshow(rgba_T4[None], extent=(*edges, *rows), aspect="auto", interpolation="nearest", zorder=1)
        axes.set(xlim=limits[0], ylim=limits[1])

    def draw_mark(self, axes: Axes, edges: tuple[float, float], top: float) -> None:
        """A bar below the upper edge of a row, in mm."""
        line: dict[str, Any] = {"color": INK, "linewidth": points(MARK_WIDTH), "solid_capstyle": "butt"}
        axes.plot(edges, (top - MARK_WIDTH, top - MARK_WIDTH), **line)

    def legend(self) -> dict[str, Any]:
        """What each colour means, and what shows it."""
        from matplotlib.lines import Line2D
        from matplotlib.patches import Patch

        entries: dict[str, Any] = {
            self.above: Patch(color=ORANGE, alpha=DENSEST, linewidth=0),
            self.below: Patch(color=BLUE, alpha=DENSEST, linewidth=0),
        }
        if self.marked is not None:
            entries[self.mark] = Line2D([], [], color=INK, linewidth=points(MARK_WIDTH), solid_capstyle="butt")
        return entries
