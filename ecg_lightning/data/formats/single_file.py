"""What all readers of a recording in one file share: its checks, and one message for whatever is wrong with it."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ecg_lightning.data.formats.stated import Fault, Stated
from ecg_lightning.data.record import BadRecord, Layout, Record

MOST_SAMPLES = 24 * 3600 * 1000 * 16
"""All leads of one recording: a day of 16 leads at 1000 Hz. A small compressed file can promise any number, so this is
asked of its header before memory is."""


@dataclass(frozen=True)
class SingleFile:
    """A recording in one file (a `RecordFile`); a format's author writes `_layout` and `_signal`.

    Both may raise whatever their library raises: it reaches the user as one `BadRecord` that names the file.

    Attributes:
        path: the file.
        record_id: see `RecordFile`.
        patient: see `RecordFile`.
        fold: see `RecordFile`.
        annotation: see `RecordFile`.
        stated: what the manifest says of the signal.
    """

    format: ClassVar[str]
    path: Path
    record_id: str
    patient: str
    fold: int | None = None
    annotation: Mapping[str, Any] = field(default_factory=dict)
    stated: Stated = field(default_factory=Stated)

    @abstractmethod
    def _layout(self) -> Layout:
        """Rate, leads and length from the file's header, which must fit the file's size."""

    @abstractmethod
    def _signal(self) -> NDArray[np.float32]:
        """(L, T) mV."""

    def paths(self) -> list[Path]:
        """The one file."""
        return [self.path]

    def layout(self) -> Layout:
        """See `RecordFile`."""
        with self._faults_named():
            if self.path.exists() and not self.path.is_file():
                raise Fault("is not a file but a folder, a pipe or a device")  # which may have no end
            layout = self._layout()
            check_size(len(layout.leads), layout.samples)
        return layout

    def read(self) -> Record:
        """See `RecordFile`."""
        layout = self.layout()
        with self._faults_named():
            signal = self._signal()
            if signal.shape != (len(layout.leads), layout.samples):
                raise Fault(f"holds {signal.shape[1]} samples and promises {layout.samples}; export it again")
        return Record(signal, layout.fs, layout.leads, self.annotation)

    @contextmanager
    def _faults_named(self) -> Iterator[None]:
        try:
            yield
        except Fault as fault:
            raise BadRecord(f"{self.path}: {fault}") from None
        except FileNotFoundError:
            raise BadRecord(f"{self.path}: is missing; put it there or take it out of records.csv") from None
        except MemoryError:
            raise BadRecord(f"{self.path}: needs more memory than there is; split it") from None
        except Exception as error:  # each library raises whatever its parsing ran into
            what = " ".join(str(error).split()) or type(error).__name__
            raise BadRecord(f"{self.path}: cannot be read as {self.format} ({what}); export it again") from error


def check_size(leads: int, samples: int) -> None:
    """Refuse a recording that is empty or longer than any.

    Raises:
        Fault: it is so.
    """
    if samples < 1 or leads < 1:
        raise Fault(f"holds {samples} samples of {leads} leads; there is nothing to read")
    if samples * leads > MOST_SAMPLES:
        raise Fault(f"promises {samples} samples of {leads} leads, more than a recording may have ({MOST_SAMPLES}); "
                    "split it")  # fmt: skip


def scaled(
    matrix: NDArray[Any], lead_axis: int, places: tuple[int, ...], scale: tuple[float, ...]
) -> NDArray[np.float32]:
    """Chosen leads of a matrix in mV, lead after lead so that a long recording is in memory once.

    Args:
        matrix: (L', T), or (T, L') where `lead_axis` is 1; any real numbers.
        lead_axis: 0 or 1.
        places: the L leads to take, in order.
        scale: mV in one step of each.

    Returns:
        (L, T) mV.
    """
    rows = matrix if lead_axis == 0 else matrix.T
    signal = np.empty((len(places), rows.shape[1]), np.float32)
    for row, (place, factor) in enumerate(zip(places, scale, strict=True)):
        signal[row] = rows[place] * np.float64(factor)
    return signal
