"""Writing a store: once, by one process, whole or not at all."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import current_process
from pathlib import Path
from typing import Literal

import h5py
import numpy as np
from filelock import FileLock
from tqdm import tqdm

from ecg_lightning.data.store import MICROVOLT, STORE_VERSION, Store
from ecg_lightning.errors import UserError
from ecg_lightning.files import replacing
from ecg_lightning.signal import SignalSpec

OnBadRecord = Literal["raise", "skip"]

REMEDY = "; or leave such recordings out with data.on_bad_record=skip"
GUARD = "a script of your own must keep what it does under `if __name__ == '__main__':`"


@dataclass(frozen=True)
class Rendered:
    """What a worker tells of one recording: its row of the store's tables, or the fault."""

    record_id: str
    patient: str
    fold: int
    start: int
    length: int
    fs_source: float = 0.0
    digest: str = ""
    annotation: str = "{}"
    substituted: tuple[str, ...] = ()
    fault: str | None = None


def build_once(path: Path, build: Callable[[Path], None]) -> Store:
    """Open a store, built where it is not there yet by one process while the others wait.

    Args:
        path: of the store.
        build: writes the store, under the temporary name that it is given.
    """
    if not path.exists():
        if getattr(current_process(), "_inheriting", False):  # it would wait for its own parent, for ever
            raise RuntimeError(f"{path.stem} is prepared while a worker process starts; {GUARD}")
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(path.with_suffix(".lock")):
            if not path.exists():
                with replacing(path, alone=True) as partial, _faults_of_the_disk():
                    build(partial)
    return Store.open(path)


@contextmanager
def _faults_of_the_disk() -> Iterator[None]:
    """HDF5 wraps what the disk says in words of its own."""
    try:
        yield
    except (OSError, RuntimeError) as error:
        said = re.search(r"errno = (\d+)", str(error))
        if said is None:
            raise
        raise OSError(int(said[1]), os.strerror(int(said[1]))) from error


def tell_skipped(name: str, store: Store, on_bad_record: OnBadRecord) -> None:
    """Say which recordings a store lacks.

    Raises:
        UserError: it lacks some, and none may be left out.
    """
    if store.skipped and on_bad_record == "raise":
        record, fault = next(iter(store.skipped.items()))
        raise UserError(f"{fault} (recording {record}, one of {len(store.skipped)} bad ones){REMEDY}")
    if store.skipped:
        total = len(store) + len(store.skipped)
        tqdm.write(f"{name}: left out {len(store.skipped)} bad of {total} recordings: {_list(store.skipped)}")


def allocate(path: Path, rows: int, leads: int) -> int:
    """Create the file with room for the signals, on the disk and not only in its size; returns their offset."""
    with h5py.File(path, "w") as file:
        plan = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        plan.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
        plan.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
        space = h5py.h5s.create_simple((rows, leads))
        offset: int = h5py.h5d.create(file.id, b"signals", h5py.h5t.STD_I16LE, space, dcpl=plan).get_offset()
    try:
        with path.open("r+b") as handle:
            if hasattr(os, "posix_fallocate"):  # not on macOS
                os.posix_fallocate(handle.fileno(), 0, offset + 2 * rows * leads)
    except OSError as error:
        need = 2 * rows * leads / 1e9
        raise UserError(
            f"{path.parent}: no room for {need:.1f} GB ({error.strerror}); free some or set cache_dir"
        ) from None
    return offset


def write_tables(
    path: Path, rendered: Sequence[Rendered], spec: SignalSpec, faults: Mapping[str, str], scale: float = MICROVOLT
) -> None:
    """Write what a store says beside its signals.

    Args:
        path: the store, its signals written.
        rendered: its recordings.
        spec: what they were rendered to.
        faults: the recordings left out.
        scale: steps in one mV.
    """
    substituted: dict[str, int] = {}
    for item in rendered:
        for pair in item.substituted:
            substituted[pair] = substituted.get(pair, 0) + 1
    with h5py.File(path, "r+") as file:
        for key in ("record_id", "patient", "digest", "annotation"):
            file.create_dataset(key, data=[getattr(item, key) for item in rendered], dtype=h5py.string_dtype())
        for key, kind in (("start", "i8"), ("length", "i8"), ("fs_source", "f8"), ("fold", "i2")):
            file.create_dataset(key, data=np.array([getattr(item, key) for item in rendered], kind))
        file.attrs.update(version=STORE_VERSION, fs=spec.fs, scale=scale, leads=json.dumps(spec.leads),
                          skipped=json.dumps(dict(faults)), substituted=json.dumps(substituted))  # fmt: skip


def _list(faults: Mapping[str, str], most: int = 5) -> str:
    shown = "; ".join(f"{record} ({fault})" for record, fault in list(faults.items())[:most])
    return shown if len(faults) <= most else f"{shown}; and {len(faults) - most} more (all in the store)"
