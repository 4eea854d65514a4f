"""NumPy's `.npy` and `.npz`; no pickles.

Format: https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import IO, Any
from zipfile import ZipFile

import numpy as np
from numpy.lib import format as npy

from ecg_lightning.data.formats.matrix import Matrix, MatrixFile, one_text, pick, texts
from ecg_lightning.data.formats.stated import Fault

DESCRIPTIONS = ("fs", "leads", "unit", "units")
"""Entries of an `.npz` beside the recording."""

LONGEST_DESCRIPTION = 100_000
"""Bytes."""


@dataclass(frozen=True)
class NPYFile(MatrixFile):
    """A recording in an `.npy` file, which stays on the disk until its leads are converted one by one."""

    format = "npy"

    def _matrix(self) -> Matrix:
        with self.path.open("rb") as file:
            shape, dtype, header = _header(file)
        _check_bytes(self.path.stat().st_size, header, shape, dtype)
        return Matrix(shape, dtype, None, None, None, lambda: np.load(self.path, mmap_mode="r", allow_pickle=False))


@dataclass(frozen=True)
class NPZFile(MatrixFile):
    """A recording in an `.npz` file, with `fs`, `leads` and `unit` beside it where the manifest does not state them."""

    format = "npz"

    def _matrix(self) -> Matrix:
        with ZipFile(self.path) as archive:
            entries = {name.removesuffix(".npy"): name for name in archive.namelist() if name.endswith(".npy")}
            recording = pick([key for key in entries if key not in DESCRIPTIONS])
            entry = archive.getinfo(entries[recording])
            with archive.open(entry) as file:
                shape, dtype, header = _header(file)
            _check_bytes(entry.file_size, header, shape, dtype)
            own = {key: _small(archive, entries[key]) for key in DESCRIPTIONS if key in entries}
        fs = float(own["fs"].reshape(-1)[0]) if "fs" in own else None
        unit = one_text(own.get("unit", own.get("units")))
        return Matrix(shape, dtype, fs, texts(own.get("leads")), unit, lambda: self._load(recording))

    def _load(self, recording: str) -> np.ndarray[Any, np.dtype[Any]]:
        with np.load(self.path, allow_pickle=False) as arrays:
            array: np.ndarray[Any, np.dtype[Any]] = arrays[recording]
            return array


def _header(file: IO[bytes]) -> tuple[tuple[int, ...], np.dtype[Any], int]:
    """Shape, dtype and the header's own length, from the beginning of an `.npy` stream."""
    version = npy.read_magic(file)
    readers = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}
    if version not in readers:
        raise Fault(f"npy version {version} is not read here; save it again as float32")
    shape, _, dtype = readers[version](file)
    return shape, dtype, file.tell()


def _check_bytes(size: int, header: int, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
    promised = header + dtype.itemsize * int(np.prod(shape, dtype=object))
    if dtype.hasobject:
        raise Fault("holds pickled objects, which are not read; save it as float32")
    if size != promised:
        raise Fault(f"{'is truncated' if size < promised else 'and its header disagree'}: {size} bytes, the header "
                    f"promises {promised}; export it again")  # fmt: skip


def _small(archive: ZipFile, name: str) -> np.ndarray[Any, np.dtype[Any]]:
    if archive.getinfo(name).file_size > LONGEST_DESCRIPTION:
        raise Fault(f"its entry {name} is no description of a recording but {archive.getinfo(name).file_size} bytes")
    with archive.open(name) as file:
        array: np.ndarray[Any, np.dtype[Any]] = npy.read_array(file, allow_pickle=False)
        return array
