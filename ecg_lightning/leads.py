"""Leads by name: the spellings of one lead, and what stands in for a lead that was not recorded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ecg_lightning.errors import UserError

Missing = Literal["replicate", "zero", "mean", "derive"]

TWELVE_LEADS = ("I", "II", "III", "aVR", "aVL", "aVF", "V1", "V2", "V3", "V4", "V5", "V6")

# Names under which recorders store a lead of the standard twelve. The modified limb lead II of Holter recorders
# is electrically close to II and is read as such.
ALIASES = {"MLI": "I", "MLII": "II", "MLIII": "III", "ML2": "II"}

# What stands in for a missing lead: the frontal leads by the angle between their axes, the precordial ones by
# distance along the chest, then the other plane. Signs are kept as recorded.
_FRONTAL = {"I": 0.0, "II": 60.0, "III": 120.0, "aVR": 30.0, "aVL": -30.0, "aVF": 90.0}
_PRECORDIAL = {f"V{i}": float(i) for i in range(1, 7)}

# Einthoven's and Goldberger's equations: every frontal lead as a sum of I and II.
_EINTHOVEN = {
    "I": (1.0, 0.0),
    "II": (0.0, 1.0),
    "III": (-1.0, 1.0),
    "aVR": (-0.5, -0.5),
    "aVL": (1.0, -0.5),
    "aVF": (-0.5, 1.0),
}

Mixture = Mapping[str, float]
"""A wanted lead as a weighted sum of recorded ones, by canonical name; empty for silence."""


@cache
def canonical_lead(name: str) -> str:
    """The standard spelling of a lead's name: `MLII` and `ii` are `II`, `AVR` is `aVR`; others come back unchanged."""
    plain = name.strip()
    upper = ALIASES.get(plain.upper(), plain.upper())
    return next((lead for lead in TWELVE_LEADS if lead.upper() == upper), plain)


def lead_mixtures(have: Sequence[str], want: Sequence[str], missing: Missing) -> dict[str, Mixture]:
    """Which recorded leads serve each wanted lead.

    Args:
        have: names of the recorded leads, any spelling.
        want: canonical names of the wanted leads.
        missing: the rule for leads that are not recorded: `replicate` the nearest recorded one, `zero`, the `mean` of
            all recorded ones, or `derive` frontal leads from two other frontal leads (Einthoven's and Goldberger's
            equations) and replicate where that cannot be.

    Raises:
        UserError: none of the recorded leads is one of the standard twelve.
    """
    recorded = {canonical_lead(name) for name in have}
    known = [lead for lead in TWELVE_LEADS if lead in recorded]
    if not known:
        raise UserError(f"no standard lead among {list(have)}; name the leads I, II, ..., V6 (MLII is read as II)")
    return {lead: {lead: 1.0} if lead in known else _substitute(lead, known, missing) for lead in want}


def _substitute(lead: str, known: Sequence[str], missing: Missing) -> Mixture:
    if missing == "zero":
        return {}
    if missing == "mean":
        return dict.fromkeys(known, 1 / len(known))
    frontal = [other for other in known if other in _FRONTAL]
    if missing == "derive" and lead in _FRONTAL and len(frontal) > 1:
        weights = np.linalg.solve(np.transpose([_EINTHOVEN[other] for other in frontal[:2]]), _EINTHOVEN[lead])
        return {other: round(float(weight), 9) for other, weight in zip(frontal, weights, strict=False)}
    return {min(known, key=lambda other: _distance(lead, other)): 1.0}


def _distance(lead: str, other: str) -> float:
    """How far two leads look at the heart from one another; across the two planes always further than within one."""
    if lead in _FRONTAL and other in _FRONTAL:
        return abs(_FRONTAL[lead] - _FRONTAL[other])
    if lead in _PRECORDIAL and other in _PRECORDIAL:
        return abs(_PRECORDIAL[lead] - _PRECORDIAL[other])
    return 1000.0 + TWELVE_LEADS.index(other)


def describe(mixture: Mixture) -> str:
    """How results write a mixture: `II`, `-I + II`, `mean` of three or more, `zero`."""
    if len(mixture) < 2:
        return next(iter(mixture), "zero")
    if len(mixture) > 2:
        return "mean"
    terms = [f"{'-' if weight < 0 else '+'} {_factor(weight)}{lead}" for lead, weight in mixture.items()]
    return " ".join(terms).removeprefix("+ ").replace("- ", "-", 1 if terms[0].startswith("-") else 0)


def _factor(weight: float) -> str:
    return "" if abs(weight) == 1 else f"{abs(weight):g} "


def select_leads(
    signal_LT: NDArray[np.floating], have: Sequence[str], want: Sequence[str], missing: Missing
) -> NDArray[np.floating]:
    """Arrange the recorded leads as wanted.

    Args:
        signal_LT: (len(have), T), any unit.
        have: names of its rows; where two are one lead, the first counts.
        want: canonical names of the rows to return.
        missing: the rule for leads that are not recorded, see `lead_mixtures`.

    Returns:
        (len(want), T), the same unit and type.
    """
    rows = {canonical_lead(name): signal_LT[i] for i, name in reversed(list(enumerate(have)))}
    selected = np.zeros((len(want), signal_LT.shape[1]), signal_LT.dtype)
    for i, mixture in enumerate(lead_mixtures(have, want, missing).values()):
        for lead, weight in mixture.items():  # lead by lead: what is not used cannot spread its NaN
            selected[i] += rows[lead] * weight
    return selected
