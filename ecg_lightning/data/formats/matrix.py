"""What the readers of a plain array share: which axis holds the leads, and what lies beside the samples."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ecg_lightning.data.formats.single_file import SingleFile, check_size, scaled
from ecg_lightning.data.formats.stated import Fault, Signals
from ecg_lightning.data.record import Layout

SIGNAL_NAMES = ("signal", "signals", "ecg")
"""Which of several arrays in a file is the recording."""


class Matrix(NamedTuple):
    """An array that is not read yet.

    Attributes:
        shape: of the array.
        dtype: of the array.
        fs: rate that the file says, in Hz, or None.
        leads: names that the file says, or None.
        unit: unit that the file says, or None.
        load: reads the array.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    fs: float | None
    leads: tuple[str, ...] | None
    unit: str | None
    load: Callable[[], NDArray[Any]]


@dataclass(frozen=True)
class MatrixFile(SingleFile):
    """A recording as an array of leads by samples, or samples by leads; the number of named leads tells which.

    A format's author writes `_matrix`.
    """

    @abstractmethod
    def _matrix(self) -> Matrix:
        """What the file's header tells, without its samples."""

    def _layout(self) -> Layout:
        matrix = self._matrix()
        _, signals, samples = self._axes(matrix)
        self.stated.millivolts(matrix.unit)
        return Layout(self.stated.rate(matrix.fs), signals.leads, samples)

    def _signal(self) -> NDArray[np.float32]:
        matrix = self._matrix()
        axis, signals, _ = self._axes(matrix)
        array = matrix.load()
        scale = self.stated.millivolts(matrix.unit)
        return scaled(array if array.ndim == 2 else array[None], axis, signals.places, (scale,) * len(signals.places))

    def _axes(self, matrix: Matrix) -> tuple[int, Signals, int]:
        """The axis of the leads, which of them are taken, and the number of samples."""
        if matrix.dtype.kind not in "iuf":
            raise Fault(f"holds an array of {matrix.dtype}, not of real numbers; export it as float32")
        labels = matrix.leads or self.stated.leads
        if not labels:
            raise Fault("the names of its leads are not known; state them in column leads of records.csv")
        axis = lead_axis(matrix.shape, len(labels))
        samples = matrix.shape[-1] if axis == 0 else matrix.shape[0]
        check_size(len(labels), samples)
        return axis, self.stated.signals(labels), samples


def lead_axis(shape: tuple[int, ...], leads: int) -> int:
    """Which axis of an array holds the leads; a single lead may have none.

    Raises:
        Fault: none or both may be it.
    """
    text = " x ".join(map(str, shape))
    if len(shape) == 1 and leads == 1:
        return 0
    if len(shape) != 2 or leads not in shape:
        raise Fault(f"an array of {text} is no recording of {leads} leads; each file holds one, leads by samples")
    if shape[0] == shape[1]:
        raise Fault(f"an array of {text} does not tell leads from samples; export more samples")
    return shape.index(leads)


def pick(names: Collection[str]) -> str:
    """Which of the arrays of a file is the recording.

    Raises:
        Fault: it cannot be told.
    """
    if len(names) == 1:
        return next(iter(names))
    called = [name for name in names if name.rsplit("/", 1)[-1].lower() in SIGNAL_NAMES]
    if len(called) != 1:
        shown = ", ".join(sorted(names)[:8]) or "none"
        raise Fault(f"which of its arrays is the recording is not known ({shown}); call one {SIGNAL_NAMES[0]}")
    return called[0]


def one_text(value: Any) -> str | None:
    """A text as a file of arrays may store it."""
    text = np.asarray(value).reshape(-1)[0] if value is not None else None
    return text.decode() if isinstance(text, bytes) else None if text is None else str(text)


def texts(value: Any) -> tuple[str, ...] | None:
    """Several texts as a file of arrays may store them: an array of them, or one with separators."""
    if value is None:
        return None
    several = [one_text(each) or "" for each in np.asarray(value).reshape(-1)]
    return tuple(several) if len(several) > 1 else split_names(several[0])


def split_names(text: str) -> tuple[str, ...]:
    """Names separated by spaces, commas or semicolons."""
    return tuple(text.replace(";", " ").replace(",", " ").split())
