"""An examined data set on the terminal, as JSON and on ECG paper."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from tqdm import tqdm

from ecg_lightning.data.examination.cohort import Cohort, Count
from ecg_lightning.data.examination.examine import Examination
from ecg_lightning.data.examination.finding import Finding, counted
from ecg_lightning.data.examination.signals import PLATEAUS, STILL_SECONDS, unit_of
from ecg_lightning.data.examination.vitals import Vitals, runs, unchanged
from ecg_lightning.data.record import RecordFile
from ecg_lightning.leads import canonical_lead
from ecg_lightning.reporting.ecg_paper import draw_record

NAMED, CLASSES = 5, 12
"""How many recordings a finding names, and how many classes the table shows."""

DRAWN, DRAWN_SECONDS, SUSPICIOUS_SECONDS = 4, 10.0, 7.5


def print_examination(examination: Examination) -> None:
    """What was found, on the terminal."""
    console = Console(highlight=False, markup=False, soft_wrap=True)
    console.print(f"{examination.name} in {examination.root}: {examination.edition}", style="bold")
    overview = Table.grid(padding=(0, 3))
    for name, text in _overview(examination).items():
        overview.add_row(f"  {name}", text)
    if not console.is_terminal:
        console.width = 160
    console.print(overview)
    if examination.cohort is not None and examination.cohort.classes:
        console.print(_class_table(examination.cohort))
    for finding in examination.findings:
        console.print(_line(finding), style={"error": "red", "warning": "yellow"}.get(finding.severity))
        console.print(f"         -> {finding.remedy}")
    counts = Counter(finding.severity for finding in examination.findings)
    told = ", ".join(counted(number, kind) for kind, number in counts.items())
    verdict = "nothing to mend" if examination.well else "to be mended or looked at"
    console.print(f"{examination.name}: {verdict}" + (f" ({told})" if told else ""), style="bold")


def write_examination(examination: Examination, files: Sequence[RecordFile], folder: Path) -> None:
    """Write `doctor.json`, and pictures of a typical recording and of the most suspicious ones.

    Args:
        examination: of the data set.
        files: its recordings.
        folder: made where it is missing.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "doctor.json").write_text(json.dumps(examination.to_dict(), indent=1, allow_nan=False) + "\n")
    for old in (folder / "pictures").glob("*.png"):  # of an earlier examination
        old.unlink()
    by_name = {file.record_id: file for file in files}
    vitals = {each.record_id: each for each in examination.recordings}
    for number, (record, title) in enumerate(tqdm(_chosen(examination).items(), desc="drawing", disable=None)):
        name = re.sub(r"[^\w.-]", "_", record)
        _draw(
            by_name[record],
            vitals[record],
            folder / "pictures" / f"{number}-{name}.png",
            f"{record}: {title}",
            record in examination.suspicious,
        )


def _overview(examination: Examination) -> dict[str, str]:
    """A line for each thing that one asks of a data set first."""
    recordings, cohort = examination.recordings, examination.cohort
    lines = {"recordings": f"{len(recordings):,} read, {len(examination.unreadable):,} unreadable"}
    if recordings:
        seconds = np.array([each.seconds for each in recordings])
        amplitude = np.array([each.amplitude for each in recordings])
        low, middle, high = np.percentile(amplitude, (5, 50, 95))
        units = Counter(unit_of(each) for each in recordings)
        unit = "mV" if units.most_common(1)[0][0] == "mV" else "(not mV)"
        lines |= {
            "rates": _tally(f"{each.fs:g} Hz" for each in recordings),
            "leads": _tally(_lead_names(each) for each in recordings),
            "lengths": _range(seconds, "s"),
            "amplitudes": f"{middle:.3g} {unit} peak to peak (5 to 95 %: {low:.3g} to {high:.3g})",
        }
    if cohort is not None:
        splits = [f"{name} {count.number:,} of {count.patients:,}" for name, count in cohort.recordings.items()]
        known = cohort.total.patients - cohort.unknown
        lines["patients"] = f"{known:,}" if known else "nobody says who was recorded"
        lines["splits"] = f"{', '.join(splits)} (recordings of patients; {cohort.split_kind})"
    return lines


