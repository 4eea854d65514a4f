"""Beats that were cut out of their recordings: many short signals of one lead, scaled to [0, 1], from a few files.

A store of them is made table by table, not recording by recording: 109,446 beats in seconds.
"""

from __future__ import annotations

import json
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from hashlib import blake2b
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ecg_lightning.data.module import ECGDataModule, Examples
from ecg_lightning.data.record import BadRecord, Layout, Record, RecordFile
from ecg_lightning.data.store import STORE_VERSION, Store
from ecg_lightning.data.writing import REMEDY, Rendered, allocate, build_once, tell_skipped, write_tables
from ecg_lightning.errors import UserError
from ecg_lightning.leads import describe, lead_mixtures
from ecg_lightning.signal import SignalSpec, bandpass, resample

BEAT_FS = 125.0
BEAT_LEAD = "II"
STEPS = 20_000.0
"""Of the store, from the beat's minimum to its maximum, with room for a resampled beat to overshoot."""


@dataclass(frozen=True)
class BeatTable:
    """Beats as their source gives them.

    Attributes:
        signal: (R, T) float32 in [0, 1], at 125 Hz; 0 beyond each beat's length.
        length: (R,) samples of each beat.
        label: (R,) class numbers.
        record_id: (R,) names, unique.
        patient: (R,) whose each is, see `data.identity`.
        fold: (R,) number of the published split in `SPLITS`, -1 where there is none.
        origin: (R,) where each was cut from, in plain JSON values.
        faults: rows left out, with the reason of each.
    """

    signal: NDArray[np.float32]
    length: NDArray[np.int64]
    label: NDArray[np.int64]
    record_id: Sequence[str]
    patient: Sequence[str]
    fold: NDArray[np.int64]
    origin: Sequence[Mapping[str, Any]]
    faults: Mapping[str, str] = field(default_factory=dict)

    def with_faults(self, faults: Mapping[str, str]) -> BeatTable:
        """The same beats, and more that are left out."""
        return replace(self, faults={**self.faults, **faults})

    def without(self, bad: NDArray[np.bool_], fault: str) -> BeatTable:
        """Leave out the beats that `bad`, (R,), marks, each for the reason `fault` and its name."""
        keep = np.flatnonzero(~bad)
        good: list[int] = keep.tolist()
        return BeatTable(
            self.signal[keep],
            self.length[keep],
            self.label[keep],
            [self.record_id[row] for row in good],
            [self.patient[row] for row in good],
            self.fold[keep],
            [self.origin[row] for row in good],
            {self.record_id[row]: f"{fault} {self.record_id[row]}" for row in np.flatnonzero(bad).tolist()},
        )

    @classmethod
    def joined(cls, tables: Sequence[BeatTable]) -> BeatTable:
        """Several tables as one."""
        return cls(
            np.concatenate([table.signal for table in tables]),
            np.concatenate([table.length for table in tables]),
            np.concatenate([table.label for table in tables]),
            [name for table in tables for name in table.record_id],
            [patient for table in tables for patient in table.patient],
            np.concatenate([table.fold for table in tables]),
            [origin for table in tables for origin in table.origin],
            {name: fault for table in tables for name, fault in table.faults.items()},
        )


