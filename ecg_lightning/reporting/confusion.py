"""Which class is taken for which; for labels that do not exclude one another, what of each is found and right."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ecg_lightning.reporting.style import (
    BLUE,
    FONT,
    GREEN,
    GREY,
    GRID,
    INK,
    new_figure,
    points,
    quiet_axes,
    save_png,
    write_heading,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_CLASSES, MOST_LABELS = 12, 16
"""What one picture shows; the rarer classes are joined, the rarer labels left out."""

DECISION = 0.5
"""Above this probability a label is given, as in `evaluation.metrics`."""

CELL_WIDTH, CELL_HEIGHT, MARGIN = 18, 13, 4  # mm
DEEPEST = 0.65  # opacity of a cell that holds its whole class: ink can be read on it, and light on its dark version
LONG_NAME = 7  # characters that stand upright below a cell
BAR_WIDTH, BAR_PITCH, BAR_GAP = 62, 7.5, 16  # mm: a full bar, from bar to bar, between the two panels


def draw_confusion(counts_CC: NDArray[np.integer[Any]], classes: Sequence[str], path: str | Path, title: str) -> Path:
    """Draw a confusion matrix, shaded by the share of each true class, with counts and shares written in.

    Args:
        counts_CC: (C, C) examples by true class, then predicted class.
        classes: the C names; of more than 12 the rarest are joined.
        path: the PNG to write.
        title: above the matrix.

    Returns:
        The path written.

    Raises:
        ValueError: the counts are no square of the classes.
    """
    counts_CC = np.asarray(counts_CC)
    if counts_CC.shape != (len(classes), len(classes)):
        raise ValueError(f"counts of shape {counts_CC.shape} for {len(classes)} classes")
    counts_CC, names = _joined(counts_CC, classes)
    number = len(names)
    height = CELL_HEIGHT * number
    figure = new_figure(CELL_WIDTH * number, height)
    axes = figure.add_axes((0, 0, 1, 1), xlim=(0, number), ylim=(number, 0))
    for row, of_class in enumerate(counts_CC):
        for column, count in enumerate(of_class):
            _draw_cell(axes, row, column, int(count), int(of_class.sum()))
    slanted = max(map(len, names)) > LONG_NAME
    how: dict[str, Any] = {"rotation": 40, "ha": "right", "rotation_mode": "anchor"} if slanted else {}
    centres = np.arange(number) + 0.5
    axes.set_xticks(centres, names, **how)
    axes.set_yticks(centres, [f"{name} ({of:,})" for name, of in zip(names, counts_CC.sum(axis=1), strict=True)])
    _label(axes, "predicted class", "true class (test examples)")
    write_heading(axes, title, "share of the true class, number of examples", height)
    return save_png(figure, path, margin_mm=MARGIN)


def _joined(counts_CC: NDArray[np.integer[Any]], classes: Sequence[str]) -> tuple[NDArray[np.integer[Any]], list[str]]:
    """At most `MOST_CLASSES` classes in their order, the rarest others as one behind them."""
    if len(classes) <= MOST_CLASSES:
        return counts_CC, list(classes)
    keep = np.sort(np.argsort(-counts_CC.sum(axis=1), kind="stable")[: MOST_CLASSES - 1])
    group = np.full(len(classes), len(keep))
    group[keep] = np.arange(len(keep))
    into = np.eye(len(keep) + 1, dtype=counts_CC.dtype)[group]
    return into.T @ counts_CC @ into, [*(classes[c] for c in keep), f"{len(classes) - len(keep)} others"]


def _draw_cell(axes: Axes, row: int, column: int, count: int, of: int) -> None:
    from matplotlib.patches import Rectangle

    share = count / of if of else 0.0
    axes.add_patch(Rectangle((column, row), 1, 1, facecolor=BLUE, alpha=DEEPEST * share, linewidth=0))
    axes.add_patch(Rectangle((column, row), 1, 1, fill=False, edgecolor=GRID, linewidth=points(0.2)))
    weight = "bold" if row == column else "normal"
    style: dict[str, Any] = {"family": FONT, "ha": "center", "va": "center"}
    if count:
        axes.text(column + 0.5, row + 0.36, percent(share), fontsize=11, fontweight=weight, color=INK, **style)
        axes.text(column + 0.5, row + 0.73, f"{count:,}", fontsize=8, color=INK, **style)
    else:
        axes.text(column + 0.5, row + 0.5, "0" if of else "–", fontsize=9, color=GREY, **style)  # noqa: RUF001


def percent(share: float) -> str:
    """A share that is neither rounded to nothing nor to all."""
    if 0 < share < 0.005:
        return "< 1 %"
    return "> 99 %" if 0.995 <= share < 1 else f"{share:.0%}".replace("%", " %")


def draw_decisions(
    y: NDArray[np.integer[Any]],
    probability: NDArray[np.floating[Any]],
    classes: Sequence[str],
    path: str | Path,
    title: str,
) -> Path:
    """Draw recall and precision of the most frequent labels as bars, with the counts they come from.

    Args:
        y: (M, C) zeros and ones.
        probability: (M, C); above 0.5 a label is given.
        classes: the C names.
        path: the PNG to write.
        title: above the bars.

    Returns:
        The path written.
    """
    truth, given = y.astype(bool), probability > DECISION
    true_C, given_C, hit_C = truth.sum(axis=0), given.sum(axis=0), (truth & given).sum(axis=0)
    shown = [c for c in np.argsort(-true_C, kind="stable")[:MOST_LABELS] if true_C[c]]
    height = BAR_PITCH * max(len(shown), 1)
    width = 2 * BAR_WIDTH + BAR_GAP
    figure = new_figure(width, height)
    panels = ((0, BLUE, true_C, "found of those that carry it (recall)"),
              (BAR_WIDTH + BAR_GAP, GREEN, given_C, "right of those given it (precision)"))  # fmt: skip
    for left, colour, of_C, name in panels:
        axes = figure.add_axes((left / width, 0, BAR_WIDTH / width, 1), xlim=(0, 1), ylim=(max(len(shown), 1), 0))
        _draw_bars(axes, [(int(hit_C[c]), int(of_C[c])) for c in shown], colour)
        axes.set_yticks(np.arange(len(shown)) + 0.5, [classes[c] if not left else "" for c in shown])
        axes.set_xticks([0, 0.5, 1], ["0", "50 %", "100 %"])
        _label(axes, name, "")
    rest = len(classes) - len(shown)
    note = f"{len(y):,} test examples; a label is given above a probability of {DECISION:g}"
    note += f"\nthe {len(shown)} most frequent labels of {len(classes)}" if rest else ""
    write_heading(figure.axes[0], title, note, height)
    return save_png(figure, path, margin_mm=MARGIN)


def _draw_bars(axes: Axes, parts: Sequence[tuple[int, int]], colour: str) -> None:
    """One bar for each part of a whole, what it is of written beside it."""
    for row, (part, whole) in enumerate(parts):
        share = part / whole if whole else 0.0
        axes.barh(row + 0.5, 1, height=0.72, color=GRID, linewidth=0)
        axes.barh(row + 0.5, share, height=0.72, color=colour, alpha=DEEPEST, linewidth=0)
        said = f"{percent(share)}   {part:,} of {whole:,}" if whole else "never given"
        axes.text(0.02, row + 0.5, said, family=FONT, fontsize=9, color=INK, va="center_baseline")


def _label(axes: Axes, below: str, beside: str) -> None:
    """Names of the axes; no lines and no ticks."""
    quiet_axes(axes)
    axes.spines[["left", "bottom"]].set_visible(False)
    axes.tick_params(length=0)
    axes.set_xlabel(below, family=FONT, fontsize=10, color=INK, labelpad=6)
    axes.set_ylabel(beside, family=FONT, fontsize=10, color=INK, labelpad=6)