def _lead_names(vitals: Vitals) -> str:
    """With the standard name beside one that is more than another spelling."""
    standard = map(canonical_lead, vitals.leads)
    return " ".join(
        name if name.upper() == lead.strip().upper() else f"{lead.strip()} ({name})"
        for lead, name in zip(vitals.leads, standard, strict=True)
    )


def _tally(texts: Iterable[str]) -> str:
    """Each text with how often it occurs, the most frequent first."""
    counts = Counter(texts).most_common()
    if len(counts) == 1:
        return counts[0][0]
    shown = "; ".join(f"{text}: {number:,}" for text, number in counts[:NAMED])
    return shown + (f"; and {len(counts) - NAMED} more" if len(counts) > NAMED else "")


def _range(values: NDArray[np.float64], unit: str) -> str:
    low, middle, high = np.min(values), np.median(values), np.max(values)
    return f"{low:.4g} {unit}" if low == high else f"{low:.4g} to {high:.4g} {unit}, median {middle:.4g} {unit}"


def _class_table(cohort: Cohort) -> Table:
    """Examples of each class in each split, and how many patients they are of."""
    splits = list(dict.fromkeys(split for counts in cohort.classes.values() for split in counts))
    table = Table()
    table.add_column("examples (patients)")
    for split in splits:
        table.add_column(split, justify="right")
    largest = sorted(cohort.classes.items(), key=lambda item: -item[1]["train"].number)
    for name, counts in largest[:CLASSES]:
        cells = (counts.get(split, Count(0, 0)) for split in splits)
        table.add_row(name, *(f"{number:,} ({patients:,})" for number, patients in cells))
    if len(largest) > CLASSES:
        table.add_row(f"and {len(largest) - CLASSES} smaller ones")
    return table


def _line(finding: Finding) -> str:
    named = [f"{place} ({detail})" if detail else place for place, detail in list(finding.where.items())[:NAMED]]
    rest = len(finding.where) - len(named)
    where = ": " + "; ".join(named) + (f"; and {rest:,} more" if rest else "") if named else ""
    return f"{finding.severity:<8} {finding.what}{where}"


def _chosen(examination: Examination) -> dict[str, str]:
    """Recordings to draw and what to write above each: a typical one, then the most suspicious."""
    well = [each for each in examination.recordings if each.record_id not in examination.suspicious]
    chosen = {}
    if well:
        middle = np.median([each.amplitude for each in well])
        chosen[min(well, key=lambda each: abs(each.amplitude - middle)).record_id] = "of typical amplitude"
    return chosen | dict(list(examination.suspicious.items())[: DRAWN - len(chosen)])


def _draw(file: RecordFile, vitals: Vitals, path: Path, title: str, suspicious: bool) -> None:
    record = file.read()
    odd = _odd(record.signal, vitals)
    samples = record.signal.shape[1]
    # A shorter part than the clinical sheet's comes with every lead in full, so that no fault lies in a hidden quarter.
    length = min(samples, round((SUSPICIOUS_SECONDS if suspicious else DRAWN_SECONDS) * record.fs))
    place = np.flatnonzero(odd.any(axis=0))
    centre = int(place[len(place) // 2]) if len(place) else samples // 2
    begin = min(max(centre - length // 2, 0), samples - length)
    part = slice(begin, begin + length)
    unit = "mV" if unit_of(vitals) == "mV" else "unit"
    since = f", from {begin / record.fs:.0f} s" if begin > record.fs else ""
    draw_record(
        record.signal[:, part], record.fs, record.leads, path, title + since, shade=odd[:, part] & suspicious, unit=unit
    )


def _odd(signal_LT: NDArray[np.floating], vitals: Vitals) -> NDArray[np.bool_]:
    """(L, T) samples to look at: invalid ones, long stretches without a change, peaks that are cut off."""
    odd = ~np.isfinite(signal_LT)
    lead, first, length = runs(unchanged(signal_LT))
    value = signal_LT[lead, first]
    at_limit = (value == vitals.low[lead]) | (value == vitals.high[lead])
    told = (at_limit & (vitals.plateaus[lead] >= PLATEAUS)) | (length >= STILL_SECONDS * vitals.fs)
    for row, begin, samples in zip(lead[told], first[told], length[told], strict=True):
        odd[row, begin : begin + samples + 1] = True
    return np.asarray(odd)
