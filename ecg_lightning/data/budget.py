"""Label budgets: which few labels a model may see, and a seal that holds it to them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ecg_lightning.errors import UserError


class BudgetExceeded(RuntimeError):
    """A protocol asked for a label outside its budget: a fault of the protocol, not of the user."""


@dataclass(frozen=True)
class LabelBudget:
    """How many labels there are for everything: fitting, choosing hyper-parameters, early stopping.

    Draws are stratified, representative of the patients, nested (10 inside 25 inside 50) and seeded apart from the
    model. `total` and `per_class` are balanced: the classes take turns, a rare one until it has no more. `fraction`
    keeps the classes' shares.

    Attributes:
        total: number of labelled examples; None with the two others None means all there are.
        per_class: labelled examples of each class.
        fraction: share of all examples, in (0, 1].

    Raises:
        UserError: more than one of the three is given, or one is out of range.
    """

    total: int | None = None
    per_class: int | None = None
    fraction: float | None = None

    def __post_init__(self) -> None:
        given = [key for key in ("total", "per_class", "fraction") if getattr(self, key) is not None]
        if len(given) > 1:
            raise UserError(f"budget: give one of total, per_class, fraction, not {' and '.join(given)}")
        for key in given:
            value = getattr(self, key)
            if value <= 0 or (key == "fraction" and value > 1) or (key != "fraction" and value != int(value)):
                allowed = "a share in (0, 1]" if key == "fraction" else "a whole number above 0"
                raise UserError(f"budget.{key}={value} must be {allowed}")

    @property
    def name(self) -> str:
        """As results and run directories call it."""
        if self.total is not None:
            return str(self.total)
        if self.per_class is not None:
            return f"{self.per_class}-per-class"
        return "full" if self.fraction is None else f"{self.fraction:g}-of-all"

    @classmethod
    def of_name(cls, name: str) -> LabelBudget:
        """The inverse of `name`.

        Raises:
            UserError: no budget is called so.
        """
        number, _, kind = name.partition("-")
        try:
            if kind == "of-all":
                return cls(fraction=float(number))
            if name == "full":
                return cls()
            if kind in ("", "per-class"):
                return cls(**{"per_class" if kind else "total": int(number)})
        except ValueError:
            pass
        raise UserError(f"{name!r} is no budget; write 100, 5-per-class, 0.1-of-all or full")

    def draw(
        self, y: NDArray[np.integer], patient: NDArray[np.generic], classes: tuple[str, ...], seed: int
    ) -> NDArray[np.int64]:
        """Choose the labelled examples.

        Args:
            y: (N,) class numbers, or (N, C) zeros and ones.
            patient: (N,) whose each example is.
            classes: names of the C classes.
            seed: of the draw alone.

        Returns:
            Sorted indices of the chosen examples; the same for every model given the same seed.

        Raises:
            UserError: a class has no example, the data hold fewer labels than the budget, or the seed is negative.
        """
        if seed < 0:
            raise UserError(f"seed={seed} must be a whole number from 0 on")
        members = [np.flatnonzero(y == c if y.ndim == 1 else y[:, c] > 0) for c in range(len(classes))]
        self._check(len(y), members, classes, single_label=y.ndim == 1)
        generator = np.random.default_rng((0xB0D9E7, seed))
        if self.total is None and self.per_class is None:
            share = 1.0 if self.fraction is None else self.fraction
            chosen = _proportional_order(y, patient, generator)[: max(1, round(share * len(y)))]
        else:
            queues = [_representative(index, patient, generator) for index in members]
            chosen = _take_turns(queues, generator, self.total, self.per_class)
            if self.total is not None:  # examples that show none of the classes come last
                rest = np.setdiff1d(np.arange(len(y)), chosen)
                chosen = np.r_[chosen, _representative(rest, patient, generator)][: self.total]
        if y.ndim == 1:
            lost = [name for name, index in zip(classes, members, strict=True) if not np.isin(index, chosen).any()]
            if lost:
                raise UserError(f"budget={self.name} holds no example of {', '.join(lost)}; use a larger one")
        return np.sort(chosen)

    def _check(self, n: int, members: list[NDArray[np.int64]], classes: tuple[str, ...], single_label: bool) -> None:
        if not n:
            raise UserError("the training split holds no labelled example; add recordings")
        empty = [name for name, index in zip(classes, members, strict=True) if not len(index)]
        if empty and single_label:
            raise UserError(
                f"the training split holds no example of class {', '.join(empty)}; "
                "choose a data.task or data.split that has one, or add recordings"
            )
        if self.total is not None and self.total > n:
            raise UserError(f"budget={self.total} asks for more than the {n} labels of the training split; use full")
        if self.total is not None and single_label and self.total < len(classes):
            raise UserError(f"budget={self.total} cannot hold one example of each of the {len(classes)} classes")
        if self.per_class is not None:
            few = {name: len(i) for name, i in zip(classes, members, strict=True) if len(i) < self.per_class}
            if few:
                stated = ", ".join(f"{name} has {count}" for name, count in few.items())
                raise UserError(f"budget.per_class={self.per_class} asks for more labels than there are: {stated}")


def _representative(
    index: NDArray[np.int64], patient: NDArray[np.generic], generator: np.random.Generator
) -> NDArray[np.int64]:
    """A random order of which every beginning keeps the patients' shares.

    To let every patient serve once before any serves twice would fill a small budget with the rare odd beats of
    patients who have hardly any: on MIT-BIH that costs a probe a tenth of its accuracy.
    """
    shuffled = generator.permutation(index)
    return _merge(shuffled, patient[shuffled], generator)


def _merge(queue: NDArray[np.int64], group: NDArray[np.generic], generator: np.random.Generator) -> NDArray[np.int64]:
    """An order of which every beginning keeps the groups' shares, each group in its own order: systematic sampling."""
    _, who = np.unique(group, return_inverse=True, axis=0 if group.ndim > 1 else None)
    size = np.bincount(who.reshape(-1))
    by_group = np.argsort(who.reshape(-1), kind="stable")
    nth = np.arange(len(queue)) - np.repeat(np.cumsum(size) - size, size)
    place = (nth + np.repeat(generator.random(len(size)), size)) / np.repeat(size, size)
    return queue[by_group[np.argsort(place, kind="stable")]]


