"""Draw finished cells again, from their files alone: `python -m ecg_lightning.reporting.pictures CELL_FOLDER...`."""

from __future__ import annotations

import sys
from pathlib import Path

from ecg_lightning.cli import run
from ecg_lightning.reporting.cell_pictures import draw_predictions


def draw(folders: list[str]) -> None:
    """Draw what the predictions of each cell show.

    Args:
        folders: of the cells.

    Raises:
        UserError: one of them holds no finished cell.
    """
    for folder in folders:
        print(draw_predictions(Path(folder)))


if __name__ == "__main__":
    run(lambda: draw(sys.argv[1:]))
