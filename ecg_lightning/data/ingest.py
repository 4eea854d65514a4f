"""Building a store: once, by worker processes, whole or not at all."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence, Set
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from copy import copy
from hashlib import blake2b
from multiprocessing import get_context, parent_process
from pathlib import Path
from threading import Thread
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from joblib import cpu_count
from numpy.typing import NDArray
from tqdm import tqdm

from ecg_lightning.data.record import BadRecord, Layout, Record, RecordFile
from ecg_lightning.data.store import MICROVOLT, STORE_VERSION, Store
from ecg_lightning.data.writing import (
    GUARD,
    REMEDY,
    OnBadRecord,
    Rendered,
    allocate,
    build_once,
    tell_skipped,
    write_tables,
)
from ecg_lightning.errors import UserError
from ecg_lightning.interrupts import interrupts_held
from ecg_lightning.leads import canonical_lead, describe, lead_mixtures
from ecg_lightning.signal import SignalSpec, render

CHUNK_SAMPLES = 2_000_000
"""Source samples (all leads) that a worker is given at once: large beside the cost of a message, small in memory."""

SMALL_SAMPLES = 20_000_000
"""Below this a data set is read in less time than a worker process takes to start."""


class Placed(NamedTuple):
    """A recording and the place of its rendering in the store."""

    file: RecordFile
    start: int
    length: int


def prepare(
    name: str, files: Sequence[RecordFile], spec: SignalSpec, cache_dir: Path, on_bad_record: OnBadRecord = "raise"
) -> Store:
    """Open the store of these recordings at this rate and these leads, building it where it is not there yet.

    Safe against other processes that want the same store, which wait, and against being killed, which leaves no store.

    Args:
        name: of the data set; the beginning of the file's name.
        files: the recordings.
        spec: rate, leads, the rule for missing leads and the band; its length and standardisation do not matter here.
        cache_dir: folder of the stores.
        on_bad_record: `raise` stops at the first recording that cannot be trusted; `skip` leaves those out, and the
            store says which and why.

    Raises:
        UserError: a recording is bad, no recording is good, or the disk has no room.
    """
    if not files:
        raise UserError(f"data set {name!r}: no recordings found")
    path = cache_dir / f"{name}-{spec.fs:g}hz-{len(spec.leads)}leads-{_identity(files, spec)}.h5"
    store = build_once(path, lambda partial: _build(name, files, spec, partial, on_bad_record))
    tell_skipped(name, store, on_bad_record)
    return store


def _identity(files: Sequence[RecordFile], spec: SignalSpec) -> str:
    """Hash of all that decides the store's content, without reading a signal."""
    state = blake2b(digest_size=6)
    state.update(repr((STORE_VERSION, spec.fs, spec.leads, spec.missing, spec.band)).encode())
    for file in files:
        state.update(repr((file.record_id, file.patient, file.fold, file.annotation)).encode())
        for path in file.paths():
            try:
                stat = path.stat()
            except OSError:
                continue  # The layout pass names the missing file.
            state.update(repr((path.name, stat.st_size, stat.st_mtime_ns)).encode())
    return state.hexdigest()


def _build(name: str, files: Sequence[RecordFile], spec: SignalSpec, path: Path, on_bad: OnBadRecord) -> None:
    placed, faults = _place(files, spec, on_bad)
    offset = allocate(path, sum(item.length for item in placed), len(spec.leads))
    rendered = []
    with tqdm(total=len(placed), desc=f"preparing {name}", unit=" records") as bar:
        for item in _render_all(placed, path, offset, spec):
            if item.fault and on_bad == "raise":
                raise BadRecord(item.fault + REMEDY)
            rendered.append(item)
            bar.update()
    good = [item for item in rendered if not item.fault]
    faults |= {item.record_id: item.fault for item in rendered if item.fault}
    if not good:
        raise UserError(f"data set {name!r}: every recording is bad, the first: {next(iter(faults.values()))}")
    write_tables(path, good, spec, faults)


def _place(files: Sequence[RecordFile], spec: SignalSpec, on_bad: OnBadRecord) -> tuple[list[Placed], dict[str, str]]:
    """Read the headers alone: every missing or truncated file is known before long work starts."""
    placed: list[Placed] = []
    faults: dict[str, str] = {}
    position = 0
    for file in files:
        try:
            # Of a copy: what thousands of files remember of their headers takes much memory.
            length = rendered_length(copy(file).layout(), spec)
            if length < 1:
                raise BadRecord(f"{file.paths()[0]}: too short to be brought to {spec.fs:g} Hz; its rate may be wrong")
        except BadRecord as error:
            if on_bad == "raise":
                raise BadRecord(f"{error}{REMEDY}") from error
            faults[file.record_id] = str(error)
            continue
        placed.append(Placed(file, position, length))
        position += length
    if not placed:
        raise UserError(f"every recording is bad, the first: {next(iter(faults.values()))}")
    return placed, faults


