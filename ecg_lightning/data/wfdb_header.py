"""WFDB header files, read as foreign text: every number is bounded and no name leads out of the header's folder.

A header may be damaged or hostile. It names its signal files and segments by plain names, which are looked for beside
it: a path, relative or absolute, is refused. Symbolic links are the user's own doing and are followed, so that a data
set may be a folder of links into a cache; a loop, a dangling link, a pipe or a device is a bad recording.

Format: https://wfdb.io/spec/header-files.html
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

from ecg_lightning.data.record import BadRecord
from ecg_lightning.data.regular import regular_size
from ecg_lightning.leads import TWELVE_LEADS

LARGEST_HEADER = 4_000_000
"""Bytes: a week of one-minute segments takes a tenth of it."""

LOWEST_RATE, HIGHEST_RATE = 20.0, 1e5
"""Hz: beats are not told apart below, and no electrocardiograph is as fast."""

PLACEHOLDER = "~"
"""The signal file of a layout and the segment of a gap: there is none."""

DEFAULT_GAIN = 200.0
MILLIVOLT = {"mv": 1.0, "uv": 1e-3, "\u00b5v": 1e-3, "\u03bcv": 1e-3, "v": 1e3}
"""The micro sign and the Greek letter look the same and are two characters."""

_NUMBER = re.compile(r"[-+]?\d+\.?\d*(?:[eE][-+]?\d+)?", re.ASCII)
_WHOLE = re.compile(r"[-+]?\d{1,15}", re.ASCII)
_NAME = re.compile(r"(?!\.{1,2}$|-$)[\w.()+~@-]+")
_FORMAT = re.compile(r"(\d{1,4})(?:x(\d{1,4}))?(?::(\d{1,9}))?(?:\+(\d{1,15}))?", re.ASCII)
_GAIN = re.compile(r"([-+.\deE]+)(?:\(([-+]?\d+)\))?(?:/(\S+))?", re.ASCII)


class Signal(NamedTuple):
    """One signal line of a header.

    Attributes:
        file: name of the signal file.
        format: how it stores a sample.
        frame: samples a frame.
        skew: frames by which the signal lags.
        offset: bytes before the samples; samples in a FLAC file.
        step: mV per digital unit; negative where the amplifier inverted.
        baseline: digital value of 0 mV.
        zero: digital value in the middle of the converter's range.
        initial: digital value of the first sample, if stated.
        checksum: sum of all samples modulo 65536, if stated.
        lead: description, empty if not stated.
    """

    file: str
    format: int
    frame: int
    skew: int
    offset: int
    step: float
    baseline: int
    zero: int
    initial: int | None
    checksum: int | None
    lead: str


@dataclass(frozen=True)
class Header:
    """A recording in one piece, or the layout of a recording in several: no samples, placeholders for files."""

    fs: float
    samples: int
    signals: tuple[Signal, ...]

    @property
    def leads(self) -> tuple[str, ...]:
        """Names of the L signals."""
        return tuple(signal.lead for signal in self.signals)

    @property
    def files(self) -> list[str]:
        """Names of the signal files."""
        return [group[0].file for group in self.groups if group[0].file != PLACEHOLDER]

    @property
    def groups(self) -> list[tuple[Signal, ...]]:
        """The signals of each signal file; the format has them in a row."""
        return [tuple(group) for _, group in groupby(self.signals, lambda s: (s.file, s.format, s.offset))]


@dataclass(frozen=True)
class SegmentedHeader:
    """A recording in several pieces, each of which has a header of its own: `segments` are names and lengths."""

    fs: float
    samples: int
    signals: int
    segments: tuple[tuple[str, int], ...]


def parse_header(path: Path) -> Header | SegmentedHeader:
    """Read a `.hea` file.

    Args:
        path: the header file.

    Raises:
        BadRecord: the file is missing, is no header of an ECG, contradicts itself or points outside its own folder.
    """
    if file_size(path) > LARGEST_HEADER:
        raise BadRecord(f"{path}: larger than any WFDB header; fetch the recording again")
    with disk_faults_named(path):
        raw = path.read_bytes()
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        text = raw.decode("latin-1")  # Old recorders' µV; any byte has a meaning.
    lines = [line for line in map(str.strip, text.split("\n")) if line and not line.startswith("#")]
    try:
        return _parse(lines)
    except ValueError as error:
        raise BadRecord(f"{path}: no header of an ECG ({error}); fetch the recording again") from None


def file_size(path: Path) -> int:
    """Bytes of a file.

    Raises:
        BadRecord: it is missing, cannot be reached or is none (a folder, a pipe, a device).
    """
    with disk_faults_named(path):
        return regular_size(path)


@contextmanager
def disk_faults_named(path: Path) -> Iterator[None]:
    """Make a bad record of what the disk answers to an attempt to read a file."""
    try:
        yield
    except OSError as error:
        raise BadRecord(f"{path}: cannot be read ({error.strerror}); fetch the recording again") from None


def _parse(lines: Sequence[str]) -> Header | SegmentedHeader:
    if not lines:
        raise ValueError("it is empty")
    record = lines[0].split()
    if len(record) < 4:
        raise ValueError("it states no rate or no length")
    fs, samples, signals = _rate(record[2]), _whole(record[3]), _whole(record[1])
    _, several, segments = record[0].partition("/")
    promised = _whole(segments) if several else signals
    if promised != len(lines) - 1 or promised < 1 or signals < 1:
        raise ValueError(f"it states {promised} {'segments' if several else 'signals'} and lists {len(lines) - 1}")
    if several:
        return _segmented(fs, samples, signals, lines[1:])
    return _single(fs, samples, lines[1:])


def _single(fs: float, samples: int, lines: Sequence[str]) -> Header:
    fields = [line.split(maxsplit=8) for line in lines]
    for place, what in ((7, "a checksum"), (9, "a name")):
        if len({len(each) < place for each in fields}) > 1:
            raise ValueError(f"only some of its signals have {what}")
    signals = tuple(map(_parse_signal, fields))
    layout = {signal.file for signal in signals} == {PLACEHOLDER}
    if samples < 1 and not (layout and samples == 0):
        raise ValueError(f"it states {samples} samples")
    if any(signal.skew >= max(samples, 1) for signal in signals):
        raise ValueError("it skews a signal by more than its length")
    names = [signal.lead.upper() for signal in signals]
    twice = next((lead for lead in TWELVE_LEADS if names.count(lead.upper()) > 1), None)
    if twice:
        raise ValueError(f"lead {twice} is there twice")
    header = Header(fs, samples, signals)
    if len(set(header.files)) < len(header.files):
        raise ValueError("the signals of one file stand apart or disagree about it")
    return header


def _segmented(fs: float, samples: int, signals: int, lines: Sequence[str]) -> SegmentedHeader:
    segments = []
    for line in lines:
        name, length = line.split(maxsplit=1)
        segments.append((_name(name), _whole(length)))
    names = [name for name, _ in segments if name != PLACEHOLDER]
    if len(set(names)) != len(names):
        raise ValueError("a segment is there twice")
    total = sum(length for _, length in segments)
    if total != samples or min(length for _, length in segments) < 0 or samples < 1:
        raise ValueError(f"its segments add up to {total} samples, not {samples}")
    return SegmentedHeader(fs, samples, signals, tuple(segments))


def _parse_signal(fields: Sequence[str]) -> Signal:
    if len(fields) < 2:
        raise ValueError(f"signal {fields[0]!r} without a format")
    step, baseline = _parse_gain(fields[2] if len(fields) > 2 else str(DEFAULT_GAIN))
    zero, initial, checksum = (_whole(fields[i]) if len(fields) > i else None for i in (4, 5, 6))
    return Signal(
        _name(fields[0]),
        *_parse_format(fields[1]),
        step=step,
        baseline=(zero or 0) if baseline is None else baseline,
        zero=zero or 0,
        initial=initial,
        checksum=None if checksum is None else checksum % 65536,
        lead=fields[8].strip() if len(fields) > 8 else "",
    )


@lru_cache(1024)  # A data set repeats a few of these on every line of its thousands of headers.
def _parse_format(text: str) -> tuple[int, int, int, int]:
    form = _FORMAT.fullmatch(text)
    if form is None:
        raise ValueError(f"signal format {text!r}")
    number, frame, skew, offset = form.groups()
    if frame is not None and int(frame) < 1:
        raise ValueError("no samples a frame")
    return int(number), int(frame or 1), int(skew or 0), int(offset or 0)


@lru_cache(1024)
def _parse_gain(text: str) -> tuple[float, int | None]:
    """The millivolts of a digital unit, and the digital value of 0 mV where it is stated."""
    form = _GAIN.fullmatch(text)
    if form is None or not _NUMBER.fullmatch(form[1]):
        raise ValueError(f"gain {text!r}")
    gain, unit = float(form[1]) or DEFAULT_GAIN, form[3] or "mV"  # The format prescribes it for 0, "not calibrated".
    if unit.lower() not in MILLIVOLT:
        raise ValueError(f"the unit {unit!r} is not a voltage: mV, uV, V")
    if not 1e-15 < abs(gain) < 1e15:
        raise ValueError(f"gain {text!r} is absurd")
    return MILLIVOLT[unit.lower()] / gain, None if form[2] is None else _whole(form[2])


def _rate(text: str) -> float:
    number = text.split("/", maxsplit=1)[0]
    if not _NUMBER.fullmatch(number) or not LOWEST_RATE <= float(number) < HIGHEST_RATE:
        raise ValueError(f"rate {text!r}")
    return float(number)


def _whole(text: str) -> int:
    if not _WHOLE.fullmatch(text):
        raise ValueError(f"{text!r} is no whole number")
    return int(text)


@lru_cache(1024)
def _name(text: str) -> str:
    if not _NAME.fullmatch(text):
        raise ValueError(f"names {text!r}, which lies outside its folder")
    return text
