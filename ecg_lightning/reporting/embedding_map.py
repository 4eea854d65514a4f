"""A map of what an encoder says of examples, coloured by class and by patient: does it sort diagnoses, or people?"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ecg_lightning.evaluation.purity import NEIGHBOURS, Purity, purity
from ecg_lightning.reporting.confusion import percent
from ecg_lightning.reporting.style import (
    FONT,
    GREY,
    INK,
    PALETTE,
    class_colours,
    new_figure,
    points,
    save_png,
    write_heading,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_POINTS = 1000
"""t-SNE takes some 3 s for so many, and the time grows faster than their number."""

COMPONENTS, PERPLEXITY, ITERATIONS = 50, 30, 500
SEED = 0  # of the points that are drawn, and of t-SNE

MOST_PATIENTS, FEWEST_POINTS = 12, 5
"""Patients with a colour, those with most points; none where nobody has as many points as that."""

SIDE, GAP, BELOW, MARGIN = 82, 12, 6, 4  # mm: a panel, between the two, to the words below it, around the page
NAME, CHARACTER = 6.5, 1.55  # mm of a legend's column: what is not letters, and a letter
PALE = "#B8B8B8"


class _Group(NamedTuple):
    """Points of one colour; `member` is (N,)."""

    name: str
    member: NDArray[np.bool_]
    colour: str
    marker: str


def drawn_points(examples: int) -> NDArray[np.int64]:
    """Which of so many examples a map shows, in their order."""
    number = min(examples, MOST_POINTS)
    return np.sort(np.random.default_rng(SEED).choice(examples, number, replace=False))


def draw_embedding_map(
    features_NF: NDArray[np.floating[Any]],
    y: NDArray[np.integer[Any]],
    classes: Sequence[str],
    patient: NDArray[Any],
    path: str | Path,
    title: str,
) -> Path:
    """Draw t-SNE (van der Maaten & Hinton 2008) of the features' first 50 principal components.

    Below each panel stands how alike nearest neighbours are in the feature space itself; distances on the map say
    little. The panel of patients is left out where nobody has enough points to form a group.

    Args:
        features_NF: (N, F) standardised features, N at most some thousands, see `drawn_points`.
        y: (N,) class numbers, or (N, C) zeros and ones.
        classes: the C names.
        patient: (N,) whose each is.
        path: the PNG to write.
        title: above the map.

    Returns:
        The path written.
    """
    class_N = y if y.ndim == 1 else np.unique(y, axis=0, return_inverse=True)[1].ravel()
    same = "are of the same class" if y.ndim == 1 else "carry the same labels"
    among_others = purity(features_NF, class_N, patient)
    said = [_told(same, purity(features_NF, class_N)), _told("where only other patients' count", among_others)]
    panels = [("by class", _by_class(y, classes), said)]
    people = _by_patient(patient)
    if people:
        panels.append(("by patient", people, [_told("are of the same patient", purity(features_NF, patient))]))
    perplexity = min(PERPLEXITY, (len(features_NF) - 1) / 3)
    place_N2 = _map(features_NF, perplexity)
    width = len(panels) * (SIDE + GAP) - GAP
    figure = new_figure(width, SIDE)
    for number, (name, groups, words) in enumerate(panels):
        axes = figure.add_axes((number * (SIDE + GAP) / width, 0, SIDE / width, 1))
        _draw_panel(axes, place_N2, groups)
        text: dict[str, Any] = {"transform": axes.transAxes, "family": FONT, "fontsize": 9}
        axes.text(0.015, 0.985, name, va="top", fontweight="bold", color=INK, **text)
        shown = "\n".join((f"of the {NEIGHBOURS} nearest neighbours in the feature space", *filter(None, words)))
        axes.text(0, -BELOW / 2 / SIDE, shown, va="top", color=INK, linespacing=1.35, **text)
        _draw_legend(axes, groups, BELOW + 4.6 * (shown.count("\n") + 1))
    note = f"t-SNE, perplexity {perplexity:g}, {len(features_NF):,} examples"
    write_heading(figure.axes[0], title, note, SIDE)
    return save_png(figure, path, margin_mm=MARGIN)


def _map(features_NF: NDArray[np.floating[Any]], perplexity: float) -> NDArray[np.floating[Any]]:
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE

    components = min(COMPONENTS, *features_NF.shape)
    reduced = PCA(components, random_state=SEED).fit_transform(features_NF.astype(np.float64))
    settings = {"perplexity": perplexity, "max_iter": ITERATIONS, "init": "pca", "random_state": SEED}
    return np.asarray(TSNE(2, **settings).fit_transform(reduced))


def _told(what: str, found: Purity | None) -> str:
    return "" if found is None else f"{percent(found.share)} {what} ({percent(found.chance)} by chance)"


def _by_class(y: NDArray[np.integer[Any]], classes: Sequence[str]) -> list[_Group]:
    """The most frequent classes; of several labels, those that carry one alone."""
    truth_NC = y[:, None] == np.arange(len(classes)) if y.ndim == 1 else y.astype(bool)
    alone_NC = truth_NC & (truth_NC.sum(axis=1, keepdims=True) == 1)
    counts_C = alone_NC.sum(axis=0)
    shown = [int(c) for c in np.argsort(-counts_C, kind="stable")[: len(PALETTE)] if counts_C[c]]
    colours = class_colours(len(classes), shown)
    groups = [_Group(classes[c], alone_NC[:, c], colours[c], "o") for c in shown]
    several = truth_NC.sum(axis=1) > 1
    rest = ~np.any([group.member for group in groups] + [several], axis=0)
    others = [_Group("several labels", several, GREY, "x"), _Group("others", rest, PALE, "o")]
    return [*(group for group in others if group.member.any()), *groups]


def _by_patient(patient: NDArray[Any]) -> list[_Group]:
    """The patients with most points, and the others in grey."""
    names, counts = np.unique(patient, return_counts=True)
    most = [n for n in np.argsort(-counts, kind="stable")[:MOST_PATIENTS] if counts[n] >= FEWEST_POINTS]
    markers = ("o", "^")  # there are more patients than colours
    groups = [
        _Group(_short(str(names[n])), patient == names[n], PALETTE[k % len(PALETTE)], markers[k // len(PALETTE)])
        for k, n in enumerate(most)
    ]
    rest = ~np.isin(patient, names[most])
    others = [_Group(f"{len(names) - len(most)} others", rest, PALE, "o")] if groups and rest.any() else []
    return [*others, *groups]


def _short(patient: str) -> str:
    """Without the population in front, see `data.identity`."""
    return patient.rpartition("/")[2].rpartition(":")[2]


def _draw_panel(axes: Axes, place_N2: NDArray[np.floating[Any]], groups: Sequence[_Group]) -> None:
    """Each group over those before it."""
    for group in groups:
        x, y = place_N2[group.member].T
        size, line = np.clip(9000 / len(place_N2), 9, 28), 0.6 if group.marker == "x" else 0.0
        axes.scatter(x, y, s=size, color=group.colour, marker=group.marker, alpha=0.8, linewidths=line)
    axes.set(xticks=[], yticks=[])
    axes.margins(0.04, 0.08)
    axes.spines[:].set(color=PALE, linewidth=points(0.2))


def _draw_legend(axes: Axes, groups: Sequence[_Group], below_mm: float) -> None:
    """Under the words below a panel, the most frequent first."""
    from matplotlib.lines import Line2D

    ordered = [*(group for group in groups if group.colour not in (PALE, GREY)),
               *(group for group in groups if group.colour in (PALE, GREY))]  # fmt: skip
    named = [f"{group.name} ({group.member.sum():,})" for group in ordered]
    axes.legend(
        [Line2D([], [], linestyle="", marker=group.marker, color=group.colour, markersize=5) for group in ordered],
        named,
        loc="upper left",
        bbox_to_anchor=(0, -below_mm / SIDE),
        ncols=max(1, int(SIDE / (NAME + CHARACTER * max(map(len, named))))),
        frameon=False,
        borderpad=0,
        borderaxespad=0,
        columnspacing=1.2,
        handletextpad=0.2,
        labelcolor=INK,
        prop={"family": FONT, "size": 9},
    )
