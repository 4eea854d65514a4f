"""ROC and precision-recall curves of each class, and their mean with a band over patients."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ecg_lightning.evaluation.bootstrap import LEAST_RESAMPLES
from ecg_lightning.evaluation.mean_curves import RATES, Floats, mean_curves
from ecg_lightning.evaluation.metrics import score
from ecg_lightning.reporting.style import (
    FONT,
    GREY,
    GRID,
    INK,
    PALETTE,
    class_colours,
    new_figure,
    points,
    quiet_axes,
    save_png,
    write_heading,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_CURVES = len(PALETTE)
"""Classes with a curve of their own, the most frequent ones; the others are in the mean."""

RESAMPLES = 200
NAMED = 6  # classes that the note names

SIDE, GAP, MARGIN = 68, 20, 4  # mm: a panel, between the two, around the page
CLASS_LINE, MEAN_LINE = 0.4, 0.7  # mm, widths
LEGEND_GAP, PITCH, SWATCH, CHARACTER, NUMBER = 7, 5.2, 4, 1.75, 13  # mm: to the legend, its lines, its columns


def draw_ranking_curves(
    y: NDArray[np.integer[Any]],
    probability: Floats,
    classes: Sequence[str],
    groups: NDArray[Any],
    path: str | Path,
    title: str,
) -> Path:
    """Draw each class against the rest, the most frequent eight, and the mean over all of them.

    The means are those of `evaluation.mean_curves`, in a band that holds 95 % of the resamples of the groups at each
    place. A class that no example, or every example, carries has no curve and is named.

    Args:
        y: (M,) class numbers, or (M, C) zeros and ones.
        probability: (M, C).
        classes: the C names.
        groups: (M,) the patient of each.
        path: the PNG to write.
        title: above the curves.

    Returns:
        The path written.
    """
    truth_MC = y[:, None] == np.arange(len(classes)) if y.ndim == 1 else y.astype(bool)
    count_C = truth_MC.sum(axis=0)
    defined = [c for c in range(len(classes)) if 0 < count_C[c] < len(truth_MC)]
    colours = class_colours(len(classes), sorted(defined, key=lambda c: -count_C[c])[:MOST_CURVES])
    mean = mean_curves(truth_MC[:, defined], probability[:, defined], groups, RESAMPLES)
    width = 2 * SIDE + GAP
    figure = new_figure(width, SIDE)
    left, right = (figure.add_axes((x / width, 0, SIDE / width, 1)) for x in (0, SIDE + GAP))
    _dress(left, "false positive rate", "true positive rate")
    _dress(right, "recall", "precision")
    left.plot((0, 1), (0, 1), color=GREY, linewidth=points(0.3), linestyle=(0, (4, 3)), zorder=1)
    for c, colour in colours.items():
        _draw_class(left, right, truth_MC[:, c], probability[:, c], colour)
    if defined:
        _draw_mean(left, mean.roc)
        _draw_mean(right, mean.precision)
    rows = [(classes[c], int(count_C[c]), colour) for c, colour in colours.items()]
    _write_legend(right, score(y, probability, classes, groups, resamples=RESAMPLES), rows, len(defined))
    undefined = [name for c, name in enumerate(classes) if c not in defined]
    write_heading(left, title, _note(undefined, _usable(mean.roc) is not None, y.ndim == 1), SIDE)
    return save_png(figure, path, margin_mm=MARGIN)


def _draw_class(left: Axes, right: Axes, truth_M: NDArray[np.bool_], score_M: Floats, colour: str) -> None:
    from sklearn.metrics import precision_recall_curve, roc_curve

    style: dict[str, Any] = {"color": colour, "linewidth": points(CLASS_LINE), "zorder": 3}
    false, true, _ = roc_curve(truth_M, score_M)
    left.plot(false, true, **style)
    precision, recall, _ = precision_recall_curve(truth_M, score_M)
    right.plot(recall, precision, drawstyle="steps-post", **style)


def _draw_mean(axes: Axes, curves_RK: Floats) -> None:
    usable_RK = _usable(curves_RK)
    if usable_RK is not None:
        low, high = np.percentile(usable_RK, [2.5, 97.5], axis=0)
        axes.fill_between(RATES, low, high, color=INK, alpha=0.13, linewidth=0, zorder=2)
    axes.plot(RATES, curves_RK[0], color=INK, linewidth=points(MEAN_LINE), zorder=4)


def _usable(curves_RK: Floats) -> Floats | None:
    """The resamples that have every class, if they are enough for a band."""
    usable_RK = curves_RK[1:][~np.isnan(curves_RK[1:]).any(axis=1)]
    return usable_RK if len(usable_RK) >= LEAST_RESAMPLES else None


def _dress(axes: Axes, below: str, beside: str) -> None:
    quiet_axes(axes)
    axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01))
    axes.grid(color=GRID, linewidth=points(0.2), zorder=0)
    axes.set_xlabel(below, family=FONT, fontsize=10, color=INK, labelpad=5)
    axes.set_ylabel(beside, family=FONT, fontsize=10, color=INK, labelpad=5)


def _write_legend(axes: Axes, report: dict[str, Any], rows: Sequence[tuple[str, int, str]], number: int) -> None:
    """A table right of the curves: name, examples, AUROC, average precision."""
    mean = f"mean of {number}"
    names = max(len(name) for name in (mean, *(name for name, _, _ in rows))) * CHARACTER
    start = SIDE + LEGEND_GAP
    at = np.array([start + SWATCH + 2, *(start + SWATCH + names + NUMBER * k for k in (1, 2, 3))])
    text: dict[str, Any] = {"transform": axes.transAxes, "family": FONT, "fontsize": 9, "parse_math": False}

    def write(line: float, words: Sequence[str], swatch: tuple[str, float] | None = None, **style: Any) -> None:
        y = 1 - (line + 0.5) * PITCH / SIDE
        for x, word, side in zip(at / SIDE, words, ("left", "right", "right", "right"), strict=False):
            axes.text(x, y, word, ha=side, va="center_baseline", **text, **style)
        if swatch is not None:
            x = np.array([start, start + SWATCH]) / SIDE
            how: dict[str, Any] = {"transform": axes.transAxes, "clip_on": False}
            axes.plot(x, (y, y), color=swatch[0], linewidth=points(swatch[1]), **how)

    show: Callable[[str], str] = lambda key: f"{report[key]['value']:.3f}"  # noqa: E731
    write(0, ("", "n", "AUROC", "AP"), color=GREY)
    for line, (name, count, colour) in enumerate(rows, start=1):
        numbers = (f"{count:,}", show(f"auroc/{name}"), show(f"average_precision/{name}"))
        write(line, (name, *numbers), (colour, CLASS_LINE), color=INK)
    if not rows:
        return
    last = len(rows) + 1.4
    words = (mean, "", show("macro_auroc"), show("average_precision"))
    write(last, words, (INK, MEAN_LINE), color=INK, fontweight="bold")
    for line, (key, name) in enumerate((("macro_auroc", "AUROC"), ("average_precision", "AP")), start=1):
        if report[key]["low"] is not None:
            interval = f"{name} {report[key]['low']:.3f} to {report[key]['high']:.3f}"
            write(last + line, (interval,), color=GREY)


def _note(undefined: Sequence[str], band: bool, exclusive: bool) -> str:
    what = "each class against the rest" if exclusive else "each label"
    said = "in a band of 95 % of the resamples of patients" if band else "too few patients for a band"
    note = f"{what}; thick: their mean, {said}"
    if not undefined:
        return note
    more = f" and {len(undefined) - NAMED} more" if len(undefined) > NAMED else ""
    return f"{note}\nnot drawn, for all test examples or none carry it: {', '.join(undefined[:NAMED])}{more}"
