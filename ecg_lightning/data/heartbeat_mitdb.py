"""The beats of the Kaggle heartbeat files, cut from MIT-BIH again: with the record and the sample of each.

The recipe (Kachuee et al. 2018, found out by matching the published rows): lead MLII where it was recorded, at 125 Hz;
a beat begins at its annotation and lasts 1.2 times the interval to the next one, 187 samples at most; it is scaled to
[0, 1]. The last beat of a recording has no next one and is left out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from ecg_lightning.data.beats import BEAT_FS, BEAT_LEAD, BeatTable, CutBeats
from ecg_lightning.data.heartbeat import SAMPLES
from ecg_lightning.data.mitbih import AAMI, MITBIH, SPLIT_KIND, MITBIHSplit, class_numbers, split_of_names
from ecg_lightning.data.record import BadRecord, Record, RecordFile
from ecg_lightning.data.store import Store
from ecg_lightning.errors import UserError
from ecg_lightning.leads import canonical_lead
from ecg_lightning.signal import resample

LENGTH = 1.2
"""Of the interval to the next beat."""


class HeartbeatMITDB(CutBeats):
    """Cut beats that can be told apart by patient, which the published files cannot.

    Args:
        split: `inter_patient` (as `data=mitbih` divides) or `intra_patient` (beats divided 8:1:1, as the published
            files are).
        base: see `ECGDataModule`.
    """

    classes = tuple(AAMI)
    download = MITBIH.download

    def __init__(self, split: MITBIHSplit = "inter_patient", **base: Any) -> None:
        super().__init__(**base)
        if split not in get_args(MITBIHSplit):
            raise UserError(f"data.split={split!r} is not one of {', '.join(get_args(MITBIHSplit))}")
        self.split = split
        self.split_kind = SPLIT_KIND[split]

    def sources(self) -> Sequence[Path]:
        """Header, signals and annotations of every recording."""
        return [path for file in self._files for path in file.paths() if path.exists()]

    def table(self) -> BeatTable:
        """The beats of every recording."""
        faults: dict[str, str] = {}
        tables = list(self._tables(faults))
        if not tables:
            raise UserError(f"every recording is bad, the first: {next(iter(faults.values()))}")
        return BeatTable.joined([*tables[:-1], tables[-1].with_faults(faults)])

    def split_of_records(self, store: Store) -> NDArray[np.int8]:
        """By the recording that a beat was cut from, or at random."""
        if self.split == "intra_patient":
            return np.digitize(np.random.default_rng(0).random(len(store)), [0.8, 0.9]).astype(np.int8)
        return split_of_names([annotation["record"] for annotation in store.annotations])

    @cached_property
    def _files(self) -> Sequence[RecordFile]:
        return MITBIH(name=self.name, root=self.root, spec=self.spec).records()

    def _tables(self, faults: dict[str, str]) -> Iterator[BeatTable]:
        for file in tqdm(self._files, desc=f"cutting {self.name}", unit=" records"):
            try:
                yield cut(file.read(), file)
            except BadRecord as error:
                faults[file.record_id] = str(error)


def cut(record: Record, file: RecordFile) -> BeatTable:
    """Cut a recording into its beats.

    Args:
        record: the recording with its beats.
        file: where it comes from.

    Raises:
        BadRecord: it has fewer than two beats, or holds no number where a beat is.
    """
    lead = next((i for i, name in enumerate(record.leads) if canonical_lead(name) == BEAT_LEAD), 0)
    samples = np.asarray(record.annotation["sample"], np.int64)
    if len(samples) < 2:
        raise BadRecord(f"{file.paths()[0]}: has {len(samples)} annotated beats; at least two are needed to cut one")
    signal = resample(record.signal[lead : lead + 1].astype(np.float64), record.fs, BEAT_FS)[0]
    begin = np.rint(samples[:-1] * (BEAT_FS / record.fs)).astype(np.int64)
    length = np.ceil(LENGTH * np.diff(samples) * (BEAT_FS / record.fs)).astype(np.int64)
    length = np.minimum(np.minimum(length, SAMPLES), len(signal) - begin)
    cut_RT, flat = _scaled(signal, begin, length)
    if not np.isfinite(cut_RT).all():
        raise BadRecord(f"{file.paths()[0]}: lead {record.leads[lead]} holds invalid samples (NaN)")
    label = class_numbers(str(record.annotation["symbol"]))[:-1]
    names = [f"{file.record_id}-{sample}" for sample in samples[:-1]]
    origin: list[Mapping[str, Any]] = [{"record": file.record_id, "sample": int(sample)} for sample in samples[:-1]]
    return BeatTable(
        cut_RT, length, label, names, [file.patient] * len(names), np.full(len(names), -1), origin
    ).without(flat, f"{file.paths()[0]}: lead {record.leads[lead]} is flat within beat")


def _scaled(
    signal: NDArray[np.float64], begin: NDArray[np.int64], length: NDArray[np.int64]
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Segments scaled to [0, 1] and filled up with zeros, (R, 187), and which of them are flat, (R,)."""
    t = np.arange(SAMPLES)
    inside = t < length[:, None]
    segment = signal[np.minimum(begin[:, None] + t, len(signal) - 1)]
    low = np.where(inside, segment, np.inf).min(axis=1, keepdims=True)
    spread = np.where(inside, segment, -np.inf).max(axis=1, keepdims=True) - low
    scaled = (segment - low) / np.where(spread > 0, spread, 1) * inside
    return scaled.astype(np.float32), spread[:, 0] <= 0
