"""From a WFDB header and the signal files beside it to millivolts, all that is said twice compared."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ecg_lightning.data.record import BadRecord
from ecg_lightning.data.wfdb_header import Header, Signal
from ecg_lightning.data.wfdb_samples import INVALID, check_size, read_samples

DIFFERENCES = 8
"""The format that stores first differences."""


def check_files(header: Header, folder: Path) -> None:
    """See that the signal files are there and of the size that the header promises.

    Raises:
        BadRecord: they are not.
    """
    for group in header.groups:
        first = group[0]
        check_size(folder / first.file, first.format, first.offset, _frames(group), header.samples)


def read_millivolts(header: Header, folder: Path) -> NDArray[np.float32]:
    """Read the signals of a recording in one piece.

    Args:
        header: its header.
        folder: where its signal files lie.

    Returns:
        (L, T), mV, NaN where nothing was recorded. A signal of several samples a frame is averaged over each frame;
        skew is taken out.

    Raises:
        BadRecord: a file is not what the header says.
    """
    signals = header.signals
    stored = [_read_group(group, header.samples, folder) for group in header.groups]
    digital = (stored[0] if len(stored) == 1 else np.concatenate(stored, axis=1)).T
    owner = np.repeat(np.arange(len(signals)), _frames(signals))
    signal = digital.astype(np.float64, order="C")
    signal[digital == _column([INVALID.get(s.format, np.inf) for s in signals])[owner]] = np.nan
    signal -= _column([s.baseline for s in signals])[owner]
    signal *= _column([s.step for s in signals])[owner]
    if len(signal) > len(signals):
        signal = np.add.reduceat(signal, _first_columns(signals), axis=0) / _column(_frames(signals))
    for row, skew in zip(signal, [s.skew for s in signals], strict=True):
        if skew:
            row[:] = np.append(row[skew:], np.full(skew, np.nan))
    return signal.astype(np.float32)


def _read_group(group: Sequence[Signal], samples: int, folder: Path) -> NDArray[np.integer]:
    """The digital values of one signal file, (samples, all samples of a frame).

    Raises:
        BadRecord: a signal begins with another value than the header says, or adds up to another checksum.
    """
    first, file = group[0], folder / group[0].file
    values = read_samples(file, first.format, first.offset, _frames(group), samples)
    if first.format == DIFFERENCES:
        values = _accumulate(values, group)
    columns = _first_columns(group)
    sums = np.add.reduceat(values.sum(axis=0, dtype=np.int64), columns) % 65536
    for signal, total, start in zip(group, sums.tolist(), values[0, columns].tolist(), strict=True):
        if signal.checksum is None:
            continue
        if signal.checksum != total:
            fault = f"add up to {total}, the header's checksum says {signal.checksum}"
        elif first.format != DIFFERENCES and signal.initial != start:
            fault = f"begin with {start}, the header says {signal.initial}"
        else:
            continue
        raise BadRecord(f"{file}: the samples of lead {signal.lead} {fault}; header and data disagree, "
                        "fetch the recording again")  # fmt: skip
    return values


def _accumulate(differences: NDArray[np.integer], group: Sequence[Signal]) -> NDArray[np.int64]:
    """First differences to values, each signal's through all samples of its frames."""
    parts = np.split(differences, _first_columns(group)[1:], axis=1)
    starts = [signal.zero if signal.initial is None else signal.initial for signal in group]
    sums = [start + np.cumsum(part, dtype=np.int64) for start, part in zip(starts, parts, strict=True)]
    return np.concatenate([each.reshape(part.shape) for each, part in zip(sums, parts, strict=True)], axis=1)


def _frames(signals: Sequence[Signal]) -> list[int]:
    return [signal.frame for signal in signals]


def _first_columns(signals: Sequence[Signal]) -> NDArray[np.int64]:
    """Where in a frame each signal begins."""
    return np.cumsum([0, *_frames(signals[:-1])])


def _column(values: Sequence[float]) -> NDArray[np.float64]:
    return np.array(values, np.float64)[:, None]