class CutBeats(ECGDataModule):
    """Base of data sets of cut beats: each beat is a recording of its own, padded to the window.

    An author writes `classes`, `sources`, `table`, and `split_of_records`.

    Args:
        base: see `ECGDataModule`.
    """

    @abstractmethod
    def sources(self) -> Sequence[Path]:
        """The files; their sizes and times tell whether a prepared copy is still valid."""

    @abstractmethod
    def table(self) -> BeatTable:
        """All beats."""

    def records(self) -> Sequence[RecordFile]:
        """Each beat as a recording; the store is made from the table at once."""
        table, path = self.table(), self.sources()[0]
        return [BeatFile(path, table, row) for row in range(len(table.length))]

    @cached_property
    def store(self) -> Store:
        """The prepared beats, built at first use."""
        rule = (STORE_VERSION, STEPS, self.spec.fs, self.spec.leads, self.spec.missing, self.spec.band, self.variant)
        state = blake2b(repr(rule).encode(), digest_size=6)
        for path in self.sources():
            state.update(repr((path.name, path.stat().st_size, path.stat().st_mtime_ns)).encode())
        name = f"{self.name}-{self.spec.fs:g}hz-{len(self.spec.leads)}leads-{state.hexdigest()}.h5"
        store = build_once(self.cache_dir / name, self._build)
        tell_skipped(self.name, store, self.on_bad_record)
        return store

    @property
    def variant(self) -> str:
        """What else than files and spec decides the beats."""
        return ""

    def examples(self, store: Store) -> Examples:
        """Every beat, at the beginning of its window."""
        y = np.array([annotation["class"] for annotation in store.annotations], np.int64)
        end = np.minimum(store.length, self.spec.samples)
        span = np.stack([np.zeros_like(end), end], axis=1)
        rows = np.arange(len(store))
        return Examples(rows, np.zeros_like(rows), y, self.split_of_records(store), span)

    def _build(self, path: Path) -> None:
        table = self.table()
        if table.faults and self.on_bad_record == "raise":
            raise BadRecord(next(iter(table.faults.values())) + REMEDY)
        if not len(table.length):
            raise UserError(
                f"data set {self.name!r}: every beat is bad, the first: {next(iter(table.faults.values()))}"
            )
        beats = render_beats(table, self.spec)
        mixtures = lead_mixtures([BEAT_LEAD], self.spec.leads, self.spec.missing)
        weight = np.array([sum(mixture.values()) for mixture in mixtures.values()])
        substituted = tuple(f"{lead} <- {describe(mix)}" for lead, mix in mixtures.items() if lead not in mix)
        offset = allocate(path, len(beats.steps), len(self.spec.leads))
        with path.open("r+b") as file:
            file.seek(offset)
            file.write((beats.steps[:, None] * weight).astype("<i2").tobytes())
        rendered = [
            Rendered(record_id, patient, fold, start, length, BEAT_FS, digest, json.dumps(said), substituted)
            for record_id, patient, fold, start, length, digest, said in zip(
                table.record_id,
                table.patient,
                table.fold.tolist(),
                beats.start.tolist(),
                beats.length.tolist(),
                beats.digests(),
                ({"class": label, **origin} for label, origin in zip(table.label.tolist(), table.origin, strict=True)),
                strict=True,
            )
        ]
        write_tables(path, rendered, self.spec, table.faults, STEPS)


class RenderedBeats(NamedTuple):
    """Beats at the spec's rate, one behind the other: (S,) int16 `steps`, and the (R,) `start` and `length` of each."""

    steps: NDArray[np.int16]
    start: NDArray[np.int64]
    length: NDArray[np.int64]

    def digests(self) -> list[str]:
        """Hash of each beat."""
        return [
            blake2b(self.steps[begin : begin + length].tobytes(), digest_size=8).hexdigest()
            for begin, length in zip(self.start, self.length, strict=True)
        ]


def render_beats(table: BeatTable, spec: SignalSpec) -> RenderedBeats:
    """Bring beats to the spec's rate and band, all beats of one length at once."""
    lengths = np.unique(table.length)
    groups = [np.flatnonzero(table.length == length) for length in lengths]
    rendered = [
        np.rint(bandpass(resample(table.signal[rows, :length], BEAT_FS, spec.fs), spec.fs, spec.band) * STEPS)
        for length, rows in zip(lengths, groups, strict=True)
    ]
    length = np.zeros(len(table.length), np.int64)
    for rows, signal in zip(groups, rendered, strict=True):
        length[rows] = signal.shape[1]
    start = np.cumsum(length) - length
    steps = np.empty(length.sum(), np.int16)
    for rows, signal in zip(groups, rendered, strict=True):
        steps[start[rows][:, None] + np.arange(signal.shape[1])] = signal
    return RenderedBeats(steps, start, length)


@dataclass(frozen=True)
class BeatFile:
    """One beat of a table (a `RecordFile`)."""

    path: Path
    table: BeatTable
    row: int
    annotation: Mapping[str, Any] = field(default_factory=dict)

    @property
    def record_id(self) -> str:
        """See `RecordFile`."""
        return self.table.record_id[self.row]

    @property
    def patient(self) -> str:
        """See `RecordFile`."""
        return self.table.patient[self.row]

    @property
    def fold(self) -> int | None:
        """See `RecordFile`."""
        fold = int(self.table.fold[self.row])
        return None if fold < 0 else fold

    def paths(self) -> list[Path]:
        """See `RecordFile`."""
        return [self.path]

    def layout(self) -> Layout:
        """See `RecordFile`."""
        return Layout(BEAT_FS, (BEAT_LEAD,), int(self.table.length[self.row]))

    def read(self) -> Record:
        """See `RecordFile`; the samples are shares of the beat's range, not mV."""
        said = {"class": int(self.table.label[self.row]), **self.table.origin[self.row]}
        signal = self.table.signal[self.row : self.row + 1, : self.table.length[self.row]]
        return Record(signal, BEAT_FS, (BEAT_LEAD,), said)
