"""A recording as every reader yields it, and the promise of one that is not read yet."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from ecg_lightning.errors import UserError


class BadRecord(UserError):
    """A recording that cannot be trusted; `data.on_bad_record` decides whether it stops the run or is left out."""


@dataclass(frozen=True)
class Record:
    """One recording.

    Attributes:
        signal: (L, T) float32, mV.
        fs: its sampling rate in Hz.
        leads: L names, as the file spells them.
        annotation: what the source says of it, in plain JSON values: beats, statements, ...
    """

    signal: NDArray[np.float32]
    fs: float
    leads: tuple[str, ...]
    annotation: Mapping[str, Any] = field(default_factory=dict)


class Layout(NamedTuple):
    """What a header tells without reading the signal."""

    fs: float
    leads: tuple[str, ...]
    samples: int


class RecordFile(Protocol):
    """A recording on disk. Pickled to the process that reads it.

    Attributes:
        record_id: unique within its data set.
        patient: who was recorded, unique across data sets (`mitbih/100`).
        fold: the published fold, or None.
        annotation: what the data set's tables say of it; `read` may add to it.
    """

    @property
    def record_id(self) -> str: ...  # noqa: D102
    @property
    def patient(self) -> str: ...  # noqa: D102
    @property
    def fold(self) -> int | None: ...  # noqa: D102
    @property
    def annotation(self) -> Mapping[str, Any]: ...  # noqa: D102

    def paths(self) -> list[Path]:
        """The files it lies in; their sizes and times tell whether a prepared copy is still valid."""
        ...

    def layout(self) -> Layout:
        """Rate, leads and length, cheaply.

        Raises:
            BadRecord: a file is missing or its header contradicts its size.
        """
        ...

    def read(self) -> Record:
        """The recording itself.

        Raises:
            BadRecord: the samples contradict the header.
        """
        ...
