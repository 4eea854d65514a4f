"""The tables of the page: leaderboard, calibration, cost."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

from ecg_lightning.reporting.comparison import LEAST_SEEDS
from ecg_lightning.reporting.report.calibration import UNSCALED, Calibration
from ecg_lightning.reporting.report.cost import Cost
from ecg_lightning.reporting.report.leaderboard import (
    BASELINE,
    BEATS,
    EQUAL,
    FEW,
    LOSES,
    NONE,
    Line,
    Value,
    Verdict,
    interval,
)
from ecg_lightning.reporting.report.markup import (
    Column,
    Scale,
    budget_cell,
    each_metric,
    filtered,
    forest,
    scale_of,
    sortable,
    sorted_by,
)
from ecg_lightning.reporting.report.shape import MEASURES
from ecg_lightning.reporting.tables import METRICS

LOOKS = {BEATS: ("beats", "▲"), LOSES: ("loses", "▼"), EQUAL: ("equal", "≈"), FEW: ("unasked few", "·"),
         NONE: ("unasked", "·"), BASELINE: ("unasked", "")}  # fmt: skip
"""Class and mark of each verdict: never told by a colour alone."""

FIRST = (Column("Data", "data"), Column("Method"), Column("Budget", "", "labels that the method was given"))

Numbers = dict[int, tuple[int, int]]
"""By the identity of a line: its number on the page, and its board's."""


def leaderboard(lines: Sequence[Line], numbers: Numbers) -> str:
    """What each method is worth at each budget."""
    scales = _scales(lines)
    columns = (
        *FIRST,
        Column("Mean", "n", "over the seeds"),
        Column("95 % interval", "", "over the seeds, Student's t"),
        Column("Seeds", "n", f"fewer than {LEAST_SEEDS} are marked: they say little"),
        Column("Against scratch", "", "paired difference to training the same encoder from scratch"),
    )
    return sortable(columns, (_ranked(line, numbers[id(line)], scales) for line in lines), "leaderboard")


def _ranked(line: Line, number: tuple[int, int], scales: dict[tuple[int, str], Scale]) -> str:
    means, intervals, seeds, verdicts = {}, {}, {}, {}
    for metric, value in line.values.items():
        scale = scales[id(line.board), metric]
        means[metric] = f"{value.mean:.3f}", value.mean
        told = interval(value, "{:.3f}".format) or "one seed"
        intervals[metric] = f"{told}{forest(value, scale)}", value.low
        seeds[metric] = _seeds(value.seeds), float(value.seeds)
        verdicts[metric] = _verdict(line.verdicts[metric])
    return (
        f"<tr{filtered(line, number[1])}>{_named(line, number)}"
        f'<td class="n value">{each_metric(means)}</td><td class="interval">{each_metric(intervals)}</td>'
        f'<td class="n">{each_metric(seeds)}</td><td class="verdict">{each_metric(verdicts)}</td></tr>'
    )


def _named(line: Line, number: tuple[int, int]) -> str:
    """Data set, method and budget of a row; the method leads to where its numbers come from."""
    encoder = line.first["encoder"]
    about = f"encoder {encoder['digest'][:8]}, pretrained on {encoder['pretrained_on']}"
    return (
        f'<td class="data">{escape(line.board.name)}</td><th scope="row">'
        f'<a href="#p{number[0]}">{escape(line.method)}</a><small class="about">{escape(about)}</small>'
        f'<small class="where">{escape(line.board.name)}</small></th>'
        f"{budget_cell(line.budget)}"
    )


def _seeds(count: int) -> str:
    if count >= LEAST_SEEDS:
        return str(count)
    return f'<b class="few" title="fewer than {LEAST_SEEDS} seeds">{count} †</b>'


def _verdict(verdict: Verdict) -> tuple[str, float | None]:
    look, mark = LOOKS[verdict.word]
    html = f'<b class="{look}">{mark} {verdict.word}</b>' if mark else f'<span class="{look}">{verdict.word}</span>'
    if verdict.difference is not None:
        html += f"<small>{verdict.difference:+.3f} {interval(verdict, '{:+.3f}'.format)}</small>"
    return html, verdict.difference


def _scales(lines: Sequence[Line]) -> dict[tuple[int, str], Scale]:
    """By board and metric."""
    values: dict[tuple[int, str], list[Value]] = {}
    for line in lines:
        for metric in METRICS:
            values.setdefault((id(line.board), metric), []).extend(filter(None, [line.values.get(metric)]))
    return {key: scale_of(of) for key, of in values.items()}


def calibration_table(found: Sequence[Calibration], numbers: Numbers) -> str:
    """What the probabilities are worth before and after each scaler."""
    values: dict[tuple[int, str], list[Value]] = {}
    for each in found:
        for name, value in each.values.items():
            values.setdefault((id(each.line.board), name), []).append(value)
    scales = {key: scale_of(of) for key, of in values.items()}
    columns = (*FIRST, Column("Scaler"), *(Column(name, "", "less is better") for name in MEASURES.values()),
               Column("Seeds", "n"))  # fmt: skip
    return sortable(columns, (_calibrated(each, numbers, scales) for each in found), "calibration")


def _calibrated(each: Calibration, numbers: Numbers, scales: dict[tuple[int, str], Scale]) -> str:
    number, cells = numbers[id(each.line)], ""
    for name in MEASURES:
        value = each.values.get(name)
        if value is None:
            cells += '<td data-v="">undefined</td>'
            continue
        sure = f"<small>{interval(value, '{:.3f}'.format)}</small>"
        bar = forest(value, scales[id(each.line.board), name])
        cells += f"<td{sorted_by(value.mean)}>{value.mean:.3f}{bar}{sure}</td>"
    seeds = max(value.seeds for value in each.values.values())
    kind, scaler = ("plain", "as they are") if each.scaler == UNSCALED else ("scaled", each.scaler)
    return (
        f'<tr class="{kind}"{filtered(each.line, number[1])}>{_named(each.line, number)}'
        f'<td class="word">{escape(scaler)}</td>{cells}<td class="n"{sorted_by(float(seeds))}>{_seeds(seeds)}</td></tr>'
    )


def cost_table(found: Iterable[Cost], numbers: Numbers) -> str:
    """What each method took."""
    columns = (
        *FIRST,
        Column("Seconds", "n", "median over the cells, learning and judging together"),
        Column("Slowest", "n", "the most seconds that a cell took"),
        Column("Peak memory", "n", "the most that a process held which evaluated one of the cells"),
        Column("Parameters", "n", "of the encoder"),
        Column("Device"),
        Column("Cells", "n"),
    )
    return sortable(columns, (_costed(each, numbers[id(each.line)]) for each in found), "cost")


def _costed(cost: Cost, number: tuple[int, int]) -> str:
    parameters = "" if cost.parameters is None else f"{cost.parameters:,}"
    count = len(cost.line.members)
    return (
        f"<tr{filtered(cost.line, number[1])}>{_named(cost.line, number)}"
        f'<td class="n"{sorted_by(cost.seconds)}>{cost.seconds:.2f}</td>'
        f'<td class="n"{sorted_by(cost.slowest)}>{cost.slowest:.2f}</td>'
        f'<td class="n"{sorted_by(cost.memory)}>{cost.memory:,.0f} MB</td>'
        f'<td class="n"{sorted_by(cost.parameters)}>{parameters or "not told"}</td>'
        f"<td>{escape(', '.join(cost.devices))}</td>"
        f'<td class="n"{sorted_by(float(count))}>{count}</td></tr>'
    )
