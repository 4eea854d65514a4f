"""The diagnoses of the PhysioNet/CinC Challenges 2020 and 2021, by the challenges' own tables.

A recording's header lists SNOMED CT codes. The tables say which of them were scored, how each is abbreviated and which
the challenge counted as one diagnosis; they belong to the challenge and are read from where the user keeps them.

https://github.com/physionetchallenges/evaluation-2020 and https://github.com/physionetchallenges/evaluation-2021
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Set
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ecg_lightning.data.regular import regular_size
from ecg_lightning.errors import UserError

if TYPE_CHECKING:
    import pandas as pd

Task = Literal["scored2020", "scored2021", "all"]


class Table(NamedTuple):
    """One table: its local name, and the year and name under which it was published."""

    name: str
    year: int
    published: str


SCORED_2020 = Table("dx_mapping_scored.csv", 2020, "dx_mapping_scored.csv")
SCORED_2021 = Table("dx_mapping_scored_2021.csv", 2021, "dx_mapping_scored.csv")
UNSCORED = Table("dx_mapping_unscored.csv", 2020, "dx_mapping_unscored.csv")
WEIGHTS = {SCORED_2020: Table("weights.csv", 2020, "weights.csv"),
           SCORED_2021: Table("weights_2021.csv", 2021, "weights.csv")}  # fmt: skip
"""The scoring matrix that belongs to each table of scored diagnoses; its heading groups the codes, as `a|b`."""

TABLES: dict[Task, tuple[Table, ...]] = {
    "scored2020": (SCORED_2020,),
    "scored2021": (SCORED_2021,),
    "all": (SCORED_2020, SCORED_2021, UNSCORED),
}

NORMAL = "426783006"
"""Sinus rhythm, which the challenges gave to a recording when in doubt."""

_CODE = re.compile(r"\d{6,18}", re.ASCII)
"""A SNOMED CT identifier."""


class ChallengeWeights(NamedTuple):
    """How a challenge scored.

    Attributes:
        names: the K scored diagnoses, named as `labels_of_codes` does.
        credit: (K, K) what giving the diagnosis of a column earns where that of the row is true.
        normal: the name whose recordings are normal.
    """

    names: tuple[str, ...]
    credit: NDArray[np.float64]
    normal: str


def labels_of_codes(folder: Path, task: Task) -> dict[str, str]:
    """The label that each SNOMED CT code gives in a task.

    Args:
        folder: where the tables lie.
        task: the diagnoses scored in 2020, those scored in 2021, or all that the tables name.

    Returns:
        The diagnosis's abbreviation by code; codes that the challenge counts as one diagnosis share a label, which
        joins their abbreviations (`CRBBB|RBBB`).

    Raises:
        UserError: a table is missing, is not the published one, or does not fit another.
    """
    abbreviation: dict[str, str] = {}
    same: list[Set[str]] = []
    for table in TABLES[task]:
        rows = _read(folder, table)
        own = dict(zip(_column(rows, "SNOMEDCTCode", folder, table), _column(rows, "Abbreviation", folder, table),
                       strict=True))  # fmt: skip
        wrong = next((code for code in own if not _CODE.fullmatch(code)), None)
        if wrong is not None:
            raise UserError(f"{folder / table.name}: {wrong!r} is no SNOMED CT code; {_remedy(folder, table)}")
        abbreviation = own | abbreviation
        if table in WEIGHTS:
            same += [*_noted(rows), *_weighted_as_one(folder, table, own)]
    return _joined(abbreviation, same)


def challenge_weights(folder: Path, task: Task) -> ChallengeWeights | None:
    """The scoring matrix of a task, diagnoses that count as one taken together; None where it is no challenge's own.

    Args:
        folder: where the tables lie.
        task: see `labels_of_codes`.

    Raises:
        UserError: see `labels_of_codes`, or the matrix is not the published one.
    """
    if len(TABLES[task]) > 1:
        return None
    import pandas as pd

    weights, labels = WEIGHTS[TABLES[task][0]], labels_of_codes(folder, task)
    rows = _read(folder, weights)
    headings = [str(heading) for heading in rows.columns[1:]]
    credit_DD = rows.iloc[:, 1:].apply(pd.to_numeric, errors="coerce").to_numpy(np.float64)
    named = [labels[_CODE.findall(heading)[0]] for heading in headings]
    names = list(dict.fromkeys(named))
    first, place = [named.index(name) for name in names], [names.index(name) for name in named]
    square = rows.iloc[:, 0].tolist() == headings and NORMAL in labels and np.isfinite(credit_DD).all()
    if not square or (credit_DD[first][:, first][place][:, place] != credit_DD).any():
        raise UserError(
            f"{folder / weights.name}: is no square of numbers, with {NORMAL} among its codes, that weighs alike what "
            f"counts as one diagnosis; {_remedy(folder, weights)}"
        )
    return ChallengeWeights(tuple(names), credit_DD[first][:, first], labels[NORMAL])


def _noted(rows: pd.DataFrame) -> Iterator[Set[str]]:
    """Codes that the notes say are scored as the same diagnosis."""
    for note in rows.get("Notes", ()):
        if "as the same diagnosis" in note:
            yield set(_CODE.findall(note))


def _weighted_as_one(folder: Path, table: Table, own: Mapping[str, str]) -> Iterator[Set[str]]:
    """Codes that share a column of the scoring matrix.

    Raises:
        UserError: the matrix is of other diagnoses than the table, whose namesake of the other year this may be.
    """
    weights = WEIGHTS[table]
    groups = [set(_CODE.findall(heading)) for heading in _read(folder, weights).columns[1:]]
    if set().union(*groups) != own.keys():
        raise UserError(
            f"{folder / weights.name} and {folder / table.name} are about different diagnoses; "
            f"{_remedy(folder, weights)}, and {table.name} with it"
        )
    yield from groups


def _joined(abbreviation: Mapping[str, str], same: Iterable[Set[str]]) -> dict[str, str]:
    """One label for the codes of each group, groups that overlap taken together."""
    group = {code: {code} for code in abbreviation}
    for codes in same:
        union = set().union(*(group[code] for code in codes if code in group))
        group |= dict.fromkeys(union, union)
    return {code: "|".join(name for each, name in abbreviation.items() if each in group[code]) for code in abbreviation}


def _read(folder: Path, table: Table) -> pd.DataFrame:
    import pandas as pd

    path = folder / table.name
    try:
        regular_size(path)
        return pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8-sig")
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"{path}: cannot be read ({reason}); {_remedy(folder, table)}") from error


def _column(rows: pd.DataFrame, name: str, folder: Path, table: Table) -> list[str]:
    """A column's cells; 2020's headings have spaces where 2021's have none."""
    for heading in rows.columns:
        if str(heading).replace(" ", "") == name:
            return [str(cell).strip() for cell in rows[heading]]
    raise UserError(f"{folder / table.name}: has no column {name}; {_remedy(folder, table)}")


def _remedy(folder: Path, table: Table) -> str:
    return (
        f"take {table.published} from https://github.com/physionetchallenges/evaluation-{table.year} and put it there "
        f"as {table.name}, or set data.tables to the folder that holds it (now {folder})"
    )
