"""Tables for papers, as Markdown and as LaTeX: one for each data set and metric."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from ecg_lightning.reporting.comparison import LEAST_SEEDS
from ecg_lightning.reporting.report.leaderboard import BEATS, LOSES, Line
from ecg_lightning.reporting.report.markup import words
from ecg_lightning.reporting.tables import METRICS, budget_order, entry, labels_of, markdown_lines

MARKS = {BEATS: "+", LOSES: "-"}
"""Behind an entry, by the verdict against training from scratch."""

DAGGER = "†"

SPECIAL = str.maketrans({
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}",
    "|": r"\textbar{}", '"': "''", "[": "{[}", "]": "{]}",
})  # fmt: skip
"""What LaTeX takes for a command, and brackets, which it takes for an option behind the end of a line."""


@dataclass(frozen=True)
class Entry:
    """One number of a table.

    Attributes:
        text: mean and interval.
        marks: `+`, `-` and a dagger, see `MARKS`.
        best: whether no method of its column has a greater mean.
    """

    text: str
    marks: str
    best: bool


@dataclass(frozen=True)
class Table:
    """One table.

    Attributes:
        title: above it.
        header: of its columns.
        rows: a method's name, then its entries, None where there is none.
        notes: below it.
    """

    title: str
    header: Sequence[str]
    rows: Sequence[tuple[str, Sequence[Entry | None]]]
    notes: Sequence[str]


def tables(lines: Sequence[Line]) -> Iterator[Table]:
    """The tables of one board, that of its usual metric first."""
    usual = lines[0].board.metric
    for metric in (usual, *(metric for metric in METRICS if metric != usual)):
        known = [line for line in lines if metric in line.values]
        if known:
            yield _table(known, metric)


def _table(lines: Sequence[Line], metric: str) -> Table:
    budgets = sorted({line.budget for line in lines}, key=budget_order)
    top = {budget: max(_mean(line, metric) for line in lines if line.budget == budget) for budget in budgets}
    of = {(line.method, line.budget): _entry(line, metric, top[line.budget]) for line in lines}
    best: dict[str, float] = {}
    for line in lines:
        best[line.method] = max(best.get(line.method, -1.0), _mean(line, metric))
    methods = sorted(best, key=lambda method: (-best[method], method))
    rows = [(method, [of.get((method, budget)) for budget in budgets]) for method in methods]
    board = lines[0].board
    family = [line.verdicts[metric] for line in lines if line.verdicts[metric].difference is not None]
    notes = [f"{board.split}; mean over label seeds with 95 % t-interval; {DAGGER} fewer than {LEAST_SEEDS} seeds"]
    if family:
        notes.append(
            "+ beats, - loses to training the same encoder from scratch: paired, over test patients and label seeds; "
            f"the 95 % intervals of all {len(family)} comparisons hold together"
        )
    return Table(f"{words(metric)} on {board.name}", ["method", *map(labels_of, budgets)], rows, notes)


def _mean(line: Line, metric: str) -> float:
    return line.values[metric].mean


def _entry(line: Line, metric: str, top: float) -> Entry:
    value, mark = line.values[metric], MARKS.get(line.verdicts[metric].word, "")
    few = DAGGER if value.seeds < LEAST_SEEDS else ""
    return Entry(entry({"mean": value.mean, "low": value.low, "high": value.high}), mark + few, value.mean >= top)


def markdown(table: Table) -> str:
    """For a README."""

    def show(each: Entry | None) -> str:
        return "" if each is None else f"{f'**{each.text}**' if each.best else each.text} {each.marks}".rstrip()

    return markdown_lines(*_written(table, show, _plain), _plain(table.title), list(map(_plain, table.notes)))


def latex(table: Table) -> str:
    """For a paper that uses the package `booktabs`."""

    def show(each: Entry | None) -> str:
        if each is None:
            return ""
        text, marks = each.text, each.marks.replace(DAGGER, r"\dagger")
        return (rf"\textbf{{{text}}}" if each.best else text) + (f"$^{{{marks}}}$" if marks else "")

    header, rows = _written(table, show, escape_latex)
    body = "\n".join(" & ".join(row) + r" \\" for row in rows)
    notes = [escape_latex(note[0].upper() + note[1:]).replace(DAGGER, r"$\dagger$") for note in table.notes]
    return (
        "\\begin{table}\n\\centering\n"
        f"\\caption{{{'. '.join([escape_latex(table.title), *notes])}.}}\n"
        f"\\begin{{tabular}}{{l{'r' * (len(header) - 1)}}}\n\\toprule\n{' & '.join(header)} \\\\\n\\midrule\n{body}\n"
        "\\bottomrule\n\\end{tabular}\n\\end{table}\n"
    )


def escape_latex(text: str) -> str:
    """A text that LaTeX prints as it is, on one line."""
    return _printable(text).translate(SPECIAL)


def _written(
    table: Table, show: Callable[[Entry | None], str], name: Callable[[str], str]
) -> tuple[list[str], list[list[str]]]:
    """Header and rows, all text."""
    return list(map(name, table.header)), [[name(method), *map(show, entries)] for method, entries in table.rows]


def _plain(text: str) -> str:
    """A text that ends no cell of a Markdown table and begins no tag."""
    return _printable(text).replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;")


def _printable(text: str) -> str:
    return "".join(" " if unicodedata.category(sign).startswith("C") else sign for sign in text)
