"""A recording of the PhysioNet/CinC Challenges 2020 and 2021: WFDB files whose header's comments hold the labels.

https://physionet.org/content/challenge-2020/1.0.2/ ; what is wrong with some of its headers was found by those who read
them all, among them the authors of wfdb-python and torch_ecg.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from ecg_lightning.data.record import BadRecord, Layout, Record
from ecg_lightning.data.wfdb_files import WFDBFile

GAIN = 1000.0
"""Digital units per mV in the final headers of every source."""

WITHDRAWN_GAIN = {"g12ec": 4880.0, "ptb": 2e6, "ptbxl": 200.0}
"""Units per mV that headers before August 2020 state by error; the challenge corrected them to `GAIN`. Georgia's
samples stayed what they were, by the checksums of both headers, and so are read right with either."""

NOTHING = {"", "unknown", "nan", "none", "null"}
"""What stands in a comment in place of a value."""

OLDEST = 130
SEX = {"f": "female", "female": "female", "m": "male", "male": "male"}

_COMMENT = re.compile(r"#\s*(age|sex|dx)\s*:(.*)", re.IGNORECASE)
_NUMBER = re.compile(r"\d+(?:\.\d+)?", re.ASCII)
_CODE = re.compile(r"\d+", re.ASCII)


def parse_comments(lines: Sequence[str]) -> dict[str, Any]:
    """What a header's comments say of a recording.

    Args:
        lines: of the header, stripped.

    Returns:
        `dx`: the SNOMED CT codes, each once, none where no diagnosis is stated; `age`: in whole years or None; `sex`:
        `female`, `male` or None.

    Raises:
        ValueError: a diagnosis is no code.
    """
    said: dict[str, list[str]] = {"age": [], "sex": [], "dx": []}
    for comment in filter(None, map(_COMMENT.fullmatch, lines)):
        words = re.split(r"[,;\s]+", comment[2].lower())
        said[comment[1].lower()] += [word for word in words if word not in NOTHING]
    wrong = next((code for code in said["dx"] if not _CODE.fullmatch(code)), None)
    if wrong is not None:
        raise ValueError(f"the diagnosis {wrong!r} is no SNOMED CT code")
    ages = (int(float(age)) for age in said["age"] if _NUMBER.fullmatch(age))
    return {
        "dx": list(dict.fromkeys(said["dx"])),
        "age": next((age for age in ages if age <= OLDEST), None),
        "sex": next((SEX[sex] for sex in said["sex"] if sex in SEX), None),
    }


@dataclass(frozen=True)
class CinCFile(WFDBFile):
    """A recording with the comments of its header (a `RecordFile`).

    Its `.mat` is a MATLAB v4 matrix, (L, T) int16 column by column after 24 bytes: format 16 to WFDB.

    Attributes:
        population: which source recorded it; some had their gains corrected.
    """

    population: str = ""

    def layout(self) -> Layout:
        """See `RecordFile`; the header is this recording's own, and its comments can be read."""
        layout = super().layout()
        _ = self._comments
        if len(self._signal_lines) != len(layout.leads):
            raise self._bad(f"lists {len(self._signal_lines)} signals, of {len(layout.leads)}")
        other = {line[0] for line in self._signal_lines} - {f"{self.path.name}.mat"}
        if other:
            raise self._bad(f"names the signal file {min(other)} and not its own {self.path.name}.mat")
        if self.population != "g12ec" and any(self._withdrawn):
            raise self._bad("states a gain that the challenge corrected in August 2020")
        return layout

    def read(self) -> Record:
        """The recording; its annotation holds `dx`, `age` and `sex`."""
        self.layout()
        record = super().read()
        signal = record.signal
        if any(self._withdrawn):
            stated = np.where(self._withdrawn, WITHDRAWN_GAIN[self.population], GAIN)
            signal = (signal * (stated / GAIN)[:, None]).astype(np.float32)
        return replace(record, signal=signal, annotation={**record.annotation, **self._comments})

    @cached_property
    def _lines(self) -> list[str]:
        content = self.path.with_name(self.path.name + ".hea").read_bytes()
        return [line.strip() for line in content.decode("utf-8", errors="replace").split("\n")]

    @cached_property
    def _comments(self) -> dict[str, Any]:
        try:
            return parse_comments(self._lines)
        except ValueError as error:
            raise self._bad(str(error)) from None

    @cached_property
    def _signal_lines(self) -> list[list[str]]:
        return [line.split() for line in self._lines if line and not line.startswith("#")][1:]

    @property
    def _withdrawn(self) -> list[bool]:
        """Whether each signal's gain is the withdrawn one."""
        gains = (_NUMBER.match(line[2]) if len(line) > 2 else None for line in self._signal_lines)
        return [gain is not None and float(gain[0]) == WITHDRAWN_GAIN.get(self.population) for gain in gains]

    def _bad(self, fault: str) -> BadRecord:
        return BadRecord(f"{self.path}.hea: {fault}; fetch the header again, from challenge-2020/1.0.2 or later")
