"""Damaged files of every reader: read right, or reported by name; never a crash, a hang or silently wrong samples.

`make test` takes a sample of the corpus, `make test-damage` all of it. What is damaged and how is decided by seeds, so
that a name in a failure is enough to see it again.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from shutil import rmtree
from typing import NamedTuple

import numpy as np
import pytest
from damage import TO_ANY_FILE, TO_ANY_FILE_ONCE, Files, damaged, write
from undamaged import FS, LEADS, SAMPLES, Case, Change
from undamaged_formats import FORMAT_CASES
from undamaged_wfdb import WFDB_CASES
from watch import watch

from ecg_lightning.data.formats import hdf5
from ecg_lightning.data.ingest import prepare
from ecg_lightning.data.record import Layout, Record
from ecg_lightning.errors import UserError
from ecg_lightning.signal import SignalSpec

CASES = [*WFDB_CASES, *FORMAT_CASES]

GREEDY = ("dicom",)
"""pydicom asks for as many bytes as a length in the first elements says, up to 4 GB, and touches none of them."""


class Outcome(NamedTuple):
    """What became of one damaged recording: something `good`, or a `fault` of the reader."""

    good: str = ""
    fault: str = ""


def examine(case: Case, truth: Record, file: str, files: Files, folder: Path) -> Outcome:
    """Read one damaged recording."""
    write(folder, files)

    def reading() -> tuple[Layout, Record]:
        source = case.reader(folder, "r")
        return source.layout(), source.read()

    seen = watch(reading, folder)
    if seen.fault and not (case.name in GREEDY and "more memory" in seen.fault):
        return Outcome(fault=seen.fault)
    if seen.result is None:
        return Outcome("refused")
    layout, read = seen.result
    if (layout.fs, layout.leads, layout.samples) != (read.fs, read.leads, read.signal.shape[1]):
        return Outcome(fault=f"{layout} announced, {read.leads} read, {read.signal.shape} at {read.fs} Hz")
    return compare(case, file, files, truth, read)


def compare(case: Case, file: str, files: Files, truth: Record, read: Record) -> Outcome:
    """Judge a recording that was read from damaged files."""
    if read.fs == truth.fs and by_lead(read) == by_lead(truth) and read.annotation == truth.annotation:
        return Outcome("read right")
    if read.signal.dtype != np.float32 or len(read.leads) != len(read.signal):
        return Outcome(fault=f"{read.signal.dtype} {read.signal.shape} for {read.leads}")
    if not np.isfinite(read.signal).all():
        return Outcome("invalid samples, which `prepare` reports")
    content = files.get(file, b"")
    assert isinstance(content, bytes)
    reason = case.unnoticed(Change(file, content, truth, read))
    return Outcome(f"cannot be noticed: {reason}") if reason else Outcome(fault="silently read as another recording")


def by_lead(record: Record) -> dict[str, bytes]:
    return {lead: row.tobytes() for lead, row in zip(record.leads, record.signal, strict=False)}


def corpus(case: Case, rounds: range) -> list[tuple[str, str, Files]]:
    """See `damaged`."""
    by_chance = damaged(case.files, [*TO_ANY_FILE, *case.damages], rounds)
    return [*by_chance, *damaged(case.files, TO_ANY_FILE_ONCE, range(1))]


def examine_all(case: Case, harmed: Sequence[tuple[str, str, Files]], folder: Path) -> list[Outcome]:
    """Read each of some damaged recordings, which are left in numbered folders; says how it went."""
    write(folder / "whole", case.files)
    truth = case.reader(folder / "whole", "whole").read()
    outcomes = [examine(case, truth, file, files, folder / str(i)) for i, (_, file, files) in enumerate(harmed)]
    print(f"{case.name}: {len(harmed)} damaged recordings")
    for good, number in Counter(outcome.good for outcome in outcomes).most_common():
        print(f"{number:6d} {good or 'FAULTS'}")
    faults = [f"{file}: {what}: {outcome.fault}"
              for (what, file, _), outcome in zip(harmed, outcomes, strict=True) if outcome.fault]  # fmt: skip
    assert not faults, f"{len(faults)} of {len(harmed)}\n" + "\n".join(faults[:40])
    return outcomes


@pytest.fixture(autouse=True)
def little_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hdf5, "HEADER_SECONDS", 1)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_some_damaged_files_are_read_right_or_reported(case: Case, tmp_path: Path) -> None:
    harmed = corpus(case, range(1))[::17]
    outcomes = examine_all(case, harmed, tmp_path)
    assert_prepared(case, {str(i): outcome for i, outcome in enumerate(outcomes)}, tmp_path)


def assert_prepared(case: Case, outcomes: Mapping[str, Outcome], folder: Path) -> None:
    """A store of the whole recording and the damaged ones leaves out, by name, those that are refused."""
    spec = SignalSpec(FS, LEADS, SAMPLES)
    files = [case.reader(folder / name, name) for name in ("whole", *outcomes)]
    store = prepare("damaged", files, spec, folder / "cache", "skip")
    kept, refused = store.record_id.tolist(), [name for name, outcome in outcomes.items() if outcome.good == "refused"]
    assert kept[0] == "whole"
    assert set(refused) <= set(store.skipped) == set(outcomes) - set(kept)
    assert all(str(folder / name) in fault for name, fault in store.skipped.items())
    truth = np.rint(1000 * files[0].read().signal)
    for row, name in enumerate(kept):
        if name == "whole" or outcomes[name].good == "read right":
            np.testing.assert_array_equal(store.signal(row), truth)
    if refused:
        one = "|".join(re.escape(f"{folder / name}/") for name in store.skipped)
        with pytest.raises(UserError, match=one):
            prepare("damaged", files, spec, folder / "cache", "raise")


@pytest.mark.parametrize("gain", ["1e-14", "1e-5", "1e7", "1e14", "-1e-14"])
def test_a_gain_that_no_amplifier_has_is_noticed_by_what_comes_of_it(tmp_path: Path, gain: str) -> None:
    case = CASES[0]
    write(tmp_path / "r", {**case.files, "r.hea": re.sub(rb"1000\(", gain.encode() + b"(", case.files["r.hea"])})
    with pytest.raises(UserError, match=r"r\.hea.*gain or unit is wrong"):
        prepare("gain", [case.reader(tmp_path / "r", "r")], SignalSpec(FS, LEADS, SAMPLES), tmp_path, "raise")


def test_a_rate_that_leaves_no_sample_is_noticed(tmp_path: Path) -> None:
    case = CASES[0]
    write(tmp_path / "r", {**case.files, "r.hea": case.files["r.hea"].replace(b" 250 ", b" 99999 ")})
    with pytest.raises(UserError, match=r"r\.hea.*too short"):
        prepare("rate", [case.reader(tmp_path / "r", "r")], SignalSpec(20, LEADS, SAMPLES), tmp_path, "raise")


@pytest.mark.damage
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_all_damaged_files_are_read_right_or_reported(case: Case, tmp_path: Path) -> None:
    examine_all(case, corpus(case, range(1, 1 + case.rounds)), tmp_path)
    rmtree(tmp_path)
