"""What is stated of a recording beside its file, and how it joins what the file says of itself.

The manifest fills what a file leaves open and must agree with what it says: of two that differ, one is wrong, and the
samples would be too.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np

from ecg_lightning.data.wfdb_header import MILLIVOLT
from ecg_lightning.leads import TWELVE_LEADS, canonical_lead

PLAUSIBLE_FS = (20.0, 50_000.0)
"""Hz. Below, no beat has a shape, and a rate is likely in kHz or taken from a time in ms."""

_ECG = re.compile(r"(?:ecg|ekg)[\s_.,:-]*", re.IGNORECASE)
_LEAD = re.compile(r"(?:lead)?[\s_.:-]*(?P<name>[a-z]+\d?)(?:\s*\(einthoven\))?(?:-(?:ref|wct))?", re.IGNORECASE)


class Fault(ValueError):
    """What is wrong with a recording, told where its file's name is not known; a reader makes it a `BadRecord`."""


class Signals(NamedTuple):
    """Which of a file's signals are leads.

    Attributes:
        places: their places among the file's signals.
        leads: their names, in the same order.
    """

    places: tuple[int, ...]
    leads: tuple[str, ...]


@dataclass(frozen=True)
class Stated:
    """What the manifest says of a recording.

    Attributes:
        fs: sampling rate in Hz, or None where it is left to the file.
        leads: names of the leads in the file's order, or None.
        unit: `mV`, `uV` or `V`, or None.
    """

    fs: float | None = None
    leads: tuple[str, ...] | None = None
    unit: str | None = None

    def told(self) -> dict[str, Any]:
        """What is stated, in plain JSON values."""
        return {key: value for key, value in asdict(self).items() if value is not None}

    def rate(self, own: float | None) -> float:
        """The sampling rate.

        Args:
            own: what the file says, in Hz; None where it says nothing.

        Raises:
            Fault: neither says it, they differ, or no ECG is recorded at such a rate.
        """
        fs = self.fs if own is None else own
        if fs is None:
            raise Fault("its sampling rate is not known; state it in column fs of records.csv")
        if not PLAUSIBLE_FS[0] <= fs <= PLAUSIBLE_FS[1]:
            raise Fault(f"a sampling rate of {fs:g} Hz is not one of an ECG; mend it, or column fs of records.csv")
        if self.fs is not None and not np.isclose(self.fs, fs, rtol=1e-4):
            raise Fault(f"is recorded at {fs:g} Hz and column fs of records.csv says {self.fs:g}; mend one")
        return float(fs)

    def millivolts(self, own: str | None) -> float:
        """How many mV one step of the file's samples is.

        Args:
            own: the unit that the file names; None or empty where it names none.

        Raises:
            Fault: neither names it, they differ, or it is no voltage.
        """
        unit = own or self.unit
        if not unit:
            raise Fault("the unit of its samples is not known; state mV, uV or V in column unit of records.csv")
        scale = millivolts(unit)
        if scale is None:
            raise Fault(f"the unit {unit!r} is not a voltage (mV, uV, V)")
        if self.unit is not None and millivolts(self.unit) != scale:
            raise Fault(f"its samples are in {unit} and column unit of records.csv says {self.unit!r}; mend one")
        return scale

    def signals(self, labels: Sequence[str]) -> Signals:
        """Which signals are leads of an ECG, by their labels, and what they are called.

        Where a label names a lead, those are the leads. Where none does, the signals that call themselves ECG, or all
        where none does that either, have the names that are stated.

        Args:
            labels: of all signals of the file.

        Raises:
            Fault: no lead can be told, the stated leads do not fit, or a lead is there twice.
        """
        found = {i: lead for i, label in enumerate(labels) if (lead := lead_of(label)) is not None}
        stated = tuple(lead_of(name) or name for name in self.leads or ())
        if not found:
            if not stated:
                raise Fault(f"none of {_list(labels)} names a lead; state them in column leads of records.csv")
            places = [i for i, label in enumerate(labels) if _ECG.match(label)] or range(len(labels))
            if len(places) != len(stated):
                raise Fault(f"has {len(places)} signals ({_list(labels)}) and column leads of records.csv names "
                            f"{len(stated)}; mend one")  # fmt: skip
            found = dict(zip(places, stated, strict=True))
        elif stated and set(stated) & set(TWELVE_LEADS) != set(found.values()):
            raise Fault(f"holds the leads {' '.join(found.values())} and column leads of records.csv says "
                        f"{' '.join(stated)}; mend one")  # fmt: skip
        leads = tuple(found.values())
        twice = [lead for lead in leads if leads.count(lead) > 1]
        if twice:
            raise Fault(f"holds lead {twice[0]} twice; which one counts is not known")
        return Signals(tuple(found), leads)


def millivolts(unit: str) -> float | None:
    """How many mV one of `unit` is; None where it is no voltage."""
    return MILLIVOLT.get(unit.strip().lower())


def lead_of(label: str) -> str | None:
    """The standard lead that a signal's label names: `ECG II`, `EKG V1`, `Lead aVR`, `MLII`, `v5-ref`.

    Args:
        label: as a file spells it.

    Returns:
        Its standard name; None for any other signal, a difference such as `V1-V2` among them.
    """
    text = label.strip()
    prefix = _ECG.match(text)
    name = _LEAD.fullmatch(text[prefix.end() :] if prefix else text)
    lead = canonical_lead(name["name"]) if name else ""
    return lead if lead in TWELVE_LEADS else None


def _list(labels: Sequence[str], most: int = 16) -> str:
    return ", ".join(repr(label) for label in labels[:most]) + (", ..." if len(labels) > most else "")
