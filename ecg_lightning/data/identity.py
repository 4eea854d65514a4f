"""Whose a recording is, across data sets.

A patient's name is `POPULATION/ID` where the source publishes who was recorded (`ptbxl/15709`, `mitbih/100`). Where it
does not, a recording stands for itself as `POPULATION/NAMING:RECORD` (`mitbih/kaggle:train-17`, `ptbxl/cinc:HR00001`):
two such names tell recordings apart that are named alike, but not from recordings of the same people named otherwise.
The population `ANYONE` stands for recordings of which not even that is known: they may be anybody's.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

ANYONE = "anyone"


class Shared(NamedTuple):
    """What two groups of recordings have in common.

    Attributes:
        patients: sorted names that are in both.
        unclear: sorted populations that both were drawn from and whose people they name in different ways, so that
            nobody can tell whether they share any; `ANYONE` where one group may be anybody.
    """

    patients: tuple[str, ...]
    unclear: tuple[str, ...]

    def __bool__(self) -> bool:
        return bool(self.patients or self.unclear)

    def __str__(self) -> str:
        names = ", ".join(self.patients[:3]) + (", ..." if len(self.patients) > 3 else "")
        number = len(self.patients)
        known = [f"{number} patient{'s' if number > 1 else ''} ({names})"] if self.patients else []
        unclear = [
            "people whom nobody has named, perhaps some"
            if population == ANYONE
            else f"people of {population} under other names, who cannot be told apart"
            for population in self.unclear
        ]
        return " and ".join([*known, *unclear])


def is_known(patient: str) -> bool:
    """Whether the source says who was recorded."""
    return not _naming(patient)[1]


def count_people(patients: Iterable[str]) -> str:
    """How many patients, or recordings of nobody known, in words.

    Args:
        patients: names, each once.
    """
    names = list(patients)
    known = sum(map(is_known, names))
    told = [f"{known} patients"] if known or not names else []
    if known < len(names):
        told.append(f"{len(names) - known} recordings of people unknown")
    return " and ".join(told)


def shared(some: Iterable[str], others: Iterable[str]) -> Shared:
    """Compare whose recordings two groups are.

    Args:
        some: patients' names of one group.
        others: of the other.
    """
    some, others = set(some), set(others)
    ways, other_ways = ({_naming(name) for name in group} for group in (some, others))
    unclear = {
        population
        for population, naming in ways
        for other_population, other_naming in other_ways
        if population == other_population and naming != other_naming
    }
    if some and others and any(population == ANYONE for population, _ in ways | other_ways):
        unclear.add(ANYONE)
    return Shared(tuple(sorted(some & others)), tuple(sorted(unclear)))


def _naming(patient: str) -> tuple[str, str]:
    """Population, and the way in which its recordings are named; empty where the name is the patient's."""
    population, _, name = patient.partition("/")
    return population, name.rpartition(":")[0] if ":" in name else ""
