"""Write the report of everything below some folders."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from ecg_lightning.files import replacing
from ecg_lightning.reporting.report.boards import boards
from ecg_lightning.reporting.report.calibration import calibrations
from ecg_lightning.reporting.report.collect import collect
from ecg_lightning.reporting.report.figures import cells, figures, write_figures
from ecg_lightning.reporting.report.leaderboard import lines
from ecg_lightning.reporting.report.page import Report, page
from ecg_lightning.reporting.report.papers import latex, markdown, tables
from ecg_lightning.reporting.report.stresses import stressed

PAGE = "report.html"


def make_report(folders: Sequence[Path]) -> Report:
    """Everything that is to be told of the results below some folders.

    Raises:
        UserError: a folder is missing, or nothing at all lies below them.
    """
    found = collect(folders)
    root = Path(os.path.commonpath([folder.resolve() for folder in folders]))
    sorted_in, copies = boards(found.done, root)
    ranked = [lines(board) for board in sorted_in]
    every = [line for of_board, _ in ranked for line in of_board]
    return Report(
        sorted_in,
        [of_board for of_board, _ in ranked],
        [each for board in sorted_in for each in stressed(board)],
        calibrations(every),
        [*found.troubles, *copies, *(trouble for _, troubles in ranked for trouble in troubles)],
    )


def write_report(folders: Sequence[Path], out: Path) -> list[Path]:
    """Write the page; beside it, tables for papers and all figures.

    Args:
        folders: results lie below them, at any depth.
        out: folder to write to, made where it is missing.

    Returns:
        What was written, the page first.

    Raises:
        UserError: a folder is missing, or nothing at all lies below them.
    """
    report = make_report(folders)
    papers = [table for of_board in report.lines for table in tables(of_board)]
    texts = {
        PAGE: page(report),
        "tables.md": "\n".join(map(markdown, papers)),
        "tables.tex": "\n".join(["% \\usepackage{booktabs}", *map(latex, papers)]),
    }
    for name, text in texts.items():
        with replacing(out / name) as partial:
            partial.write_text(text, encoding="utf-8", errors="replace")
    written = [out / name for name in texts]
    for name, table in {"figures": figures(report), "cells": cells(report.boards)}.items():
        written += write_figures(table, out / name)
    return written
