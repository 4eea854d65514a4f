"""Tables with a column for each lead: `.csv`, `.csv.gz` and `.parquet`."""

from __future__ import annotations

import csv
import gzip
import re
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import IO, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ecg_lightning.data.formats.single_file import SingleFile, check_size, scaled
from ecg_lightning.data.formats.stated import Fault
from ecg_lightning.data.record import Layout

TIME = {"time": "s", "t": "s", "seconds": "s", "sec": "s", "time_s": "s",
        "ms": "ms", "milliseconds": "ms", "time_ms": "ms"}  # fmt: skip
"""Columns that say when a sample was taken, and in what unless the header says it, as in `time (ms)`."""

SECONDS = {"s": 1.0, "sec": 1.0, "seconds": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6}

LONGEST_HEADER = 100_000
LONGEST_CELL = 256
"""Bytes, on average of a row; a number takes less."""

_COLUMN = re.compile(r"(?P<name>.*?)\s*(?:[\[(](?P<unit>[^\])]*)[\])])?")


class Column(NamedTuple):
    """What a header says of one column: `II (mV)` or `time [ms]` or `V1`."""

    name: str
    unit: str | None


@dataclass(frozen=True)
class TableFile(SingleFile):
    """A recording as a table; a format's author writes `_columns`, `_rows` and `_table`."""

    @abstractmethod
    def _columns(self) -> list[str]:
        """The header."""

    @abstractmethod
    def _rows(self, columns: int) -> int:
        """How many samples there are; refuses more than a recording may have before memory is asked for."""

    @abstractmethod
    def _table(self, places: Sequence[int]) -> NDArray[np.float64]:
        """(T, len(places)) chosen columns."""

    def _layout(self) -> Layout:
        columns, time = self._header()
        signals = self.stated.signals([column.name for column in columns.values()])
        self._scales()
        rows = self._rows(len(columns) + (time is not None))
        check_size(len(signals.leads), rows)
        fs = self.stated.fs if time is None or self.stated.fs is not None else self._rate(time)
        return Layout(self.stated.rate(fs), signals.leads, rows)

    def _signal(self) -> NDArray[np.float32]:
        columns, time = self._header()
        signals = self.stated.signals([column.name for column in columns.values()])
        places = [list(columns)[i] for i in signals.places]
        if time is not None:
            self.stated.rate(self._rate(time))
        table = self._table(places)
        return scaled(table, 1, tuple(range(len(places))), self._scales())

    def _header(self) -> tuple[dict[int, Column], int | None]:
        """The columns that may be leads, by place, and the place of the time."""
        columns = {i: parse_column(name) for i, name in enumerate(self._columns())}
        times = [i for i, column in columns.items() if column.name.lower() in TIME]
        if len(times) > 1:
            raise Fault(f"has {len(times)} columns of times; keep one")
        return {i: column for i, column in columns.items() if i not in times}, times[0] if times else None

    def _scales(self) -> tuple[float, ...]:
        columns = list(self._header()[0].values())
        signals = self.stated.signals([column.name for column in columns])
        return tuple(self.stated.millivolts(columns[i].unit) for i in signals.places)

    def _rate(self, place: int) -> float:
        column = parse_column(self._columns()[place])
        unit = column.unit or TIME[column.name.lower()]
        if unit not in SECONDS:
            raise Fault(f"the unit {unit!r} of its column {column.name} is not one of {', '.join(SECONDS)}")
        return rate_of_times(self._table([place])[:, 0] * SECONDS[unit])


def parse_column(text: str) -> Column:
    """Name and unit of a column.

    Raises:
        Fault: the header names nothing, as where a file begins with its samples.
    """
    found = _COLUMN.fullmatch(text.strip())
    name = found["name"] if found else text
    try:
        float(name)
    except ValueError:
        return Column(name, found["unit"] if found else None)
    raise Fault(f"begins with the number {name}, not with a line that names its columns; add one")


