"""Where each number comes from: configuration, commit, data and encoder; and what is known against it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

from ecg_lightning.reporting.report.leaderboard import Line
from ecg_lightning.reporting.report.markup import Column, budget_cell, filtered, notes, sortable
from ecg_lightning.reporting.report.settings import Settings, settings_of, shared
from ecg_lightning.reporting.report.tables import FIRST, Numbers
from ecg_lightning.reporting.sweep import circumstances

TOLD_ELSEWHERE = {
    "data.seed",
    "model_seed",
    "budget",
    "beside",
    "root",
    "tables",
    "cache_dir",
    "results_dir",
    "residency",
    "on_bad_record",
}
"""Keys and parts of keys that another one tells, or that say where and how, not what; all stand in the whole."""

MOST_CHIPS = 14
"""As many settings in which a line differs are shown at once; all of them on demand."""


def provenance(lines: Sequence[Line], numbers: Numbers) -> str:
    """What is to be known of all lines of one board.

    Args:
        lines: of the board.
        numbers: see `tables`.
    """
    board, number = lines[0].board, numbers[id(lines[0])][1]
    settings = [settings_of(line) for line in lines]
    common = shared(settings)
    columns = (*FIRST[1:], Column("Differs in"), Column("Commit"), Column("Samples"), Column("Labels"), Column("Cells"))
    rows = (_row(line, own, common, numbers[id(line)]) for line, own in zip(lines, settings, strict=True))
    return (
        f'<div class="board" data-board="{number}"><h3>{escape(board.name)}</h3>{_circumstances(lines)}'
        f"<details><summary>{len(common)} settings that all lines share</summary>"
        f'<pre id="shared{number}">{escape(_written(common))}</pre></details>'
        f"{sortable(columns, rows, f'provenance on {board.name}')}</div>"
    )


def _circumstances(lines: Sequence[Line]) -> str:
    """What holds of the results of each encoder."""
    board = lines[0].board
    told: dict[tuple[str, ...], list[str]] = {}
    for encoder, rows in board.rows.groupby("encoder", sort=False):
        results = [board.results[place] for place in rows.index]
        told.setdefault(tuple(circumstances(results, rows)), []).append(str(encoder)[:8])
    return "".join(
        f'<p class="quiet">encoder{"s" if len(encoders) > 1 else ""} {escape(", ".join(encoders))}</p>{notes(said)}'
        for said, encoders in told.items()
    )


def _row(line: Line, own: Settings, common: Settings, number: tuple[int, int]) -> str:
    encoder, differing = line.first["encoder"], {key: value for key, value in own.items() if key not in common}
    telling = [(key, value) for key, value in differing.items() if not {key, *key.split(".")} & TOLD_ELSEWHERE]
    chips = [f"<code>{escape(f'{key}={value}')}</code>" for key, value in telling[:MOST_CHIPS]]
    rest = f" and {len(telling) - MOST_CHIPS} more" if len(telling) > MOST_CHIPS else ""
    cells = "\n".join(str(line.board.rows["cell"].iloc[member]) for member in line.members)
    about = f"encoder {encoder['digest']} of commit {encoder.get('commit', 'unknown')}"
    whole = f'data-shared="shared{number[1]}"><summary>whole configuration</summary>'
    return (
        f'<tr id="p{number[0]}"{filtered(line, number[1])}>'
        f'<th scope="row">{escape(line.method)}<small>{escape(about)}</small></th>{budget_cell(line.budget)}'
        f'<td class="chips">{"".join(chips)}{rest}'
        f"<details {whole}<pre>{escape(_written(differing))}</pre></details></td>"
        f"<td>{_codes(result['commit'] for result in line.results)}</td>"
        f"<td>{_codes(result['data']['fingerprint'] for result in line.results)}"
        f"<small>{escape(line.board.split)}</small></td>"
        f"<td>{_labels(line)}</td>"
        f"<td><details><summary>{len(line.members)}</summary><pre>{escape(cells)}</pre></details></td></tr>"
    )


def _codes(values: Iterable[object]) -> str:
    return "".join(f"<code>{escape(value)}</code>" for value in sorted(set(map(str, values))))


def _labels(line: Line) -> str:
    """How many labels were read, of how many patients."""
    told = [result.get("labels", {}) for result in line.results]
    read, patients = ([int(each[key]) for each in told if key in each] for key in ("read", "patients"))
    if not read or not patients:
        return "not told"
    return f"{_range(read)} read<small>of {_range(patients)} patients</small>"


def _range(values: Sequence[int]) -> str:
    return f"{values[0]:,}" if min(values) == max(values) else f"{min(values):,} to {max(values):,}"


def _written(settings: Settings) -> str:
    return "\n".join(f"{key}={value}" for key, value in sorted(settings.items()))
