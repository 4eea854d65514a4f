"""MIT-BIH Arrhythmia Database (Moody & Mark 2001): 48 half-hour two-lead recordings, every beat annotated.

https://physionet.org/content/mitdb/1.0.0/
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from ecg_lightning.data.locate import locate
from ecg_lightning.data.module import LEFT_OUT, SPLITS, ECGDataModule, Examples, SplitKind
from ecg_lightning.data.record import BadRecord, Layout, Record, RecordFile
from ecg_lightning.data.store import Store
from ecg_lightning.data.wfdb_files import WFDBFile
from ecg_lightning.data.wfdb_header import disk_faults_named, file_size
from ecg_lightning.errors import UserError

AAMI = {"N": "NLRejB", "S": "AaJSn", "V": "VEr", "F": "F", "Q": "/fQ?"}
"""The beat symbols of each class of ANSI/AAMI EC57, as de Chazal et al. 2004 group them; other symbols are no beats."""

DS1 = [
    "101",
    "106",
    "108",
    "109",
    "112",
    "114",
    "115",
    "116",
    "118",
    "119",
    "122",
    "124",
    "201",
    "203",
    "205",
    "207",
    "208",
    "209",
    "215",
    "220",
    "223",
    "230",
]
DS2 = [
    "100",
    "103",
    "105",
    "111",
    "113",
    "117",
    "121",
    "123",
    "200",
    "202",
    "210",
    "212",
    "213",
    "214",
    "219",
    "221",
    "222",
    "228",
    "231",
    "232",
    "233",
    "234",
]
"""The inter-patient division of de Chazal et al. 2004; the paced records 102, 104, 107 and 217 are in neither."""

VALIDATION = ("116", "124", "205", "220", "223")
"""Patients of DS1 kept for validation: all four common classes are among their beats and among those that remain."""

POPULATION = "mitbih"
"""Whose recordings these are, here and in the sets cut from them."""

SAME_SUBJECT = {"202": "201"}
"""Record 202 was recorded from the same man as 201 (the database's own notes)."""

BEAT_SECONDS = (-0.3, 0.45)
"""What a beat's label is about: from before the P wave to after the T wave, around the annotated fiducial point."""

MITBIHSplit = Literal["inter_patient", "intra_patient"]
SPLIT_KIND: dict[str, SplitKind] = {"inter_patient": "inter-patient", "intra_patient": "intra-patient"}

END_MARK = " "
"""How wfdb shows the code that ends a file of annotations."""

TASKS = {
    "aami": ("N", "S", "V", "F", "Q"),
    "aami4": ("N", "S", "V", "F"),
    "binary": ("normal", "abnormal"),
}


def class_numbers(symbols: str) -> NDArray[np.int64]:
    """The place in `AAMI` of each beat symbol."""
    number = {symbol: c for c, of in enumerate(AAMI.values()) for symbol in of}
    return np.array([number[symbol] for symbol in symbols], np.int64)


def split_of_names(names: Sequence[str]) -> NDArray[np.int8]:
    """The number in `SPLITS` of records by the inter-patient division, `LEFT_OUT` of those in no part of it."""
    group = dict.fromkeys(DS1, SPLITS.index("train")) | dict.fromkeys(VALIDATION, SPLITS.index("val"))
    group |= dict.fromkeys(DS2, SPLITS.index("test")) | dict.fromkeys(SAME_SUBJECT.values(), LEFT_OUT)
    return np.array([group.get(name, LEFT_OUT) for name in names], np.int8)


class MITBIHFile(WFDBFile):
    """A recording with its beats (a `RecordFile`)."""

    def paths(self) -> list[Path]:
        """Header, signal and annotation file."""
        return [*super().paths(), self.path.with_name(self.path.name + ".atr")]

    def layout(self) -> Layout:
        """See `RecordFile`; the annotations are there and whole."""
        layout = super().layout()
        annotations = self.paths()[-1]
        if file_size(annotations) > layout.samples:
            raise BadRecord(f"{annotations}: larger than the annotations of {layout.samples} samples; fetch it again")
        with disk_faults_named(annotations):
            whole = annotations.read_bytes().endswith(b"\0\0")  # The format's end mark.
        if not whole:
            raise BadRecord(f"{annotations} is truncated: it has no end mark; fetch it again")
        return layout

    def read(self) -> Record:
        """The recording; its annotation lists sample and symbol of each beat."""
        record = super().read()
        sample, symbol = self._marks(record.signal.shape[1])
        beat = np.isin(symbol, list("".join(AAMI.values())))
        annotation = {"sample": sample[beat].tolist(), "symbol": "".join(symbol[beat])}
        return replace(record, annotation=annotation)

    def _marks(self, samples: int) -> tuple[NDArray[np.int64], NDArray[np.str_]]:
        """Sample and symbol of all annotations.

        Raises:
            BadRecord: they are no annotations of a recording of so many samples.
        """
        import wfdb

        try:
            marks = wfdb.rdann(str(self.path), "atr")
            sample, symbol = marks.sample.astype(np.int64), np.array(marks.symbol, dtype="U1")
        except Exception as error:  # wfdb raises whatever its parsing ran into
            raise BadRecord(f"{self.path}.atr: the annotations cannot be read ({error}); fetch it again") from error
        if np.any(np.diff(sample, prepend=0) < 0) or np.any(sample >= samples):
            raise BadRecord(f"{self.path}.atr: annotates what is not in the recording, or backwards; fetch it again")
        if END_MARK in symbol:
            raise BadRecord(f"{self.path}.atr: has its end mark in its midst; fetch it again")
        return sample, symbol


class MITBIH(ECGDataModule):
    """MIT-BIH as beats or as windows.

    Args:
        view: `beats` labels each annotated beat, given in the middle of a window of the spec's length; `windows` labels
            consecutive windows of `window_seconds`.
        task: `aami` (N S V F Q), `aami4` (without Q, which has 15 beats) or `binary` (N against all others). A window
            may hold several classes: under `aami` it carries each (multi-label), under `binary` it is abnormal when
            any of its beats is.
        split: `inter_patient` (DS1 against DS2, the validation patients out of DS1; 201 is left out, since the
            published division has the same man's 202 in DS2) or `intra_patient` (examples divided 8:1:1 at random).
        window_seconds: length of the `windows`.
        base: see `ECGDataModule`.
    """

    download = "fetch it with: python -m ecg_lightning.data.download mitdb"

    def __init__(
        self,
        view: Literal["beats", "windows"] = "beats",
        task: Literal["aami", "aami4", "binary"] = "aami",
        split: MITBIHSplit = "inter_patient",
        window_seconds: float = 10.0,
        **base: Any,
    ) -> None:
        super().__init__(**base)
        for key, value, allowed in (
            ("view", view, ("beats", "windows")),
            ("task", task, tuple(TASKS)),
            ("split", split, get_args(MITBIHSplit)),
        ):
            if value not in allowed:
                raise UserError(f"data.{key}={value!r} is not one of {', '.join(allowed)}")
        if not window_seconds > 0:
            raise UserError(f"data.window_seconds={window_seconds} must be above 0")
        self.view, self.task, self.split, self.window_seconds = view, task, split, window_seconds
        self.classes = TASKS[task]
        self.split_kind = SPLIT_KIND[split]

    def records(self) -> Sequence[RecordFile]:
        """Every record that is there."""
        folder = locate(self.root, "[0-9]*.hea", ("mitdb",), self.download)
        # A file of any kind counts, so that a recording whose header is lost is missed.
        files = [path for suffix in ("hea", "dat", "atr") for path in folder.glob(f"[0-9]*.{suffix}")]
        names = sorted({path.stem for path in files if path.stem.isdigit()})  # not PhysioNet's 102-0.atr
        return [MITBIHFile(folder / name, name, f"{POPULATION}/{SAME_SUBJECT.get(name, name)}") for name in names]

    @property
    def example_samples(self) -> int:
        """See `ECGDataModule`."""
        return self.spec.samples if self.view == "beats" else round(self.window_seconds * self.spec.fs)

    def split_of_records(self, store: Store) -> NDArray[np.int8]:
        """By patient; under `intra_patient` pretraining sees all recordings but the validation patients'."""
        if self.split == "intra_patient":
            return np.isin(store.record_id, VALIDATION).astype(np.int8)
        return split_of_names(store.record_id.tolist())

    def examples(self, store: Store) -> Examples:
        """Beats or windows with their classes."""
        beats = self._beats(store)
        examples = beats if self.view == "beats" else self._windows(store, beats)
        return replace(examples, split=self._split(store, examples))

    def _beats(self, store: Store) -> Examples:
        row, centre, y, rr = [], [], [], []
        for r, annotation in enumerate(store.annotations):
            sample = np.array(annotation["sample"], np.float64)
            row.append(np.full(len(sample), r))
            centre.append(np.rint(sample * (store.fs / store.fs_source[r])).astype(np.int64))
            y.append(class_numbers(annotation["symbol"]))
            gap = np.diff(sample, prepend=np.nan, append=np.nan) / store.fs_source[r]
            rr.append(np.stack([gap[:-1], gap[1:]], axis=1))
        half = self.spec.samples // 2
        begin, end = (round(half + seconds * store.fs) for seconds in BEAT_SECONDS)
        span = np.clip([begin, end], 0, self.spec.samples)
        beats = Examples(
            np.concatenate(row),
            np.concatenate(centre) - half,
            np.concatenate(y),
            np.zeros(sum(map(len, row)), np.int8),
            np.tile(span, (sum(map(len, row)), 1)),
            np.concatenate(rr),
        )
        if self.view == "windows" or self.task == "aami":
            return beats
        if self.task == "binary":
            return replace(beats, y=(beats.y > 0).astype(np.int64))
        return beats.take(beats.y < len(self.classes))

    def _windows(self, store: Store, beats: Examples) -> Examples:
        samples = self.example_samples
        count = np.maximum(store.length // samples, 1)
        first = np.cumsum(count) - count
        row = np.repeat(np.arange(len(store)), count)
        offset = (np.arange(count.sum()) - np.repeat(first, count)) * samples
        nth = (beats.offset + self.spec.samples // 2) // samples
        inside = nth < count[beats.row]  # Not so in the end of a recording, which is shorter than a window.
        present = np.zeros((count.sum(), len(AAMI)), np.uint8)
        present[(first[beats.row] + nth)[inside], beats.y[inside]] = 1
        split = np.zeros(len(row), np.int8)
        if self.task == "binary":
            abnormal = np.asarray(present[:, 1:].any(axis=1))
            return Examples(row, offset, abnormal.astype(np.int64), split)
        return Examples(row, offset, present[:, : len(self.classes)], split)

    def _split(self, store: Store, examples: Examples) -> NDArray[np.int8]:
        if self.split == "inter_patient":
            return self.split_of_records(store)[examples.row]
        draw = np.random.default_rng(0).random(len(examples.row))
        return np.digitize(draw, [0.8, 0.9]).astype(np.int8)
