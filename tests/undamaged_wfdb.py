"""Valid WFDB recordings of every kind, most of them written byte by byte, and what becomes of damaged ones."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import wfdb
from damage import NUMBERS, PATHS, to_field, to_text
from numpy.typing import NDArray
from undamaged import FS, LEADS, SAMPLES, Case, Change, is_rescaled, millivolts

from ecg_lightning.data.mitbih import AAMI, MITBIHFile
from ecg_lightning.data.record import RecordFile
from ecg_lightning.data.wfdb_files import WFDBFile

GAIN = {80: 60, 310: 200, 311: 200, 508: 60, 8: 200}
RESOLUTION = {8: 12, 16: 16, 24: 24, 32: 32, 61: 16, 80: 8, 160: 16, 212: 12, 310: 10, 311: 10,
              508: 8, 516: 16, 524: 24}  # fmt: skip
BY_WFDB = (16, 212, 24, 32, 80, 508, 516, 524)


def digits(fmt: int) -> NDArray[np.int64]:
    """(T, L)."""
    return np.rint(millivolts() * GAIN.get(fmt, 1000)).astype(np.int64)


def pack(fmt: int, values: NDArray[np.int64]) -> bytes:
    """The formats that wfdb does not write, sample by sample as the specification words them."""
    flat = values.reshape(-1)
    if fmt == 8:
        return np.diff(values, axis=0, prepend=values[:1]).astype("i1").tobytes()
    if fmt == 61:
        return flat.astype(">i2").tobytes()
    if fmt == 160:
        return (flat + 2**15).astype("<u2").tobytes()
    words = bytearray()
    for a, b, c in (flat % 1024).reshape(-1, 3).tolist():
        if fmt == 311:
            words += (a | b << 10 | c << 20).to_bytes(4, "little")
        else:
            words += (a << 1 | (c & 31) << 11).to_bytes(2, "little") + (b << 1 | c >> 5 << 11).to_bytes(2, "little")
    return bytes(words)


def header(fmt: int, values: NDArray[np.int64], gain: int, file: str, name: str = "r", skip: str = "") -> bytes:
    lines = [f"{name} {values.shape[1]} {FS} {len(values)}"]
    for lead, row in zip(LEADS, values.T.tolist(), strict=False):
        checksum = (sum(row) + 2**15) % 2**16 - 2**15
        lines.append(f"{file} {fmt}{skip} {gain}(0)/mV {RESOLUTION[fmt]} 0 {row[0]} {checksum} 0 {lead}")
    return ("\n".join(lines) + "\n").encode()


def wfdb_record(fmt: int, name: str = "r", part: slice = slice(None)) -> dict[str, bytes]:
    """Header and signal file."""
    values = digits(fmt)[part]
    if fmt not in BY_WFDB:
        raw = pack(fmt, values)
    else:
        with TemporaryDirectory() as folder:
            wfdb.wrsamp("r", fs=FS, units=["mV"] * 3, sig_name=list(LEADS), d_signal=values, fmt=[str(fmt)] * 3,
                        adc_gain=[1000.0] * 3, baseline=[0] * 3, write_dir=folder)  # fmt: skip
            raw = Path(folder, "r.dat").read_bytes()
    return {f"{name}.hea": header(fmt, values, GAIN.get(fmt, 1000), f"{name}.dat", name), f"{name}.dat": raw}


HEADER = r".*\.hea"
FORMATS = ("0", "1", "15", "17", "16", "212", "61", "160", "80", "8", "310", "311", "24", "32", "508", "516", "524",
           "99999", "16x0", "16x2", "16x1000000", "16:1", "16:1000000000", "16:-1", "16+1", "16+1000000000000", "16+-5",
           "16x", "16x1:0+0", "", "NaN")  # fmt: skip
GAINS = ("1e-300/mV", "1e300/mV", "inf/mV", "nan/mV", "0/mV", "-200/mV", "1e-9/mV", "1e9/mV", "200/V", "200/uV",
         "200/mmHg", "200/", "/mV", "200(1e9)/mV", "200(99999999999999999999)/mV", "200(-5)", "(5)", "1e5000/mV",
         "200/\u00b5V", "+-1/mV")  # fmt: skip
OF_HEADERS = [
    *to_text(HEADER),
    *to_field("number of signals", HEADER, r"^\w+ (\d+) 250", NUMBERS),
    *to_field("rate", HEADER, r"^\w+ \d+ (250)", NUMBERS),
    *to_field("number of samples", HEADER, r"^\w+ \d+ 250 (\d+)", [*NUMBERS, "749", "751", "375"]),
    *to_field("signal file", HEADER, r"^(\w+\.\w+) \d", PATHS),
    *to_field("format", HEADER, r"^\w+\.\w+ (\S+)", FORMATS),
    *to_field("gain", HEADER, r"^\w+\.\w+ \S+ (\S+)", GAINS),
    *to_field("checksum", HEADER, r"(\S+) 0 \w+$", NUMBERS),
    *to_field("first value", HEADER, r"(\S+) \S+ 0 \w+$", NUMBERS),
    *to_field("lead", HEADER, r" 0 (\w+)$", ["", "I", "V1", "V9", "µ", "\u202e", "#", "a" * 5000]),
]


def wfdb_unnoticed(change: Change) -> str | None:
    """A header says only once how digits become millivolts, at what rate, and what the leads are called."""
    if change.file.endswith(".hea") and is_rescaled(change):
        return "a gain, baseline, unit, rate or name has changed, the digits have not"
    return None


def wide_unnoticed(gain: int) -> Callable[[Change], str | None]:
    def unnoticed(change: Change) -> str | None:
        if change.file.endswith(".dat"):
            difference = np.rint((change.read.signal.astype(np.float64) - change.was.signal) * gain)
            if not np.any(difference % 2**16):
                return "the checksum sees the lower 16 bits of a sample alone"
        return wfdb_unnoticed(change)

    return unnoticed


def of_wfdb(folder: Path, name: str) -> RecordFile:
    return WFDBFile(folder / "r", name, name)


def of_mitbih(folder: Path, name: str) -> RecordFile:
    return MITBIHFile(folder / "r", name, name)


def wfdb_case(fmt: int) -> Case:
    unnoticed = wide_unnoticed(GAIN.get(fmt, 1000)) if RESOLUTION[fmt] > 16 else wfdb_unnoticed
    return Case(f"wfdb format {fmt}", wfdb_record(fmt), of_wfdb, OF_HEADERS, unnoticed)


SEGMENT_LINE = r"^(\w+) \d+$"
OF_SEGMENTS = [
    *to_field("segment", r"r\.hea", SEGMENT_LINE, [*PATHS, "r", "a", "b"]),
    *to_field("segment's length", r"r\.hea", r"^[ab] (\d+)$", [*NUMBERS, "299", "301"]),
    *to_field("number of segments", r"r\.hea", r"^r/(\d+)", NUMBERS),
    *to_field("number of samples", r"r\.hea", r"^r/\d+ \d+ 250 (\d+)", NUMBERS),
]


def segments_unnoticed(change: Change) -> str | None:
    was, read = change.was.signal, change.read.signal
    if was.shape != read.shape:
        return None
    if change.file == "r.hea" and np.array_equal(np.roll(was, -300, axis=1), read):
        return "the segments come in another order"
    parts = [np.split(signal, [300], axis=1) for signal in (was, read)]
    changes = [
        replace(change, was=replace(change.was, signal=one), read=replace(change.read, signal=other))
        for one, other in zip(*parts, strict=True)
    ]
    return wfdb_unnoticed(changes[0]) and wfdb_unnoticed(changes[1])


def segments_case(fmt: int, other: int, variable: bool) -> Case:
    first, second = wfdb_record(fmt, "a", slice(0, 300)), wfdb_record(other, "b", slice(300, None))
    layout = "".join(f"~ 0 200/mV 12 0 0 0 0 {lead}\n" for lead in LEADS)
    lines = ["layout 0"] * variable + ["a 300", "b 450"]
    whole = "\n".join([f"r/{len(lines)} 3 {FS} {SAMPLES}", *lines]) + "\n"
    files = {"r.hea": whole.encode(), **first, **second}
    if variable:
        files["layout.hea"] = f"layout 3 {FS} 0\n{layout}".encode()
    kind = "variable" if variable else "fixed"
    return Case(f"wfdb in segments, {kind}", files, of_wfdb, [*OF_HEADERS[:8], *OF_SEGMENTS], segments_unnoticed)


def mitbih_unnoticed(change: Change) -> str | None:
    if change.file.endswith(".atr") and np.array_equal(change.was.signal, change.read.signal):
        sample, symbol = change.read.annotation["sample"], change.read.annotation["symbol"]
        assert len(sample) == len(symbol) and set(symbol) <= set("".join(AAMI.values()))
        assert sample == sorted(sample) and all(0 <= each < SAMPLES for each in sample)
        return "an annotation says what it says once"
    return wfdb_unnoticed(change)


def mitbih_case() -> Case:
    """Two leads would do; the annotations are what matters."""
    with TemporaryDirectory() as folder:
        beats = np.arange(75, SAMPLES, 75)
        symbols = [*"+NVAFLRj/QE"][: len(beats)]
        notes = ["(N\0"] + [""] * (len(beats) - 1)
        wfdb.wrann("r", "atr", beats, symbols, aux_note=notes, write_dir=folder)
        marks = Path(folder, "r.atr").read_bytes()
    files = {**wfdb_record(212), "r.atr": marks}
    return Case("mitbih", files, of_mitbih, OF_HEADERS, mitbih_unnoticed)


WFDB_CASES = [
    *map(wfdb_case, (16, 212, 8, 24, 32, 61, 80, 160, 310, 311, 508, 516, 524)),
    segments_case(16, 212, variable=False),
    segments_case(16, 80, variable=True),
    mitbih_case(),
]
