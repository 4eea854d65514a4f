"""Looking a data set over: every header, every signal, every patient and label, once."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from typing import Any

from ecg_lightning.data.examination.cohort import Cohort, survey
from ecg_lightning.data.examination.finding import Finding, by_severity, counted
from ecg_lightning.data.examination.layout import check_files, check_layouts, check_list, edition
from ecg_lightning.data.examination.reading import read_headers, read_signals
from ecg_lightning.data.examination.signals import duplicates, judge, left_out
from ecg_lightning.data.examination.vitals import Vitals
from ecg_lightning.data.module import ECGDataModule
from ecg_lightning.data.store import MICROVOLT
from ecg_lightning.errors import UserError


@dataclass(frozen=True)
class Examination:
    """All that was found.

    Attributes:
        name: of the data set.
        root: its folder.
        edition: which published data set it is, and how much of it.
        recordings: measures of those that could be read.
        unreadable: the others, with the fault of each.
        cohort: patients and labels; None where no recording can be used.
        findings: the gravest first.
        suspicious: recordings to look at, with what was found, the gravest first.
    """

    name: str
    root: str
    edition: str
    recordings: Sequence[Vitals]
    unreadable: Mapping[str, str]
    cohort: Cohort | None
    findings: Sequence[Finding]
    suspicious: Mapping[str, str]

    @property
    def well(self) -> bool:
        """Whether nothing is to be mended or looked at."""
        return all(finding.severity == "note" for finding in self.findings)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "name": self.name,
            "root": self.root,
            "edition": self.edition,
            "well": self.well,
            "findings": [finding.to_dict() for finding in self.findings],
            "cohort": None if self.cohort is None else self.cohort.to_dict(),
            "unreadable": dict(self.unreadable),
            "recordings": [each.to_dict() for each in self.recordings],
        }


def examine(data: ECGDataModule) -> Examination:
    """Look a data set over.

    Args:
        data: made with `on_bad_record=skip`; its store is built, or taken where it is there already.

    Raises:
        UserError: there are no recordings to look at, or the tables beside them are broken.
    """
    files = data.records()
    if not files:
        raise UserError(f"data={data.name}: {data.root} holds no recordings; set data.root to where they are")
    layouts, damaged = read_headers(files)
    read = read_signals([file for file in files if file.record_id in layouts], layouts)
    recordings = [each for each in read.values() if isinstance(each, Vitals)]
    unreadable = damaged | {record: each for record, each in read.items() if isinstance(each, str)}
    findings = [*check_files(unreadable, len(files)), *check_layouts(layouts, data.spec), *check_list(data.root, files)]
    cohort, physical, faults = None, True, dict(unreadable)
    try:
        with redirect_stdout(io.StringIO()):  # whom it leaves out is told below
            physical, faults = data.store.scale == MICROVOLT, dict(data.store.skipped)
        cohort, about_labels = survey(data)
        findings += about_labels
    except UserError as error:
        findings.append(Finding("error", f"it cannot be prepared: {error}", "Mend what the other findings tell first."))
    signals = [*judge(recordings, physical), *duplicates(recordings, {} if cohort is None else cohort.split)]
    told = {record for finding in [*signals, *findings] for record in finding.where if finding.severity != "note"}
    findings += [*signals, *left_out(faults, told)]
    if not physical:
        findings.append(Finding("note", f"the {counted(len(recordings), 'recording')} have no physical unit",
                                "Conclude nothing from amplitudes."))  # fmt: skip
    return Examination(
        data.name,
        str(data.root),
        edition(data.name, files),
        recordings,
        unreadable,
        cohort,
        by_severity(findings),
        _suspicious(by_severity(signals), read),
    )


def _suspicious(findings: Sequence[Finding], read: Mapping[str, Vitals | str]) -> dict[str, str]:
    """The first recording of each finding that is told of recordings, unless another finding has it already."""
    chosen: dict[str, str] = {}
    for finding in findings:
        for place, detail in finding.where.items():
            record = place.split(" = ")[0]
            if record in read and record not in chosen:
                chosen[record] = f"{finding.what.split(', in ')[0]} ({detail})"
                break
    return chosen
