"""What lines of a board were asked for, and in what alone they differ."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ecg_lightning.reporting.report.leaderboard import Line

MENU = "beside"
"""A part of the configuration that lists what may be evaluated beside a cell, and says nothing of the cell itself."""

Settings = dict[str, str]
"""A value for each key of the configuration, as the command line writes them; several where the cells differ."""


def settings_of(line: Line) -> Settings:
    """The configuration of all cells of a line."""
    first, *others = (result["config"] for result in line.results)
    values = {key: {value: None} for key, value in _flat(first)}
    for other in others:
        for key, value in _flat({part: own for part, own in other.items() if own != first.get(part)}):
            values.setdefault(key, {})[value] = None
    return {key: _several(list(of)) for key, of in values.items()}


def shared(settings: Sequence[Settings]) -> Settings:
    """What all have in common."""
    return {key: value for key, value in settings[0].items() if all(other.get(key) == value for other in settings[1:])}


def _flat(config: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, str]]:
    for key, value in config.items():
        name = f"{above}.{key}" if above else str(key)
        if isinstance(value, dict) and value and name != MENU:
            yield from _flat(value, name)
        elif name != MENU:
            yield name, "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def _several(values: list[str]) -> str:
    return ",".join(sorted(values, key=lambda value: (len(value), value)))
