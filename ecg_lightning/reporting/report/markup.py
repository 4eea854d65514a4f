"""Pieces of HTML that several sections are made of; everything that comes from files is escaped here."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import NamedTuple

from ecg_lightning.reporting.report.leaderboard import Line, Value
from ecg_lightning.reporting.tables import METRIC_NAMES, METRICS, budget_order, labels_of


class Column(NamedTuple):
    """Head of a column.

    Attributes:
        name: that is shown.
        kind: `n` for numbers, `data` for data sets, empty for other words.
        hint: what it means.
    """

    name: str
    kind: str = ""
    hint: str = ""


class Scale(NamedTuple):
    """What the ends of a forest's axis are."""

    low: float
    high: float


def words(metric: str) -> str:
    """`macro F1`, `balanced accuracy`."""
    return METRIC_NAMES.get(metric, metric.replace("_", " "))


def sortable(columns: Sequence[Column], rows: Iterable[str], label: str) -> str:
    """A table in a box of its own, sorted by a click on a column's head.

    Args:
        columns: their heads.
        rows: each a whole `tr`.
        label: what the table shows, for those who do not see it.
    """
    heads = "".join(
        f'<th scope="col"{_class(column.kind)}{_title(column.hint)}><button>{escape(column.name)}</button></th>'
        for column in columns
    )
    return (
        f'<div class="box" tabindex="0" role="region" aria-label="{escape(label)}"><table>'
        f"<thead><tr>{heads}</tr></thead><tbody>{''.join(rows)}</tbody></table></div>"
    )


def each_metric(shown: Mapping[str, tuple[str, float | str | None]]) -> str:
    """What a cell of a table says in each metric, of which one is to be seen.

    Args:
        shown: by metric, HTML and the number that it is sorted by.
    """
    return "".join(
        f'<span class="m m-{metric}"{sorted_by(key)}>{html}</span>'
        for metric, (html, key) in ((metric, shown.get(metric, ("", None))) for metric in METRICS)
    )


def sorted_by(key: float | str | None) -> str:
    """The attribute that a column is sorted by."""
    if key is None:
        return ' data-v=""'
    return f' data-v="{escape(key)}"' if isinstance(key, str) else f' data-v="{key:.10g}"'


def budget_cell(budget: str) -> str:
    """A budget, sorted by its size."""
    order = budget_order(budget)
    return f"<td{sorted_by('Infinity' if order == float('inf') else order)}>{escape(labels_of(budget))}</td>"


def filtered(line: Line, board: int) -> str:
    """The attributes by which a row is chosen."""
    return f' data-board="{board}" data-budget="{escape(line.budget)}"'


def forest(value: Value, scale: Scale) -> str:
    """An interval and its mean on a small axis."""

    def share(at: float) -> float:
        return 100 * min(max((at - scale.low) / ((scale.high - scale.low) or 1.0), 0.0), 1.0)

    left, right = (share(value.mean if end is None else end) for end in (value.low, value.high))
    style = f"--l:{left:.1f}%;--w:{right - left:.1f}%;--m:{share(value.mean):.1f}%"
    return f'<span class="forest" style="{style}" aria-hidden="true"><i></i><b></b></span>'


def scale_of(values: Iterable[Value]) -> Scale:
    """An axis for some values and their intervals, those of two seeds cut at what the others need."""
    values = list(values)
    means = [value.mean for value in values]
    sure = [end for value in values if value.seeds > 2 for end in (value.low, value.high) if end is not None]
    ends = [*means, *sure]
    return Scale(min(ends), max(ends)) if ends else Scale(0.0, 1.0)


def notes(texts: Iterable[str]) -> str:
    """A list of remarks, in small print."""
    return f'<ul class="notes">{"".join(f"<li>{escape(text)}</li>" for text in texts)}</ul>'


def _class(kind: str) -> str:
    return f' class="{kind}"' if kind else ""


def _title(hint: str) -> str:
    return f' title="{escape(hint)}"' if hint else ""
