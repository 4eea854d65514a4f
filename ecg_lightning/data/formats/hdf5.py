"""HDF5, read by h5py: one dataset, with `fs`, `leads` and `unit` as its attributes or the file's."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np
from numpy.typing import NDArray

from ecg_lightning.data.formats.isolated import isolated
from ecg_lightning.data.formats.matrix import Matrix, MatrixFile, one_text, pick, texts
from ecg_lightning.data.formats.single_file import MOST_SAMPLES, check_size
from ecg_lightning.data.formats.stated import Fault

HEADER_SECONDS = 10
SIGNAL_SECONDS = 120
"""What a call may take: a file on the slowest disk does not need it."""


class Description(NamedTuple):
    """What a file tells of its recording: the array's name, and the fields of a `Matrix`."""

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    fs: float | None
    leads: tuple[str, ...] | None
    unit: str | None


@dataclass(frozen=True)
class HDF5File(MatrixFile):
    """A recording in an HDF5 file; nothing outside the file is opened, whatever links it holds."""

    format = "HDF5"

    def _matrix(self) -> Matrix:
        if not self.path.exists():
            raise FileNotFoundError
        told = isolated(_describe, self.path, seconds=HEADER_SECONDS)
        return Matrix(told.shape, told.dtype, told.fs, told.leads, told.unit,
                      lambda: isolated(_load, self.path, told.name, seconds=SIGNAL_SECONDS))  # fmt: skip


def _describe(path: Path) -> Description:
    with h5py.File(path, "r") as file:
        dataset = file[pick(_arrays(file))]
        _check_storage(dataset)
        fs, leads, unit, units = (_attribute(file, dataset, key) for key in ("fs", "leads", "unit", "units"))
        fs = None if fs is None else float(np.asarray(fs).reshape(-1)[0])
        unit = one_text(units if unit is None else unit)
        return Description(str(dataset.name), dataset.shape, dataset.dtype, fs, texts(leads), unit)


def _load(path: Path, name: str) -> NDArray[Any]:
    with h5py.File(path, "r") as file:
        array: NDArray[Any] = file[name][()]
        return array


def _arrays(file: Any) -> list[str]:
    """Names of the arrays of numbers; the walk follows no link that leaves the file."""
    names: list[str] = []

    def visit(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset) and len(item.shape or ()) in (1, 2) and item.dtype.kind in "iufc":
            names.append(name)

    file.visititems(visit)
    return names


def _attribute(file: Any, dataset: Any, key: str) -> Any:
    """The dataset's own, else the file's, else None."""
    return next((item.attrs[key] for item in (dataset, file) if key in item.attrs), None)


def _check_storage(dataset: Any) -> None:
    """Refuse samples that lie in other files and blocks that would unpack to more than a recording."""
    if dataset.is_virtual or dataset.external:
        raise Fault("its samples lie in other files; store them in this one")
    check_size(1, int(np.prod(dataset.shape, dtype=object)))
    if not dataset.chunks:
        if dataset.id.get_storage_size() < dataset.nbytes:
            raise Fault("lacks samples that it promises; export it again")
        return
    if int(np.prod(dataset.chunks, dtype=object)) > MOST_SAMPLES:
        raise Fault("its blocks are larger than a recording may be; store it without chunks")
    _check_blocks(dataset)


def _check_blocks(dataset: Any) -> None:
    """Every block is there, and one that is said not to be packed is as large as it must be then.

    HDF5 itself reads zeros where a block is missing, and packed bytes as samples where it is told so.
    """
    blocks: list[Any] = []
    dataset.id.chunk_iter(blocks.append)
    promised = [-(-size // block) for size, block in zip(dataset.shape, dataset.chunks, strict=True)]
    whole = int(np.prod(dataset.chunks, dtype=object)) * dataset.dtype.itemsize
    packings = 2 ** dataset.id.get_create_plist().get_nfilters() - 1  # a bit for each
    if len(blocks) != np.prod(promised, dtype=object) or any(
        block.filter_mask & packings == packings and block.size != whole for block in blocks
    ):
        raise Fault("its blocks of samples are not those that it promises; export it again")
