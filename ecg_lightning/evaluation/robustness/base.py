"""The contract of every stress: a fault in levels from easy to hard, put upon signals or upon labels."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import ClassVar, Literal, NamedTuple, get_args

from ecg_lightning.errors import UserError
from ecg_lightning.evaluation.cell import Cell, Part
from ecg_lightning.evaluation.condition import CLEAN, Condition
from ecg_lightning.signal import SignalSpec

AppliesTo = Literal["test", "both", "labels"]
"""What suffers: the test signals; those of training too, of a device that always records like that; the budget's
labels."""


class Stressed(NamedTuple):
    """A cell at one level of a stress.

    Attributes:
        cell: to learn from; the very cell that was given where nothing is changed that is learned from.
        test: to predict.
    """

    cell: Cell
    test: Part


class Stress(ABC):
    """Base of all stresses; an author writes `axis`, `prepare` and `at`.

    Args:
        name: as results call it.
        levels: from easy to hard.

    Attributes:
        applies_to: what suffers.

    Raises:
        UserError: no level is given, or one twice.
    """

    axis: ClassVar[str]
    """What a level is, and its unit: how a picture's axis calls it."""

    applies_to: AppliesTo

    def __init__(self, name: str, levels: Sequence[float]) -> None:
        if not levels or len(set(levels)) < len(levels):
            raise UserError(f"robustness.levels={list(levels)} must be different numbers, at least one")
        self.name, self.levels = name, tuple(levels)

    @abstractmethod
    def prepare(self, spec: SignalSpec) -> None:
        """Learn which signal is stressed, before any work; `levels` become those that there are for it.

        Raises:
            UserError: this stress cannot be, at this rate or with these leads.
        """

    @abstractmethod
    def at(self, level: float, cell: Cell) -> Stressed:
        """A cell at one of `levels`.

        Args:
            level: one of them.
            cell: a clean one; of its labels only the budget's may be read.
        """


class SignalStress(Stress):
    """Base of what befalls signals; an author writes `conditions`.

    Args:
        name: see `Stress`.
        levels: see `Stress`.
        applies_to: `test`: it befalls a model that has learned from clean signals; `both`: it was there all along.

    Raises:
        UserError: it applies to neither.
    """

    def __init__(self, name: str, levels: Sequence[float], applies_to: Literal["test", "both"] = "test") -> None:
        super().__init__(name, levels)
        if applies_to not in get_args(AppliesTo)[:2]:
            raise UserError(f"robustness.applies_to={applies_to!r} is not one of test, both")
        self.applies_to = applies_to
        self._conditions: Mapping[float, Condition] = {}

    @abstractmethod
    def conditions(self, spec: SignalSpec) -> Mapping[float, Condition]:
        """The condition of each level, from easy to hard; `CLEAN` where it changes nothing.

        Args:
            spec: of the signals.

        Raises:
            UserError: see `prepare`.
        """

    def prepare(self, spec: SignalSpec) -> None:
        """See `Stress.prepare`."""
        self._conditions = self.conditions(spec)
        self.levels = tuple(self._conditions)

    def at(self, level: float, cell: Cell) -> Stressed:
        """See `Stress.at`."""
        condition = self._conditions[level]
        learns = self.applies_to == "both" and condition is not CLEAN
        return Stressed(replace(cell, condition=condition) if learns else cell, cell.part("test", condition))