def rendered_length(layout: Layout, spec: SignalSpec) -> int:
    """Samples of a recording at the spec's rate; the length that `resample` returns."""
    from fractions import Fraction

    ratio = Fraction(spec.fs / layout.fs).limit_denominator(1000)
    return -(-layout.samples * ratio.numerator // ratio.denominator)


def _render_all(placed: Sequence[Placed], path: Path, offset: int, spec: SignalSpec) -> Iterator[Rendered]:
    chunks = list(_chunks(placed, len(spec.leads)))
    workers = min(cpu_count(), len(chunks))
    if workers < 2 or sum(item.length for item in placed) * len(spec.leads) < SMALL_SAMPLES:
        for chunk in chunks:
            yield from _render_chunk(chunk, path, offset, spec)
        return
    with interrupts_held() as interrupt_point:
        # Spawned, not forked: a fork of a process that runs torch's threads can hang.
        pool = ProcessPoolExecutor(workers, mp_context=get_context("spawn"), initializer=_die_with_parent)
        try:
            for future in [pool.submit(_render_chunk, chunk, path, offset, spec) for chunk in chunks]:
                yield from future.result()
                interrupt_point()
        except BrokenProcessPool as error:
            raise UserError(f"a process that reads recordings has died, for lack of memory or on its start: {GUARD}, "
                            "and others run again") from error  # fmt: skip
        finally:
            pool.shutdown(cancel_futures=True)


def _die_with_parent() -> None:
    """A pool's worker waits for work for ever when its parent is killed; this one leaves."""

    def wait() -> None:
        parent = parent_process()
        if parent is not None:
            parent.join()
        os._exit(1)

    Thread(target=wait, daemon=True).start()


def _chunks(placed: Sequence[Placed], leads: int) -> Iterator[list[Placed]]:
    chunk: list[Placed] = []
    samples = 0
    for item in placed:
        chunk.append(item)
        samples += item.length * leads
        if samples >= CHUNK_SAMPLES:
            yield chunk
            chunk, samples = [], 0
    if chunk:
        yield chunk


def _render_chunk(chunk: Sequence[Placed], path: Path, offset: int, spec: SignalSpec) -> list[Rendered]:
    # Written, not mapped: a mapping counts every page that it touches as this process's memory.
    with path.open("r+b") as signals:
        return [_render_one(item, signals, offset, spec) for item in chunk]


def _render_one(item: Placed, signals: BinaryIO, offset: int, spec: SignalSpec) -> Rendered:
    place: dict[str, Any] = {
        "record_id": item.file.record_id,
        "patient": item.file.patient,
        "fold": -1 if item.file.fold is None else item.file.fold,
        "start": item.start,
        "length": item.length,
    }
    try:
        record = item.file.read()
        content = _to_microvolts(record, item, spec).tobytes()
        mixtures = lead_mixtures(record.leads, spec.leads, spec.missing)
    except BadRecord as error:
        return Rendered(**place, fault=str(error))
    signals.seek(offset + 2 * len(spec.leads) * item.start)
    signals.write(content)
    return Rendered(
        **place,
        fs_source=record.fs,
        digest=blake2b(content, digest_size=8).hexdigest(),
        annotation=json.dumps(dict(record.annotation)),
        substituted=tuple(f"{lead} <- {describe(mix)}" for lead, mix in mixtures.items() if lead not in mix),
    )


def _to_microvolts(record: Record, item: Placed, spec: SignalSpec) -> NDArray[np.int16]:
    """Render one recording, (T, L) int16.

    Raises:
        BadRecord: a lead is flat, holds invalid samples or exceeds what a body can give, or the recording is not what
            its header said.
    """
    named = str(item.file.paths()[0])
    held = Layout(record.fs, record.leads, record.signal.shape[1])
    if rendered_length(held, spec) != item.length:
        raise BadRecord(f"{named}: holds {held.samples} samples at {held.fs:g} Hz, its header says otherwise; "
                        "fetch the recording again")  # fmt: skip
    try:
        mixtures = lead_mixtures(record.leads, spec.leads, spec.missing)
    except UserError as error:
        raise BadRecord(f"{named}: {error}") from error
    _check_leads(record, {lead for mixture in mixtures.values() for lead in mixture}, named)
    rendered = render(record.signal, record.leads, record.fs, spec)
    microvolts = np.rint(rendered.T * MICROVOLT)
    peak = float(np.abs(microvolts).max())
    if not peak <= np.iinfo(np.int16).max:
        raise BadRecord(f"{named}: reaches {peak / MICROVOLT:.0f} mV, so its gain or unit is wrong")
    still = [
        lead for lead, row in zip(mixtures, microvolts.T, strict=True) if mixtures[lead] and row.min() == row.max()
    ]
    if still:
        raise BadRecord(f"{named}: lead {still[0]} varies by less than a microvolt, so its gain or unit is wrong")
    return np.ascontiguousarray(microvolts.astype(np.int16))


def _check_leads(record: Record, used: Set[str], named: str) -> None:
    """Every lead that is used holds a signal; where two are one lead, the first is."""
    left = set(used)
    for lead, row in zip(map(canonical_lead, record.leads), record.signal, strict=True):
        if lead not in left:
            continue
        left.remove(lead)
        invalid = np.count_nonzero(~np.isfinite(row))
        if invalid:
            raise BadRecord(f"{named}: lead {lead} holds {invalid} invalid samples (NaN)")
        if row.min() == row.max():
            raise BadRecord(f"{named}: lead {lead} is flat over its whole length")
