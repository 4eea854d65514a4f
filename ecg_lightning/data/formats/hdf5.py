"""HDF5, read by h5py: one dataset, with `fs`, `leads` and `unit` as its attributes or the file's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from ecg_lightning.data.formats.matrix import Matrix, MatrixFile, one_text, pick, texts
from ecg_lightning.data.formats.single_file import MOST_SAMPLES
from ecg_lightning.data.formats.stated import Fault


@dataclass(frozen=True)
class HDF5File(MatrixFile):
    """A recording in an HDF5 file; nothing outside the file is opened, whatever links it holds."""

    format = "HDF5"

    def _matrix(self) -> Matrix:
        with h5py.File(self.path, "r") as file:
            dataset = file[pick(_arrays(file))]
            _check_storage(dataset)
            name = str(dataset.name)
            fs, leads, unit, units = (_attribute(file, dataset, key) for key in ("fs", "leads", "unit", "units"))
            fs = None if fs is None else float(np.asarray(fs).reshape(-1)[0])
            unit = one_text(units if unit is None else unit)
            return Matrix(dataset.shape, dataset.dtype, fs, texts(leads), unit, lambda: self._load(name))

    def _load(self, name: str) -> NDArray[Any]:
        with h5py.File(self.path, "r") as file:
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
    if dataset.chunks and int(np.prod(dataset.chunks, dtype=object)) > MOST_SAMPLES:
        raise Fault("its blocks are larger than a recording may be; store it without chunks")
