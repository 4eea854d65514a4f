"""Recordings in WFDB files.

Formats 16 and 212 in one signal file, which is how PTB-XL, MIT-BIH and the CinC challenges store theirs, are decoded
here with numpy, a PTB-XL record some twenty times faster than by wfdb; wfdb reads every other case. Both give the same
samples.

Format: https://wfdb.io/spec/header-files.html and https://wfdb.io/spec/signal-files.html
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cache, cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ecg_lightning.data.record import BadRecord, Layout, Record

DIRECT_FORMATS = (16, 212)
INVALID_SAMPLE = {16: -32768, 212: -2048}
MILLIVOLT = {"mv": 1.0, "uv": 1e-3, "µv": 1e-3, "v": 1e3}

_SIGNAL_FORMAT = re.compile(r"(?P<format>\d+)(?P<frames>x\d+)?(?P<skew>:\d+)?(?:\+(?P<offset>\d+))?")
_GAIN = re.compile(r"(?P<gain>[-+.\deE]+)(?:\((?P<baseline>-?\d+)\))?(?:/(?P<units>\S+))?")


class Signal(NamedTuple):
    """One signal line of a header."""

    file: str
    format: int
    offset: int
    gain: float
    baseline: int
    units: str
    checksum: int | None
    lead: str
    plain: bool
    """One sample a frame and no skew: what the direct decoder covers."""


@dataclass(frozen=True)
class Header:
    """The part of a single-segment WFDB header that a signal is decoded with."""

    fs: float
    samples: int
    signals: tuple[Signal, ...]

    @property
    def direct(self) -> bool:
        """Whether the direct decoder covers it: formats 16 and 212, one sample a frame, one file."""
        first = self.signals[0]
        return first.format in DIRECT_FORMATS and all(
            s.plain and (s.file, s.format, s.offset) == (first.file, first.format, first.offset) for s in self.signals
        )


def parse_header(path: Path) -> Header | None:
    """Read a `.hea` file.

    Args:
        path: the header file.

    Returns:
        The header, or None where it is of a kind left to wfdb (several segments, length not stated).

    Raises:
        BadRecord: the file is missing, is no WFDB header or points outside its own folder.
    """
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise BadRecord(f"{path}: cannot be read ({error.strerror}); fetch the recording again") from None
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    try:
        first = lines[0].split()
        if "/" in first[0] or len(first) < 4:
            return None
        fs = float(first[2].split("/")[0])
        samples = int(first[3])
        signals = tuple(_parse_signal(line) for line in lines[1 : 1 + int(first[1])])
    except (IndexError, ValueError) as error:
        raise BadRecord(f"{path}: not a WFDB header ({error}); fetch the recording again") from None
    if not signals or len(signals) != int(first[1]) or not 0.1 < fs < 1e5 or samples < 1:
        raise BadRecord(f"{path}: the header states {first[1]} signals of {samples} samples at {fs} Hz and lists "
                        f"{len(signals)}; fetch the recording again")  # fmt: skip
    for file in {signal.file for signal in signals}:
        if Path(file).name != file:
            raise BadRecord(f"{path}: names the signal file {file!r}, which lies outside its folder")
    return Header(fs, samples, signals)


def _parse_signal(line: str) -> Signal:
    fields = line.split(maxsplit=8)
    fmt, offset, plain = _parse_format(fields[1])
    gain, baseline, units = _parse_gain(fields[2]) if len(fields) > 2 else (0.0, None, None)
    zero = int(fields[4]) if len(fields) > 4 else 0
    return Signal(
        file=fields[0],
        format=fmt,
        offset=offset,
        gain=gain or 200.0,
        baseline=zero if baseline is None else baseline,
        units=units or "mV",
        checksum=int(fields[6]) % 65536 if len(fields) > 6 else None,
        lead=fields[8].strip() if len(fields) > 8 else "",
        plain=plain,
    )


@cache  # A data set repeats a few of these on every line of its thousands of headers.
def _parse_format(text: str) -> tuple[int, int, bool]:
    form = _SIGNAL_FORMAT.fullmatch(text)
    if form is None:
        raise ValueError(f"signal format {text!r}")
    return (
        int(form["format"]),
        int(form["offset"] or 0),
        form["frames"] in (None, "x1") and form["skew"] in (None, ":0"),
    )


@cache
def _parse_gain(text: str) -> tuple[float, int | None, str | None]:
    gain = _GAIN.fullmatch(text)
    if gain is None:
        raise ValueError(f"gain {text!r}")
    return float(gain["gain"]), int(gain["baseline"]) if gain["baseline"] else None, gain["units"]


def decode(raw: NDArray[np.uint8], fmt: int, channels: int, samples: int) -> NDArray[np.int16]:
    """Unpack format 16 or 212.

    Args:
        raw: the bytes after the offset.
        fmt: 16 or 212.
        channels: number of interleaved signals.
        samples: samples per signal.

    Returns:
        (samples, channels) int16, the digital values.
    """
    count = channels * samples
    if fmt == 16:
        return raw[: 2 * count].view("<i2").astype(np.int16, copy=False).reshape(samples, channels)
    padded = np.zeros(-(-count // 2) * 3, np.uint8)
    needed = packed_bytes(212, count)
    padded[:needed] = raw[:needed]
    triplets = padded.reshape(-1, 3).astype(np.int16)
    values = np.empty((len(triplets), 2), np.int16)
    # Two 12-bit two's complements in three bytes; the shift up and back down extends the sign.
    values[:, 0] = ((triplets[:, 1] & 0x0F) << 12 | triplets[:, 0] << 4) >> 4
    values[:, 1] = ((triplets[:, 1] & 0xF0) << 8 | triplets[:, 2] << 4) >> 4
    return values.reshape(-1)[:count].reshape(samples, channels)


def packed_bytes(fmt: int, count: int) -> int:
    """How many bytes `count` samples take."""
    return 2 * count if fmt == 16 else -(-3 * count // 2)


@dataclass(frozen=True)
class WFDBFile:
    """A recording in WFDB files (a `RecordFile`).

    Attributes:
        path: the header's path without `.hea`.
        record_id: see `RecordFile`.
        patient: see `RecordFile`.
        fold: see `RecordFile`.
        annotation: what the data set's tables say of it.
    """

    path: Path
    record_id: str
    patient: str
    fold: int | None = None
    annotation: Mapping[str, Any] = field(default_factory=dict)

    @cached_property
    def _header(self) -> Header | None:
        return parse_header(self.path.with_name(self.path.name + ".hea"))

    def paths(self) -> list[Path]:
        """Header and signal file, which lies in a `.mat` where it came with the CinC challenges."""
        return [self.path.with_name(self.path.name + suffix) for suffix in (".hea", ".dat", ".mat")]

    def layout(self) -> Layout:
        """See `RecordFile`; checks a directly decoded file's size too."""
        header = self._header
        if header is not None and header.direct:
            self._check_size(header)
            return Layout(header.fs, tuple(s.lead for s in header.signals), header.samples)
        record = self._by_wfdb("rdheader", rd_segments=True)
        if not record.sig_len or not record.sig_name:
            raise BadRecord(f"{self.path}.hea: states no length or no signals; fetch the recording again")
        return Layout(float(record.fs), tuple(record.sig_name), int(record.sig_len))

    def read(self) -> Record:
        """See `RecordFile`."""
        header = self._header
        if header is None or not header.direct:
            self._verify_by_wfdb()
            record = self._by_wfdb("rdrecord")
            units = [_to_millivolt(unit, self.path) for unit in record.units]
            return self._record(record.p_signal.T * np.array(units)[:, None], float(record.fs), tuple(record.sig_name))
        digital = self._decode(header)
        gain = np.array([_to_millivolt(s.units, self.path) / s.gain for s in header.signals])
        signal = digital.T.astype(np.float64, order="C")
        signal[signal == INVALID_SAMPLE[header.signals[0].format]] = np.nan
        signal -= np.array([[s.baseline] for s in header.signals])
        signal *= gain[:, None]
        return self._record(signal, header.fs, tuple(s.lead for s in header.signals))

    def _record(self, signal: NDArray[np.float64], fs: float, leads: tuple[str, ...]) -> Record:
        return Record(signal.astype(np.float32), fs, leads, self.annotation)

    def _decode(self, header: Header) -> NDArray[np.int16]:
        first = header.signals[0]
        self._check_size(header)
        raw = np.fromfile(self.path.with_name(first.file), np.uint8, offset=first.offset)
        digital = decode(raw, first.format, len(header.signals), header.samples)
        sums = digital.sum(axis=0, dtype=np.int64) % 65536
        for signal, total in zip(header.signals, sums, strict=True):
            self._compare(signal.file, signal.lead, signal.checksum, int(total))
        return digital

    def _verify_by_wfdb(self) -> None:
        """Compare the checksums with the samples as they are stored, every one of every frame, without skew."""
        header = self._by_wfdb("rdheader")
        for name, samples in zip(getattr(header, "seg_name", ()), getattr(header, "seg_len", ()), strict=True):
            if samples and name != "~":  # neither a layout nor a gap
                replace(self, path=self.path.with_name(name)).read()
        told = getattr(header, "checksum", None)
        if not told:
            return
        frames = any(count and count > 1 for count in header.samps_per_frame)
        record = self._by_wfdb("rdrecord", physical=False, smooth_frames=not frames, ignore_skew=True)
        stored = record.e_d_signal if frames else record.d_signal
        if stored is None:
            raise BadRecord(f"{self.path}.hea: wfdb finds no signal in it; fetch the recording again")
        for file, lead, checksum, digital in zip(
            header.file_name, header.sig_name, told, stored if frames else stored.T, strict=True
        ):
            total = int(np.asarray(digital, np.int64).sum()) % 65536
            self._compare(file, lead, None if checksum is None else checksum % 65536, total)

    def _compare(self, file: str, lead: str, told: int | None, total: int) -> None:
        if told is not None and told != total:
            raise BadRecord(
                f"{self.path.with_name(file)}: the samples of lead {lead} add up to {total}, the header's checksum "
                f"says {told}; header and data disagree, fetch the recording again"
            )

    def _check_size(self, header: Header) -> None:
        first = header.signals[0]
        data = self.path.with_name(first.file)
        try:
            size = data.stat().st_size - first.offset
        except OSError as error:
            raise BadRecord(f"{data}: cannot be read ({error.strerror}); fetch the recording again") from None
        expected = packed_bytes(first.format, header.samples * len(header.signals))
        if size != expected:
            fault = "is truncated" if size < expected else "and its header disagree"
            raise BadRecord(
                f"{data} {fault}: {max(size, 0)} bytes of samples, the header promises {expected} "
                f"({header.samples} samples of {len(header.signals)} leads); fetch the recording again"
            )

    def _by_wfdb(self, call: str, **options: Any) -> Any:
        import wfdb

        try:
            return getattr(wfdb, call)(str(self.path), **options)
        except Exception as error:  # wfdb raises whatever its parsing ran into
            raise BadRecord(f"{self.path}.hea: wfdb cannot read it ({error}); fetch the recording again") from error


def _to_millivolt(units: str, path: Path) -> float:
    try:
        return MILLIVOLT[units.lower()]
    except KeyError:
        raise BadRecord(f"{path}.hea: the unit {units!r} is not a voltage (mV, uV, V)") from None