def rate_of_times(seconds: NDArray[np.float64]) -> float:
    """The sampling rate of evenly spaced times, which may be rounded.

    Args:
        seconds: (T,).

    Returns:
        Hz; a whole number where the times are too coarse to tell it from one.

    Raises:
        Fault: they are not even, so samples are missing or come from several recordings.
    """
    steps = np.diff(seconds)
    step = float(steps.mean()) if len(steps) else 0.0
    if not step > 0:
        raise Fault("its times do not increase")
    slack = float(np.abs(steps - step).max())
    if not slack < 0.5 * step:
        at = int(np.abs(steps - step).argmax())
        raise Fault(f"its times are not even (a step of {steps[at]:g} s after sample {at}, {step:g} s on average); "
                    "split it, or state its rate in column fs of records.csv without a column of times")  # fmt: skip
    fs = 1.0 / step
    uncertain = fs * (2 * slack / (seconds[-1] - seconds[0]) + 1e-9)
    return float(round(fs)) if abs(fs - round(fs)) <= uncertain else fs


@dataclass(frozen=True)
class CSVFile(TableFile):
    """A recording in a `.csv` or `.csv.gz` file, whose first line names the columns."""

    format = "CSV"

    def _columns(self) -> list[str]:
        with self._bytes() as file:
            line = file.readline(LONGEST_HEADER)
        return next(csv.reader([line.decode("utf-8-sig")]), [])

    def _rows(self, columns: int) -> int:
        """By its line ends; blank lines at the end do not count."""
        lines = trailing = size = 0
        with self._bytes() as file:
            for block in iter(lambda: file.read(1 << 20), b""):
                size += len(block)
                body = block.rstrip(b"\r\n")
                if body:
                    lines += trailing + body.count(b"\n")
                    trailing = 0
                trailing += block.count(b"\n", len(body))
                check_size(columns, max(lines, size // (LONGEST_CELL * columns), 1))
        if size > LONGEST_HEADER + LONGEST_CELL * columns * lines:
            raise Fault(f"its {lines} rows are too long ({size} bytes) to be numbers; export it again")
        return lines

    def _table(self, places: Sequence[int]) -> NDArray[np.float64]:
        import pandas as pd

        with self._bytes() as file:
            file.readline(LONGEST_HEADER)
            # All columns, since pandas does not mind a row that is too long where it is asked for some.
            numbers = dict.fromkeys(places, np.float64)
            table = pd.read_csv(file, header=None, dtype=numbers, skip_blank_lines=False, encoding="utf-8")
        if table.shape[1] != len(self._columns()):
            raise Fault(f"names {len(self._columns())} columns and has {table.shape[1]}; export it again")
        return table.loc[:, list(places)].to_numpy()[: self._rows(len(places))]

    def _bytes(self) -> IO[bytes]:
        if self.path.suffix.lower() == ".gz":
            return gzip.open(self.path, "rb")  # type: ignore[return-value]
        return self.path.open("rb")


@dataclass(frozen=True)
class ParquetFile(TableFile):
    """A recording in a `.parquet` file."""

    format = "Parquet"

    def _columns(self) -> list[str]:
        with self._open() as file:
            return list(file.schema_arrow.names)

    def _rows(self, columns: int) -> int:
        with self._open() as file:
            rows = int(file.metadata.num_rows)
        check_size(columns, rows)
        return rows

    def _table(self, places: Sequence[int]) -> NDArray[np.float64]:
        with self._open() as file:
            columns = [file.schema_arrow.field(i) for i in places]
            for column in columns:
                if not _is_number(column.type):  # A text may be of any size.
                    raise Fault(f"its column {column.name} holds {column.type}, not numbers; export it as float32")
            table = file.read(columns=[column.name for column in columns])
        return np.stack([table.column(column.name).to_numpy().astype(np.float64) for column in columns], axis=1)

    def _open(self) -> Any:
        try:
            from pyarrow import parquet
        except ImportError:
            raise Fault("needs pyarrow; install it with: pip install 'ecg_lightning[parquet]'") from None
        return parquet.ParquetFile(self.path)


def _is_number(kind: Any) -> bool:
    from pyarrow import types

    return bool(types.is_integer(kind) or types.is_floating(kind) or types.is_decimal(kind))
