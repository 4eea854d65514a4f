"""Results that can be laid side by side: judged by the same labels of the same test patients."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from ecg_lightning.reporting.report.collect import Cells, Trouble
from ecg_lightning.reporting.robustness import without_twins
from ecg_lightning.reporting.tables import METRICS, flatten

SAME = ["method", "budget", "seed"]
"""Two cells of a board that agree in these are one and the same."""


@dataclass(frozen=True)
class Board:
    """All cells that were judged by the same truth.

    Attributes:
        name: of the data set, its task and its split; with the truth's where several share them.
        root: folder that all paths in `rows` begin from.
        cells: stressed ones too.
        rows: see `tables.flatten`; with `encoder`, its digest, and `fingerprint`, that of the data as it read them.
            A cell that lies in several places, and one that differs from another in its stress alone, counts once.
        results: of `rows`, in their order.
    """

    name: str
    root: Path
    cells: Cells
    rows: pd.DataFrame
    results: Sequence[Mapping[str, Any]]

    @property
    def metric(self) -> str:
        """The usual one: macro AUROC where examples carry several labels, else macro F1."""
        return "macro_auroc" if self.results[0]["multi_label"] else "macro_f1"

    @property
    def split(self) -> str:
        """Whether it keeps patients apart."""
        return str(self.results[0]["split"])


def boards(done: Cells, root: Path) -> tuple[list[Board], list[Trouble]]:
    """Sort finished cells into boards.

    Args:
        done: in the order of their paths.
        root: above all of them.

    Returns:
        The boards, in the order of their names; and the cells that are left out because they lie there twice.
    """
    groups: dict[tuple[str, str, str, tuple[str, ...]], Cells] = {}
    for path, result in done:
        key = path.parent.name, str(result["split"]), str(result["truth"]), tuple(result["classes"])
        groups.setdefault(key, []).append((path, result))
    alike = Counter(key[0] for key in groups)
    made, troubles = [], []
    for (name, _, truth, _), cells in sorted(groups.items()):
        board, copies = _board(name if alike[name] == 1 else f"{name} ({truth[:6]})", cells, root)
        made.append(board)
        troubles += copies
    return made, troubles


def _board(name: str, cells: Cells, root: Path) -> tuple[Board, list[Trouble]]:
    once = without_twins(cells)
    rows = flatten(once, root)
    rows[list(METRICS)] = rows[list(METRICS)].astype(float)
    rows["encoder"] = [result["encoder"]["digest"] for _, result in once]
    rows["fingerprint"] = [result["data"]["fingerprint"] for _, result in once]
    twice = rows.duplicated(SAME)
    copies = [
        Trouble("left out", str(root / row["cell"]), f"{row['method']}, budget {row['budget']}, seed {row['seed']}",
                "another cell has the same method, budget and seed, and counts; delete the one that is not meant")
        for row in rows[twice].to_dict("records")
    ]  # fmt: skip
    results = [result for (_, result), again in zip(once, twice, strict=True) if not again]
    return Board(name, root, cells, rows[~twice].reset_index(drop=True), results), copies
