"""The jobs that a command line asks for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from omegaconf import DictConfig

LISTED = 12
"""Values of an axis that are shown one by one."""


class Grid(NamedTuple):
    """What a sweep goes through.

    Attributes:
        axes: values by the word that takes several, in order; of a search, where it looks.
        jobs: the words of each job; None for a search, which finds them as it goes.
        size: number of jobs.
    """

    axes: dict[str, tuple[str, ...]]
    jobs: tuple[tuple[str, ...], ...] | None
    size: int

    def lines(self) -> list[str]:
        """An axis a line."""
        width = max(map(len, self.axes), default=0)
        return [f"  {axis:<{width}}  {_listed(values)}" for axis, values in self.axes.items()]


def grid_of(sweeper: DictConfig, words: Sequence[str]) -> Grid:
    """The jobs of a sweep, as Hydra's sweepers make them.

    Args:
        sweeper: its configuration, `hydra.sweeper`.
        words: of the command line that set keys; they win over the sweeper's.
    """
    from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
    from hydra.core.override_parser.overrides_parser import OverridesParser

    params: Mapping[str, Any] = sweeper.get("params") or {}
    given = [*(f"{key}={value}" for key, value in params.items()), *words]
    overrides = OverridesParser.create().parse_overrides(given)
    if "n_trials" in sweeper:
        places = {each.get_key_element(): each.get_value_string() for each in overrides if each.is_sweep_override()}
        return Grid({key: (place,) for key, place in places.items()}, None, int(sweeper.n_trials))
    jobs = tuple(tuple(job) for job in BasicSweeper.split_arguments(overrides, None)[0])
    return Grid(_axes(jobs), jobs, len(jobs))


def first_of(words: Iterable[str]) -> list[str]:
    """The words of a command line, the first value of each that has several."""
    from hydra.core.override_parser.overrides_parser import OverridesParser

    def first(word: str) -> str:
        override = OverridesParser.create().parse_override(word)
        if not override.is_discrete_sweep():
            return word
        return f"{override.get_key_element()}={next(override.sweep_string_iterator())}"

    return [first(word) for word in words]


def _axes(jobs: Sequence[Sequence[str]]) -> dict[str, tuple[str, ...]]:
    """The values of every word that is not the same in all jobs."""
    values: dict[str, dict[str, None]] = {}
    for job in jobs:
        for word in job:
            key, _, value = word.partition("=")
            values.setdefault(key, {})[value.strip("'\"")] = None
    return {key: tuple(several) for key, several in values.items() if len(several) > 1}


def _listed(values: Sequence[str]) -> str:
    if len(values) > 2 and all(value.isdigit() for value in values):
        numbers = [int(value) for value in values]
        if numbers == list(range(numbers[0], numbers[-1] + 1)):
            return f"{numbers[0]} to {numbers[-1]}"
    shown = ", ".join(values[:LISTED])
    return shown if len(values) <= LISTED else f"{shown}, ... ({len(values)} in all)"
