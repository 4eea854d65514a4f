"""How much data pretraining takes: the metric over the share of the patients that it saw."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ecg_lightning.reporting.curves import draw_curves
from ecg_lightning.reporting.tables import METRIC_NAMES, flatten, labels_of

Cells = Sequence[tuple[Path, Mapping[str, Any]]]
"""See `results.cells`."""


def draw_pretraining_shares(found: Cells, folder: Path, metric: str) -> list[Path]:
    """Draw a picture for each budget where the encoders of a folder were pretrained on different shares.

    Methods that know no pretrained weights are drawn too, as what is to be beaten at every share.

    Args:
        found: the finished cells of the folder, each set of metrics once.
        folder: where they lie.
        metric: the one to show.

    Returns:
        The pictures.
    """
    shares = sorted({_share(result) for _, result in found})
    if len(shares) < 2:
        return []
    # Encoders of one method are told apart by their place on the axis, not by name.
    anonymous = [(path, {**result, "encoder": {**result["encoder"], "digest": ""}}) for path, result in found]
    rows = flatten(anonymous, folder).rename(columns={metric: "value"})
    rows["at"] = [_tick(_share(result)) for _, result in found]
    rows["seed"] = [
        f"{result['encoder']['digest']}/{row}" for (_, result), row in zip(found, rows["seed"], strict=True)
    ]
    places = {_tick(share): math.log10(share) for share in shares}
    pictures = []
    for budget, of_budget in rows.dropna(subset=["value"]).groupby("budget"):
        title = f"{METRIC_NAMES.get(metric, metric.replace('_', ' '))} on {folder.name}, {labels_of(str(budget))}"
        path = folder / f"pretraining_share_{budget}.png"
        axis = f"patients of {found[0][1]['encoder']['pretrained_on']} seen in pretraining (%, log scale)"
        pictures.append(draw_curves(of_budget, places, path, metric, title, axis))
    return pictures


def _share(result: Mapping[str, Any]) -> float:
    return float(result["encoder"].get("pretraining_share", 1.0))


def _tick(share: float) -> str:
    return f"{100 * share:g}"
