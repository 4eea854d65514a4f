"""The report as one HTML file that needs no other and no network."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from html import escape

from ecg_lightning.reporting.comparison import LEAST_SEEDS
from ecg_lightning.reporting.report.boards import Board
from ecg_lightning.reporting.report.calibration import Calibration
from ecg_lightning.reporting.report.collect import Trouble
from ecg_lightning.reporting.report.cost import costs
from ecg_lightning.reporting.report.leaderboard import BEATS, EQUAL, LOSES, Line
from ecg_lightning.reporting.report.look import SCRIPT, STYLE
from ecg_lightning.reporting.report.markup import words
from ecg_lightning.reporting.report.panels import efficiency, robustness
from ecg_lightning.reporting.report.provenance import provenance
from ecg_lightning.reporting.report.stresses import Stressed
from ecg_lightning.reporting.report.tables import Numbers, calibration_table, cost_table, leaderboard
from ecg_lightning.reporting.report.troubles import troubles_list
from ecg_lightning.reporting.style import method_colours
from ecg_lightning.reporting.tables import METRICS, budget_order, labels_of

TITLE = "What pretraining is worth"

HEADINGS = {
    "leaderboard": "Leaderboard",
    "curves": "Curves",
    "robustness": "Robustness",
    "calibration": "Calibration",
    "cost": "Cost",
    "provenance": "Provenance",
    "troubles": "Failures",
}

ABOUT = {
    "leaderboard": "A method is asked whether it beats training the same encoder from scratch with the same labels, "
    "judged on the same samples of the same patients. Differences are paired; their 95 % intervals, over test patients "
    "and label seeds drawn anew, hold together for all such comparisons of a data set in a metric. Cells that differ "
    f"in data or split are not compared. † fewer than {LEAST_SEEDS} seeds.",
    "curves": "Label efficiency: what a method makes of more labels. Points carry their figures; a name in the legend "
    "brings out its line.",
    "robustness": "What is left of a metric under faults of recorders and annotators, from easy to hard.",
    "calibration": "How far probabilities are from what is observed, as they are and after scalers that learn from "
    "validation labels beyond the budget. Less is better.",
    "cost": "What a cell took once its data were prepared.",
    "provenance": "What sets a line apart from the others of its data set; on demand its whole configuration, and the "
    "cells it is the mean of.",
    "troubles": "Failed and interrupted work, and files that are no results.",
}


@dataclass(frozen=True)
class Report:
    """Everything that is told.

    Attributes:
        boards: of results that can be laid side by side.
        lines: of each board.
        stresses: of all boards.
        calibrations: of all lines.
        troubles: what gave no number.
    """

    boards: Sequence[Board]
    lines: Sequence[Sequence[Line]]
    stresses: Sequence[Stressed]
    calibrations: Sequence[Calibration]
    troubles: Sequence[Trouble]

    @property
    def every_line(self) -> list[Line]:
        """Of all boards; on each by budget, and from the best to the worst."""

        def order(line: Line) -> tuple[float, float]:
            value = line.values.get(self.metric)
            return budget_order(line.budget), -value.mean if value else 1.0

        return [line for lines in self.lines for line in sorted(lines, key=order)]

    @property
    def metric(self) -> str:
        """The usual one of most boards."""
        usual = [board.metric for board in self.boards] or [METRICS[0]]
        return max(usual, key=usual.count)


def page(report: Report) -> str:
    """The whole page; the same report gives the same bytes."""
    numbers: Numbers = {}
    for number, lines in enumerate(report.lines):
        for line in lines:
            numbers[id(line)] = len(numbers), number
    metric_rules = "".join(f':root[data-metric="{metric}"] .m:not(.m-{metric}) {{ display: none }}\n'
                           for metric in METRICS)  # fmt: skip
    sections = "".join(
        f'<section id="{name}"><h2>{HEADINGS[name]}</h2><p class="quiet">{ABOUT[name]}</p>{body}</section>'
        for name, body in _sections(report, numbers)
    )
    return (
        f'<!doctype html>\n<html lang="en" data-metric="{report.metric}">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{TITLE}</title>\n<style>{STYLE}{metric_rules}</style>\n</head>\n<body>\n"
        f"{_top(report)}{_choices(report)}<main>{sections}</main>\n<script>{SCRIPT}</script>\n</body>\n</html>\n"
    )


def _top(report: Report) -> str:
    every = report.every_line
    verdicts = [line.verdicts[line.board.metric].word for line in every if line.board.metric in line.verdicts]
    encoders = {str(line.first["encoder"]["digest"]) for line in every}
    facts = {
        "finished cells": sum(len(line.members) for line in every),
        "data sets" if len(report.boards) != 1 else "data set": len(report.boards),
        "encoders" if len(encoders) != 1 else "encoder": len(encoders),
        "beat scratch": verdicts.count(BEATS),
        "no difference shown": verdicts.count(EQUAL),
        "lose to scratch": verdicts.count(LOSES),
        "without a number": len(report.troubles),
    }
    listed = "".join(f"<div><dt>{name}</dt><dd>{count:,}</dd></div>" for name, count in facts.items())
    return (
        f'<header class="top"><h1>{TITLE}</h1><p class="quiet">Encoders pretrained on ECG, and what they are worth '
        "with few labels: every figure is a mean over label seeds, judged on patients of the test split.</p>"
        f'<button id="theme" class="theme" aria-label="light or dark">◐</button><dl class="facts">{listed}</dl>'
        "</header>"
    )


def _choices(report: Report) -> str:
    budgets = sorted({line.budget for line in report.every_line}, key=budget_order)
    boards = [("", "all")] + [(str(number), board.name) for number, board in enumerate(report.boards)]
    sizes = [("", "all")] + [(budget, labels_of(budget)) for budget in budgets]
    metrics = [(metric, words(metric)) for metric in METRICS]
    selects = "".join(
        f'<label><span>{label}</span><select id="{name}" aria-label="{label}" autocomplete="off">'
        + "".join(
            f'<option value="{escape(value)}"{" selected" if value == chosen else ""}>{escape(told)}</option>'
            for value, told in options
        )
        + "</select></label>"
        for name, label, options, chosen in (
            ("board", "Data", boards, ""),
            ("budget", "Budget", sizes, ""),
            ("metric", "Metric", metrics, report.metric),
        )
    )  # fmt: skip
    links = "".join(f'<a href="#{name}">{heading}</a>' for name, heading in HEADINGS.items())
    return f'<div class="choices"><div>{selects}<nav aria-label="sections">{links}</nav></div></div>'


def _sections(report: Report, numbers: Numbers) -> Iterator[tuple[str, str]]:
    """Name and body of each section."""
    every = report.every_line
    of_board = {id(board): number for number, board in enumerate(report.boards)}
    colour = {id(board): method_colours(_names(report, board)) for board in report.boards}
    curves = (efficiency(lines, number) for number, lines in enumerate(report.lines))
    stresses = (robustness(each, of_board[id(each.board)], colour[id(each.board)]) for each in report.stresses)
    yield "leaderboard", leaderboard(every, numbers) if every else _nothing("No evaluation is finished.")
    yield "curves", _charts(curves) or _nothing("No data set with two budgets yet.")
    yield "robustness", _charts(stresses) or _nothing("No result of robustness=... yet.")
    calibrated = calibration_table(report.calibrations, numbers) if report.calibrations else ""
    yield "calibration", calibrated or _nothing("No result says how well it is calibrated.")
    yield "cost", cost_table(costs(every), numbers) if every else _nothing("No evaluation is finished.")
    yield "provenance", "".join(provenance(lines, numbers) for lines in report.lines)
    yield "troubles", troubles_list(report.troubles)


def _charts(figures: Iterable[str]) -> str:
    drawn = "".join(figures)
    return f'<div class="charts">{drawn}</div>' if drawn else ""


def _nothing(why: str) -> str:
    return f'<p class="empty">{why}</p>'


def _names(report: Report, board: Board) -> set[str]:
    """Of all methods in the stresses of a board."""
    return {name for each in report.stresses if each.board is board for name in each.values}
