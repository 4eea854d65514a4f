"""Data sets whose labels are about whole recordings."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from ecg_lightning.data.module import Aggregate, ECGDataModule, Examples
from ecg_lightning.data.store import Store
from ecg_lightning.errors import UserError
from ecg_lightning.signal import Fit, window_offsets

UNLABELLED = -1
"""Class number of a recording that carries no label."""


class RecordDataModule(ECGDataModule):
    """Base of data sets whose labels are about whole recordings.

    A data set's author writes `records`, `classes`, `split_of_records` and `record_labels`.

    Args:
        long_records: what becomes of a recording longer than the spec's window: `crop` takes its middle, `windows` as
            many windows as cover it, each with its label. A label counts once, however many windows carry it.
        aggregate: how the predictions for its windows become the recording's own: their `mean` or their `max`.
        base: see `ECGDataModule`.
    """

    def __init__(self, long_records: Fit = "crop", aggregate: Aggregate = "mean", **base: Any) -> None:
        super().__init__(**base)
        for key, value, allowed in (("long_records", long_records, get_args(Fit)),
                                    ("aggregate", aggregate, get_args(Aggregate))):  # fmt: skip
            if value not in allowed:
                raise UserError(f"data.{key}={value!r} is not one of {', '.join(allowed)}")
        self.long_records, self.aggregate = long_records, aggregate

    @abstractmethod
    def record_labels(self, store: Store) -> NDArray[np.integer[Any]]:
        """The label of each recording.

        Returns:
            (R, C) uint8 zeros and ones, all zeros where a recording is not labelled; or (R,) int64 class numbers,
            `UNLABELLED` where it is not.

        Raises:
            UserError: no recording is labelled.
        """

    def examples(self, store: Store) -> Examples:
        """The windows of every labelled recording."""
        y = self.record_labels(store)
        labelled = np.flatnonzero(y.any(axis=1) if y.ndim == 2 else y != UNLABELLED)
        return self.cover(store, labelled, y)

    def cover(self, store: Store, rows: NDArray[np.int64], y: NDArray[np.integer[Any]]) -> Examples:
        """The windows of some recordings.

        Args:
            store: the prepared recordings.
            rows: (K,) which ones.
            y: (R,) or (R, C) the label of every recording.
        """
        offsets = [window_offsets(int(length), self.spec.samples, self.long_records) for length in store.length[rows]]
        row = np.repeat(rows, [len(each) for each in offsets])
        split = self.split_of_records(store)[row]
        offset = np.concatenate([*offsets, np.empty(0, np.int64)]).astype(np.int64)
        return Examples(row, offset, y[row], split, unit=row)