def _take_turns(
    queues: list[NDArray[np.int64]], generator: np.random.Generator, total: int | None, per_class: int | None
) -> NDArray[np.int64]:
    """Let the classes choose in turn, in a random but fixed order; an example already chosen is passed over."""
    turn = generator.permutation(len(queues))
    chosen: dict[int, None] = {}
    position = [0] * len(queues)
    rounds = max(len(queue) for queue in queues) if per_class is None else per_class
    for _ in range(rounds):
        for c in turn:
            queue = queues[c]
            while position[c] < len(queue) and int(queue[position[c]]) in chosen:
                position[c] += 1
            if position[c] < len(queue):
                chosen[int(queue[position[c]])] = None
            if len(chosen) == total:
                return np.fromiter(chosen, np.int64)
    return np.fromiter(chosen, np.int64)


def _proportional_order(
    y: NDArray[np.integer], patient: NDArray[np.generic], generator: np.random.Generator
) -> NDArray[np.int64]:
    """An order of which every beginning keeps the shares of the classes (for many labels: of their combinations)."""
    kinds, kind = np.unique(y, axis=0, return_inverse=True)
    kind = kind.reshape(-1)
    queues = [_representative(np.flatnonzero(kind == k), patient, generator) for k in range(len(kinds))]
    order = np.concatenate(queues)
    return _merge(order, y[order], generator)


class SealedLabels:
    """The training split's labels, of which only a budget's may be read.

    Args:
        y: (N,) or (N, C) labels.
        allowed: indices of the budget.
    """

    def __init__(self, y: NDArray[np.integer], allowed: NDArray[np.int64]) -> None:
        self._y = y
        self.allowed = allowed
        self.read: set[int] = set()

    def __len__(self) -> int:
        return len(self._y)

    def __getitem__(self, index: NDArray[np.int64]) -> NDArray[np.integer]:
        """The labels of some examples.

        Raises:
            BudgetExceeded: one of them is not in the budget, or they are not asked for by number.
        """
        if np.asarray(index).dtype.kind not in "iu":
            raise BudgetExceeded("labels are asked for by the numbers of their examples")
        outside = np.setdiff1d(index, self.allowed)
        if len(outside):
            raise BudgetExceeded(f"{len(outside)} labels outside the budget of {len(self.allowed)} were asked for")
        self.read.update(np.atleast_1d(index).tolist())
        return self._y[index]
