"""A small valid recording for every reader, written without the reader's help, and how its files may be damaged.

`unnoticed` is the list of exceptions: the ways in which a damaged recording may be read as another one, because the
format says nothing twice that would tell. It is given the damaged file and both recordings, and names the reason.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import wfdb
from damage import NUMBERS, PATHS, Damage, Files, to_field, to_text
from numpy.typing import NDArray

from ecg_lightning.data.mitbih import AAMI, MITBIHFile
from ecg_lightning.data.record import Record, RecordFile
from ecg_lightning.data.wfdb_files import WFDBFile

FS, SAMPLES = 250, 750
LEADS = ("I", "II", "V1")


@dataclass(frozen=True)
class Case:
    """A valid recording and its reader.

    Attributes:
        name: of the reader and format.
        files: the recording.
        reader: opens the recording in a folder, under a name.
        damages: those that this format alone can suffer.
        unnoticed: see above.
    """

    name: str
    files: Files
    reader: Callable[[Path, str], RecordFile]
    damages: Sequence[Damage] = field(default=(), repr=False)
    unnoticed: Callable[[str, Record, Record], str | None] = lambda *_: None


@cache
def millivolts() -> NDArray[np.float64]:
    """Three seconds of three leads, (T, L)."""
    t = np.arange(SAMPLES) / FS
    beat = np.exp(-(((t % 0.8 - 0.3) / 0.02) ** 2))
    noise = np.random.default_rng(0).normal(0, 0.01, (SAMPLES, len(LEADS)))
    return np.outer(beat, [0.7, 1.1, -0.8]) + 0.1 * np.sin(2 * np.pi * t)[:, None] + noise


# --- WFDB -------------------------------------------------------------------------------------------------------

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


def wfdb_unnoticed(file: str, was: Record, read: Record) -> str | None:
    """A header says only once how digits become millivolts, at what rate, and what the leads are called."""
    if file.endswith(".hea") and was.signal.shape == read.signal.shape:
        for one, other in zip(was.signal.astype(np.float64), read.signal.astype(np.float64), strict=True):
            slope, intercept = np.polyfit(one, other, 1)
            if not np.allclose(other, slope * one + intercept, atol=1e-4 * np.ptp(other)):
                return None
        return "a gain, baseline, unit, rate or name has changed, the digits have not"
    return None


def wide_unnoticed(gain: int) -> Callable[[str, Record, Record], str | None]:
    def unnoticed(file: str, was: Record, read: Record) -> str | None:
        if file.endswith(".dat") and (was.fs, was.leads) == (read.fs, read.leads):
            change = np.rint((read.signal.astype(np.float64) - was.signal) * gain)
            if not np.any(change % 2**16):
                return "the checksum sees the lower 16 bits of a sample alone"
        return wfdb_unnoticed(file, was, read)

    return unnoticed


def of_wfdb(folder: Path, name: str) -> RecordFile:
    return WFDBFile(folder / "r", name, name)


def of_mitbih(folder: Path, name: str) -> RecordFile:
    return MITBIHFile(folder / "r", name, name)


def wfdb_case(fmt: int) -> Case:
    unnoticed = wide_unnoticed(GAIN.get(fmt, 1000)) if RESOLUTION[fmt] > 16 else wfdb_unnoticed
    return Case(f"wfdb format {fmt}", wfdb_record(fmt), of_wfdb, OF_HEADERS, unnoticed)


def cinc_case() -> Case:
    """As the CinC challenges have it: a MATLAB file whose first 24 bytes are skipped, and comments."""
    comments = b"# Age: 74\n# Sex: Male\n# Dx: 59118001,426783006\n"
    text = header(16, digits(16), 1000, "r.mat", skip="+24") + comments
    preamble = b"\0\0\0\0" + bytes(16) + b"val\0"
    files = {"r.hea": text, "r.mat": preamble + digits(16).astype("<i2").tobytes()}
    return Case("wfdb with .mat", files, of_wfdb, OF_HEADERS, wfdb_unnoticed)


SEGMENT_LINE = r"^(\w+) \d+$"
OF_SEGMENTS = [
    *to_field("segment", r"r\.hea", SEGMENT_LINE, [*PATHS, "r", "a", "b"]),
    *to_field("segment's length", r"r\.hea", r"^[ab] (\d+)$", [*NUMBERS, "299", "301"]),
    *to_field("number of segments", r"r\.hea", r"^r/(\d+)", NUMBERS),
    *to_field("number of samples", r"r\.hea", r"^r/\d+ \d+ 250 (\d+)", NUMBERS),
]


def segments_unnoticed(file: str, was: Record, read: Record) -> str | None:
    if file == "r.hea" and was.signal.shape == read.signal.shape:
        blocks = {part.tobytes() for part in np.split(was.signal, [300], axis=1)}
        for at in (300, 450):
            if {part.tobytes() for part in np.split(read.signal, [at], axis=1)} == blocks:
                return "the segments come in another order"
    if was.signal.shape != read.signal.shape:
        return None
    parts = [
        [Record(part, record.fs, record.leads) for part in np.split(record.signal, [300], axis=1)]
        for record in (was, read)
    ]
    reasons = [wfdb_unnoticed(file, one, other) for one, other in zip(*parts, strict=True)]
    return reasons[0] if all(reasons) else None


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


def mitbih_unnoticed(file: str, was: Record, read: Record) -> str | None:
    if file.endswith(".atr") and np.array_equal(was.signal, read.signal):
        beats = read.annotation
        assert len(beats["sample"]) == len(beats["symbol"])
        assert all(0 <= sample < SAMPLES for sample in beats["sample"])
        assert beats["sample"] == sorted(beats["sample"])
        assert set(beats["symbol"]) <= set("".join(AAMI.values()))
        return "an annotation says what it says once"
    return wfdb_unnoticed(file, was, read)


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


CASES = [
    *map(wfdb_case, (16, 212, 8, 24, 32, 61, 80, 160, 310, 311, 508, 516, 524)),
    cinc_case(),
    segments_case(16, 212, variable=False),
    segments_case(16, 80, variable=True),
    mitbih_case(),
]
