"""What headers and folders tell without a signal being read: rates, leads, lengths, missing files, the version."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from ecg_lightning.data.examination.finding import Finding, Severity, counted, share
from ecg_lightning.data.record import Layout, RecordFile
from ecg_lightning.errors import UserError
from ecg_lightning.leads import TWELVE_LEADS, canonical_lead, describe, lead_mixtures
from ecg_lightning.signal import SignalSpec

PUBLISHED: Mapping[str, Mapping[str, int]] = {
    "ptbxl": {"1.0.3": 21_799, "1.0.1": 21_837},
    "mitbih": {"1.0.0": 48},
    "g12ec": {"1.0.2": 10_344},
}
"""Recordings in each version, the latest first, as PhysioNet's pages of the data sets give them."""

LIST = "RECORDS"
"""PhysioNet's list of a data set's recordings, one path without suffix a line."""


def check_files(faults: Mapping[str, str], total: int) -> list[Finding]:
    """Recordings whose files are missing, truncated or contradict one another."""
    if not faults:
        return []
    what = f"files missing, truncated or damaged, in {len(faults):,} of {total:,} recordings"
    remedy = "Fetch them again (a download goes on where it stopped), or leave them out with data.on_bad_record=skip."
    return [Finding("error", what, remedy, faults)]


def check_layouts(layouts: Mapping[str, Layout], spec: SignalSpec) -> list[Finding]:
    """How the recordings differ from what they are rendered to."""
    slow = {name: f"{each.fs:g} Hz" for name, each in layouts.items() if each.fs < spec.fs}
    seconds = {name: each.samples / each.fs for name, each in layouts.items()}
    short = {name: f"{length:.3g} s" for name, length in seconds.items() if length < spec.seconds - 0.5 / spec.fs}
    twice = {name: ", ".join(each.leads) for name, each in layouts.items() if _names_a_lead_twice(each)}
    kinds: tuple[tuple[Severity, str, str, dict[str, str]], ...] = (
        ("warning", "a lead named twice",
         "Name each lead as it was recorded: only the first of the two is used.", twice),
        ("note", f"rates below data.spec.fs={spec.fs:g}",
         "Nothing, or lower data.spec.fs: what was not recorded does not come back.", slow),
        ("note", f"recordings shorter than the window of {spec.seconds:g} s",
         "Nothing: they are padded, and padding is left out.", short),
    )  # fmt: skip
    found = [Finding(severity, share(what, where, layouts), remedy, where)
             for severity, what, remedy, where in kinds if where]  # fmt: skip
    return [*_missing_leads(layouts, spec), *_other_leads(layouts), *found]


def edition(name: str, files: Sequence[RecordFile]) -> str:
    """Which published data set it is, and how much of it."""
    published = PUBLISHED.get(name, {})
    number = re.search(r"/(\d+\.\d+\.\d+)/", files[0].paths()[0].as_posix())
    stated = f"version {number[1]} by its folder, " if number else ""
    for version, count in published.items():
        if len(files) == count:
            return f"{stated}all {count:,} recordings of version {version}"
    if not published:
        return f"{stated}{counted(len(files), 'recording')}"
    version = number[1] if number and number[1] in published else next(iter(published))
    return f"{stated}a part of it: {len(files):,} of the {published[version]:,} recordings of version {version}"


def check_list(root: Path, files: Sequence[RecordFile]) -> list[Finding]:
    """Compare the recordings with PhysioNet's own list of them, where it lies beside them."""
    have = {path.with_suffix("") for file in files for path in file.paths()[:1]}
    if len(have) < len(files):  # many in one file: the list is not of them
        return []
    folders = {folder for path in have for folder in path.parents if folder.is_relative_to(root)}
    missing = {}
    for folder in sorted(folder for folder in folders if (folder / LIST).is_file()):
        tops = {path.relative_to(folder).parts[0] for path in have if path.parent != folder}
        for line in filter(None, map(str.strip, (folder / LIST).read_text(errors="replace").splitlines())):
            # What lies in another folder, as PTB-XL's other sampling rate does, is not missed.
            if folder / line not in have and ("/" not in line or line.split("/")[0] in tops):
                missing[line] = ""
    if not missing:
        return []
    remedy = "Fetch them if you want the whole set: a download goes on where it stopped."
    return [Finding("note", f"{counted(len(missing), 'recording')} listed in {LIST} and not there", remedy, missing)]


def _missing_leads(layouts: Mapping[str, Layout], spec: SignalSpec) -> list[Finding]:
    """Leads that a spec asks for, and what stands in for them."""
    stand_in: dict[str, dict[str, str]] = {}
    unknown: dict[str, str] = {}
    for name, layout in layouts.items():
        try:
            mixtures = lead_mixtures(layout.leads, spec.leads, spec.missing)
        except UserError:
            unknown[name] = ", ".join(layout.leads)
            continue
        for lead, mixture in mixtures.items():
            if lead not in mixture:
                stand_in.setdefault(lead, {})[name] = describe(mixture)
    remedy = f"Nothing, or choose with data.spec.missing ({spec.missing}) or data.spec.leads what is used."
    findings = []
    for lead, where in stand_in.items():
        sources = " or ".join(sorted(set(where.values())))
        findings.append(
            Finding("note", share(f"{lead} not recorded ({sources} in its place)", where, layouts), remedy, where)
        )
    if unknown:
        remedy = "Name the leads I, II, ..., V6 (MLII is read as II), in a folder with the column leads of records.csv."
        findings.append(Finding("error", share("no standard lead", unknown, layouts), remedy, unknown))
    return findings


def _other_leads(layouts: Mapping[str, Layout]) -> list[Finding]:
    other: dict[str, int] = {}
    for layout in layouts.values():
        for lead in layout.leads:
            if canonical_lead(lead) not in TWELVE_LEADS:
                other[lead] = other.get(lead, 0) + 1
    if not other:
        return []
    where = {lead: counted(number, "recording") for lead, number in other.items()}
    remedy = "Nothing, unless one of them is a lead of the twelve under another name: then name it so."
    return [Finding("note", f"{counted(len(other), 'lead')} that no encoder takes", remedy, where)]


def _names_a_lead_twice(layout: Layout) -> bool:
    return len(set(map(canonical_lead, layout.leads))) < len(layout.leads)
