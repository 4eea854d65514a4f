"""What gave no number, and why."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from ecg_lightning.reporting.report.collect import Trouble

HEADINGS = {
    "failed cell": "Failed evaluations",
    "failed job": "Failed jobs of sweeps",
    "interrupted job": "Interrupted jobs of sweeps",
    "running job": "Jobs that still run",
    "unreadable": "Files that cannot be read",
    "left out": "Cells that are left out",
}

LONGEST = 400
"""Characters of an error that are shown at once, of its last line: that of a traceback says what happened."""


def troubles_list(troubles: Sequence[Trouble]) -> str:
    """Everything that went wrong, what happened for one reason together."""
    if not troubles:
        return '<p class="empty">Nothing failed, and every file could be read.</p>'
    return "".join(_of_kind(heading, [each for each in troubles if each.kind == kind])
                   for kind, heading in HEADINGS.items())  # fmt: skip


def _of_kind(heading: str, troubles: Sequence[Trouble]) -> str:
    if not troubles:
        return ""
    reasons: dict[str, list[Trouble]] = {}
    for trouble in troubles:
        reasons.setdefault(trouble.why, []).append(trouble)
    listed = "".join(_reason(why, each) for why, each in reasons.items())
    return f'<div class="trouble"><h3>{heading} ({len(troubles)})</h3>{listed}</div>'


def _reason(why: str, troubles: Sequence[Trouble]) -> str:
    places = "\n".join(f"{each.where}  {each.what}".rstrip() for each in troubles)
    short = why.strip().rpartition("\n")[2][:LONGEST]
    whole = f"<pre>{escape(why)}</pre>" if short != why.strip() else ""
    count = troubles[0].where if len(troubles) == 1 else f"{len(troubles)} of them"
    return (
        f"<details{' open' if len(troubles) <= 3 else ''}><summary>{escape(short)}<br>{escape(count)}</summary>"
        f"<pre>{escape(places)}</pre>{whole}</details>"
    )
