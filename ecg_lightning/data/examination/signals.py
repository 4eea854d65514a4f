"""What the measures of single recordings amount to: invalid samples, dead leads, clipping, units that look wrong."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from itertools import combinations
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ecg_lightning.data.examination.finding import Finding, Severity, counted, share
from ecg_lightning.data.examination.vitals import Vitals
from ecg_lightning.data.identity import is_known

MICROVOLTS, STEPS, TOO_LARGE, TOO_SMALL = 300.0, 50.0, 15.0, 0.1
"""mV from peak to peak. Of 733 recordings of PTB-XL, MIT-BIH, G12EC and CPSC all lie between 0.4 and 4.7."""

VOLTS = 0.02

UNIT_SPREAD = 0.03
"""How far mean and standard deviation of a standardised lead may be from 0 and 1, having been rounded and cut."""

STILL_SECONDS, STILL_SHARE = 1.0, 0.2
PLATEAUS, CUT_SHARE = 3, 0.005
"""Fewer plateaus are chance: of those recordings three of MIT-BIH and one of CPSC have more, and do saturate."""

MISMATCH = 0.1
"""Those of 12 leads stay below 0.014, which is the rounding of their samples."""

HUM_SHARE, WANDER_SHARE = 0.05, 0.5

NAMED_LEADS = 4


class Rule(NamedTuple):
    """A fault of recordings: how grave, what, what to do, and what to say of a recording (nothing: it is well)."""

    severity: Severity
    what: str
    remedy: str
    tell: Callable[[Vitals], str]


def unit_of(vitals: Vitals) -> str:
    """What the samples seem to be: a key of `UNITS`, or `mV`."""
    alive = vitals.low < vitals.high
    if not alive.any():
        return "mV"
    centred = np.abs(vitals.mean[alive]) < UNIT_SPREAD
    if (centred & (np.abs(vitals.spread[alive] - 1) < UNIT_SPREAD)).all():
        return "z-scored"
    if np.isin(vitals.low[alive], (0, -1)).all() and (vitals.high[alive] == 1).all():
        return "min-max"
    size = vitals.amplitude
    limits = (("microvolts", size > MICROVOLTS), ("steps", size > STEPS), ("large", size > TOO_LARGE),
              ("volts", size < VOLTS), ("small", size < TOO_SMALL))  # fmt: skip
    return next((unit for unit, true in limits if true), "mV")


_STATE = ("state the unit where the format has a place for it (a WFDB header's gain and unit, the column unit of "
          "records.csv)")  # fmt: skip
UNITS: Mapping[str, tuple[Severity, str, str]] = {
    "z-scored": ("warning", "z-scored leads (mean 0, standard deviation 1), no mV",
                 "Get the recordings in mV, or set data.spec.standardise=zscore and conclude nothing from amplitudes."),
    "min-max": ("warning", "leads scaled to their smallest and largest sample, no mV",
                "Get the recordings in mV, or set data.spec.standardise=zscore and conclude nothing from amplitudes."),
    "microvolts": ("error", "amplitudes of microvolts that are read as mV",
                   f"Divide the samples by 1000, or {_STATE}."),
    "steps": ("error", "amplitudes of the recorder's steps that are read as mV",
              f"Divide the samples by the recorder's gain, or {_STATE}."),
    "large": ("warning", f"amplitudes above {TOO_LARGE:g} mV, more than a heart gives",
              "Check the recorder's gain, and look for artefacts in the pictures."),
    "volts": ("error", "amplitudes a thousand times too small: volts read as mV, or mV as microvolts",
              f"Multiply the samples by 1000, or {_STATE}."),
    "small": ("warning", f"amplitudes below {TOO_SMALL:g} mV, less than a heart gives",
              "Check the recorder's gain, and whether the electrodes were on."),
}  # fmt: skip


RULES = (
    Rule("error", "invalid samples (NaN)",
         "Fetch the recordings again or mend them; data.on_bad_record=skip leaves them out.",
         lambda v: _leads(v, v.invalid > 0, v.invalid, "{}: {:,.0f}")),
    Rule("error", "flat leads",
         "Take the recordings out, or let data.on_bad_record=skip do it; a lead that nobody recorded should not be in "
         "the file.",
         lambda v: _leads(v, v.flat)),
    Rule("warning", f"a lead that stands still for {STILL_SHARE:.0%} of the recording or longer",
         "Look whether an electrode was off or the recording filled up; take such recordings out.",
         lambda v: _leads(v, _stands(v) & (v.still >= STILL_SHARE * v.seconds), v.still, "{}: {:.1f} s")),
    Rule("note", f"a lead that stands still for {STILL_SECONDS:g} s or longer",
         "Nothing, unless the part without signal carries labels.",
         lambda v: _leads(v, _stands(v) & (v.still < STILL_SHARE * v.seconds), v.still, "{}: {:.1f} s")),
    Rule("warning", "clipped leads: their peaks are cut off at one level",
         "Get the recordings as the recorder gave them, or take them out where amplitudes matter.",
         lambda v: _leads(v, _clipped(v) & (v.cut >= CUT_SHARE), 100 * v.cut, "{}: {:.1f} % of samples")),
    Rule("note", "leads that reach the recorder's limit for moments",
         "Nothing, unless amplitudes of single beats matter.",
         lambda v: _leads(v, _clipped(v) & (v.cut < CUT_SHARE), v.plateaus, "{}: {:.0f} times")),
    Rule("warning", "two leads with the very same samples",
         "Find out which of the two was recorded, and take the other away.",
         lambda v: ", ".join(v.copies)),
    Rule("warning", "limb leads that contradict each other (II is not I + III)",
         "Check the leads' names and their order, and whether leads were scaled one by one.",
         lambda v: "" if v.mismatch is None or v.mismatch < MISMATCH or unit_of(v) in ("z-scored", "min-max")
         else f"off by {v.mismatch:.0%}"),
    Rule("note", f"mains hum, more than {HUM_SHARE:.0%} of the power at 50 or 60 Hz",
         "Let a band keep it out, as data.spec.band=[0.5,40] does.",
         lambda v: _above(HUM_SHARE, v.hum)),
    Rule("note", f"baseline wander, more than {WANDER_SHARE:.0%} of the power below 0.5 Hz",
         "Let a band keep it out, as data.spec.band=[0.5,40] does.",
         lambda v: _above(WANDER_SHARE, v.wander)),
)  # fmt: skip


def judge(recordings: Sequence[Vitals], physical: bool = True) -> list[Finding]:
    """What is wrong with single recordings.

    Args:
        recordings: those that could be read.
        physical: whether the data set claims to be in mV.
    """
    findings = _units(recordings) if physical else []
    for rule in RULES:
        told = {each.record_id: rule.tell(each) for each in recordings}
        where = {record: text for record, text in told.items() if text}
        if where:
            findings.append(Finding(rule.severity, share(rule.what, where, recordings), rule.remedy, where))
    return findings


def duplicates(recordings: Sequence[Vitals], split: Mapping[str, str]) -> list[Finding]:
    """Recordings that hold the very same samples.

    Args:
        recordings: those that could be read.
        split: of each recording that belongs to one.
    """
    same: dict[str, list[Vitals]] = {}
    for each in recordings:
        if not each.flat.all():
            same.setdefault(each.digest, []).append(each)
    pairs = [pair for group in same.values() if len(group) > 1 for pair in combinations(group, 2)]
    across = [pair for pair in pairs if len({split.get(each.record_id, "") for each in pair} - {""}) > 1]
    known = [pair for pair in pairs if pair not in across and all(is_known(each.patient) for each in pair)]
    people = [pair for pair in known if pair[0].patient != pair[1].patient]
    rest = [pair for pair in pairs if pair not in across and pair not in people]
    kinds: tuple[tuple[Severity, str, str, list[tuple[Vitals, Vitals]]], ...] = (
        ("error", "in two splits", "Take one of each pair out: what is tested was trained on.", across),
        ("warning", "of two patients", "Find out whose the recording is, and take the other one out.", people),
        ("note", "in one split", "Take one of each pair out, so that it does not count twice.", rest),
    )
    return [
        Finding(severity, f"{counted(len(found), 'pair')} of recordings {what} with the very same samples", remedy,
                {f"{a.record_id} = {b.record_id}": _sides(a, b, split) for a, b in found})
        for severity, what, remedy, found in kinds if found
    ]  # fmt: skip


def left_out(faults: Mapping[str, str], told: Set[str]) -> list[Finding]:
    """Recordings that could be read, but not prepared.

    Args:
        faults: what kept each from being prepared.
        told: recordings of which other findings tell already.
    """
    where = {record: fault for record, fault in faults.items() if record not in told}
    if not where:
        return []
    remedy = "Mend them, or leave them out with data.on_bad_record=skip."
    return [Finding("error", f"{counted(len(where), 'recording')} that cannot be prepared", remedy, where)]


def _units(recordings: Sequence[Vitals]) -> list[Finding]:
    by_unit: dict[str, dict[str, str]] = {}
    for each in recordings:
        by_unit.setdefault(unit_of(each), {})[each.record_id] = f"{float(f'{each.amplitude:.3g}'):g} mV as read"
    return [
        Finding(severity, share(what, by_unit[unit], recordings), remedy, by_unit[unit])
        for unit, (severity, what, remedy) in UNITS.items()
        if unit in by_unit
    ]


def _stands(vitals: Vitals) -> NDArray[np.bool_]:
    return (vitals.still >= STILL_SECONDS) & ~vitals.flat


def _clipped(vitals: Vitals) -> NDArray[np.bool_]:
    return vitals.plateaus >= PLATEAUS


def _leads(vitals: Vitals, which: NDArray[np.bool_], value: Iterable[float] | None = None, form: str = "{}") -> str:
    """The leads that a mask marks, each with its value; the first few of many."""
    values = which if value is None else value
    named = [
        form.format(lead, number) for lead, number, marked in zip(vitals.leads, values, which, strict=True) if marked
    ]
    return ", ".join(named[:NAMED_LEADS]) + (
        f" and {len(named) - NAMED_LEADS} more" if len(named) > NAMED_LEADS else ""
    )


def _above(limit: float, part: NDArray[np.float64]) -> str:
    """The share in the median lead, where it is above a limit."""
    middle = float(np.median(part))
    return f"{middle:.0%}" if middle > limit else ""


def _sides(first: Vitals, second: Vitals, split: Mapping[str, str]) -> str:
    """Splits and patients of two recordings."""
    splits = " and ".join(split.get(each.record_id, "no split") for each in (first, second))
    patients = " and ".join(dict.fromkeys((first.patient, second.patient)))
    return f"{splits}; {patients}"
