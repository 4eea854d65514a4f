"""Reading a data set through once; worker processes import this file, which keeps clear of torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures.process import BrokenProcessPool

from joblib import Parallel, cpu_count, delayed
from tqdm import tqdm

from ecg_lightning.data.examination.vitals import Vitals, take_vitals
from ecg_lightning.data.ingest import CHUNK_SAMPLES, SMALL_SAMPLES
from ecg_lightning.data.record import Layout, RecordFile
from ecg_lightning.errors import UserError
from ecg_lightning.interrupts import interrupts_held


def read_headers(files: Sequence[RecordFile]) -> tuple[dict[str, Layout], dict[str, str]]:
    """The layout of each recording by its name, and what is wrong with the others' files."""
    layouts, faults = {}, {}
    for file in tqdm(files, desc="headers", unit=" records"):
        try:
            layouts[file.record_id] = file.layout()
        except UserError as error:
            faults[file.record_id] = str(error)
    return layouts, faults


def read_signals(files: Sequence[RecordFile], layouts: Mapping[str, Layout]) -> dict[str, Vitals | str]:
    """The measures of each recording by its name, or its fault; by worker processes where there is much to read.

    Args:
        files: the recordings.
        layouts: of all of them.

    Raises:
        UserError: a worker process has died.
    """
    samples = sum(layout.samples * len(layout.leads) for layout in layouts.values())
    size = max(1, CHUNK_SAMPLES * len(files) // max(samples, 1))
    chunks = [files[first : first + size] for first in range(0, len(files), size)]
    pool = Parallel(cpu_count() if samples > SMALL_SAMPLES else 1, return_as="generator")
    read: dict[str, Vitals | str] = {}
    with interrupts_held() as interrupt_point, tqdm(total=len(files), desc="signals", unit=" records") as bar:
        try:
            for chunk in pool(delayed(_read_chunk)(chunk) for chunk in chunks):
                read.update(chunk)
                bar.update(len(chunk))
                interrupt_point()
        except BrokenProcessPool as error:
            raise UserError("a process that reads recordings has died, for lack of memory; close others") from error
    return read


def _read_chunk(files: Sequence[RecordFile]) -> dict[str, Vitals | str]:
    return {file.record_id: _read(file) for file in files}


def _read(file: RecordFile) -> Vitals | str:
    try:
        return take_vitals(file)
    except UserError as error:
        return str(error)
