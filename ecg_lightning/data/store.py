"""The store: every recording of a data set, rendered to one rate and set of leads, in one memory-mapped HDF5 file.

Recordings lie one behind the other along time in `signals`, (S, L) int16, contiguous and unchunked. A window
of any length, a beat with any context, is then a start and a length: one store serves every view of the data.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from ecg_lightning.errors import UserError

STORE_VERSION = 2
MICROVOLT = 1000.0
"""Steps in one mV: the scale of recordings in a physical unit."""


@dataclass(frozen=True)
class Store:
    """A prepared data set, opened for reading.

    Attributes:
        path: the HDF5 file.
        signals: (S, L) int16 steps, a copy-on-write memory map of the file.
        start: (R,) first row of each recording in `signals`.
        length: (R,) its samples.
        fs: sampling rate of `signals` in Hz.
        fs_source: (R,) rate at which each was recorded, Hz; annotations count in its samples.
        leads: the L lead names.
        record_id: (R,) names.
        patient: (R,) who was recorded, unique across data sets.
        fold: (R,) published fold, -1 where there is none.
        digest: (R,) hash of each rendered signal.
        skipped: recordings left out, with the reason of each.
        substituted: how many recordings had another lead stand in, by `wanted <- source`.
        scale: steps of `signals` in one mV, or in one unit of recordings that have no physical one.
    """

    path: Path
    signals: NDArray[np.int16]
    start: NDArray[np.int64]
    length: NDArray[np.int64]
    fs: float
    fs_source: NDArray[np.float64]
    leads: tuple[str, ...]
    record_id: NDArray[np.str_]
    patient: NDArray[np.str_]
    fold: NDArray[np.int16]
    digest: NDArray[np.str_]
    skipped: Mapping[str, str]
    substituted: Mapping[str, int]
    scale: float = MICROVOLT

    def __len__(self) -> int:
        return len(self.start)

    @classmethod
    def open(cls, path: Path) -> Store:
        """Open a finished store.

        Raises:
            UserError: the file is not a store of this version.
        """
        try:
            with h5py.File(path) as file:
                if file.attrs.get("version") != STORE_VERSION:
                    raise UserError(f"{path}: not a store of version {STORE_VERSION}; delete it and run again")
                signals = file["signals"]
                mapped = np.memmap(path, np.int16, "c", signals.id.get_offset(), signals.shape)
                text = {key: file[key].asstr()[:].astype(np.str_) for key in ("record_id", "patient", "digest")}
                numbers = {key: file[key][:] for key in ("start", "length", "fs_source", "fold")}
                maps = {key: json.loads(file.attrs[key]) for key in ("skipped", "substituted")}
                leads = tuple(json.loads(file.attrs["leads"]))
                fs, scale = float(file.attrs["fs"]), float(file.attrs["scale"])
                return cls(Path(path), mapped, fs=fs, leads=leads, scale=scale, **text, **numbers, **maps)
        except (OSError, KeyError) as error:
            raise UserError(f"{path}: not a readable store ({error}); delete it and run again") from error

    @cached_property
    def annotations(self) -> list[dict[str, Any]]:
        """What the source says of each recording."""
        with h5py.File(self.path) as file:
            return [json.loads(text) for text in file["annotation"].asstr()[:]]

    @cached_property
    def fingerprint(self) -> str:
        """Hash of the content: the same recordings give the same fingerprint wherever they lie."""
        from hashlib import blake2b

        names = json.dumps([self.fs, self.leads, self.record_id.tolist(), self.digest.tolist()])
        return blake2b(names.encode(), digest_size=8).hexdigest()

    @cached_property
    def person(self) -> NDArray[np.int64]:
        """(R,) number of each recording's patient: the same for the same patient in any data set and process."""
        from hashlib import blake2b

        names, which = np.unique(self.patient, return_inverse=True)
        numbers = [int.from_bytes(blake2b(name.encode(), digest_size=8).digest(), signed=True) for name in names]
        return np.array(numbers, np.int64)[which]

    def signal(self, row: int) -> NDArray[np.int16]:
        """One recording, (L, T) int16 steps."""
        begin = self.start[row]
        return self.signals[begin : begin + self.length[row]].T


def digest_numbers(digest: NDArray[np.str_]) -> NDArray[np.int64]:
    """Digests as numbers, (R,): eight bytes each, quickly compared."""
    return np.array([int(each, 16) for each in digest], np.uint64).view(np.int64)
