"""Valid recordings in the other formats that are read, and what becomes of damaged ones.

Few of these formats can tell that a sample has changed. Then what is read is at least what the damaged file says by a
reader that shares nothing with ours.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from damage import NUMBERS, Damage, to_field, to_text
from numpy.typing import NDArray
from recorders import FORMATS
from undamaged import FS, LEADS, Case, Change, is_rescaled
from undamaged_wfdb import OF_HEADERS, digits, header, wfdb_unnoticed

from ecg_lightning.data.cinc_file import CinCFile
from ecg_lightning.data.formats.opening import open_recording
from ecg_lightning.data.record import RecordFile

Independent = Callable[[bytes], dict[str, NDArray[np.float64]]]
"""From a file's bytes to its leads, mV."""


def in_npy(content: bytes) -> dict[str, NDArray[np.float64]]:
    array = np.load(io.BytesIO(content))
    rows = array if array.shape[0] == len(LEADS) else array.T
    return dict(zip(LEADS, rows.astype(np.float64) / 1000, strict=True))


def in_csv(content: bytes) -> dict[str, NDArray[np.float64]]:
    names, *rows = csv.reader(io.StringIO(content.decode()))
    table = np.array([[float(cell or "nan") for cell in row] for row in rows if row]).T
    return {name.split()[0]: column / 1000 for name, column in zip(names, table, strict=True)}


def in_edf(content: bytes) -> dict[str, NDArray[np.float64]]:
    """Sixteen-bit samples, by the standard's table of fields."""
    records, signals = int(content[236:244]), int(content[252:256])
    widths = {
        "label": 16,
        "transducer": 80,
        "unit": 8,
        "low": 8,
        "high": 8,
        "least": 8,
        "most": 8,
        "filter": 80,
        "n": 8,
    }
    fields, at = {}, 256
    for name, width in widths.items():
        fields[name] = [
            content[at + i * width : at + (i + 1) * width].decode("latin-1").strip() for i in range(signals)
        ]
        at += signals * width
    size = 3 if content[:1] == b"\xff" else 2
    per_record = np.array([int(n) for n in fields["n"]])
    raw = np.frombuffer(content, np.uint8, offset=256 * (1 + signals)).reshape(records, -1, size)
    wide = np.zeros((*raw.shape[:2], 4), np.uint8)
    wide[..., 4 - size :] = raw
    values = wide.view("<i4")[..., 0] >> 8 * (4 - size)
    leads = {}
    for i, (label, begin) in enumerate(zip(fields["label"], np.cumsum(per_record) - per_record, strict=True)):
        if label.startswith("ECG"):
            low, high, least, most = (float(fields[name][i]) for name in ("low", "high", "least", "most"))
            part = values[:, begin : begin + per_record[i]].reshape(-1)
            leads[label.split()[-1]] = ((part - least) / (most - least) * (high - low) + low) / 1000
    return leads


def in_dicom(content: bytes) -> dict[str, NDArray[np.float64]]:
    import pydicom

    dataset = pydicom.dcmread(io.BytesIO(content), force=True)
    channels = dataset.WaveformSequence[0].ChannelDefinitionSequence
    sources = [channel.get("ChannelSourceSequence", [{}])[0] for channel in channels]
    names = [str(source.get("CodeMeaning", "")) for source in sources]
    return {
        name.replace("Lead", "").strip(): row / 1000
        for name, row in zip(names, dataset.waveform_array(0).T, strict=True)
    }


def in_parquet(content: bytes) -> dict[str, NDArray[np.float64]]:
    from pyarrow import parquet

    table = parquet.read_table(io.BytesIO(content))
    return {name.split()[0]: table.column(name).to_numpy() / 1000 for name in table.column_names}


def unnoticed_by(independent: Independent | None) -> Callable[[Change], str | None]:
    def unnoticed(change: Change) -> str | None:
        if is_rescaled(change):
            return "a gain, unit, rate or name has changed, the samples have not"
        was = dict(zip(change.was.leads, change.was.signal, strict=True))
        kept = [
            np.array_equal(was.get(lead, ()), row)
            for lead, row in zip(change.read.leads, change.read.signal, strict=True)
        ]
        if len(kept) < len(was) and all(kept):
            return "a name has changed, and what it called is no lead any more"
        if independent is None:
            return None
        truth = independent(change.content)
        for lead, row in zip(change.read.leads, change.read.signal, strict=True):
            if not np.allclose(row, truth[lead], rtol=1e-5, atol=1e-6, equal_nan=True):
                return None
        return "the format has no checksum, and this is what the file says"

    return unnoticed


BY = {"edf": in_edf, "bdf": in_edf, "dicom": in_dicom, "npy": in_npy, "npy, samples first": in_npy, "csv": in_csv,
      "parquet": in_parquet}  # fmt: skip
"""The others carry a checksum of the samples."""

OWN: dict[str, list[Damage]] = {
    "edf": to_field("number of records", r".*", r"\A[\s\S]{236}(.{8})", [f"{number:8.8}" for number in NUMBERS]),
    "csv": to_text(r".*"),
    "npy": to_field("shape", r".*", r"\(3, (750)\)", NUMBERS),
}


def format_case(name: str) -> Case:
    file, write, complete = FORMATS[name]
    with TemporaryDirectory() as folder:
        write(Path(folder) / file, np.ascontiguousarray(digits(16).T.astype(np.int16)), FS, LEADS)
        files = {path.name: path.read_bytes() for path in Path(folder).iterdir()}
    stated = {} if complete else {"fs": FS, "leads": LEADS, "unit": "uV"}

    def reader(folder: Path, record: str) -> RecordFile:
        return open_recording(folder / file, record, record, **stated)

    if name == "wfdb":
        return Case("wfdb by its header", files, reader, OF_HEADERS, wfdb_unnoticed)
    return Case(name, files, reader, OWN.get(name, ()), unnoticed_by(BY.get(name)), rounds=20)


def challenge_unnoticed(change: Change) -> str | None:
    if change.file.endswith(".hea") and np.array_equal(change.was.signal, change.read.signal):
        return "a comment says what it says once"
    return wfdb_unnoticed(change)


def challenge_case() -> Case:
    """As the CinC challenges have it: a MATLAB file whose first 24 bytes are skipped, and comments."""
    comments = b"# Age: 74\n# Sex: Male\n# Dx: 59118001,426783006\n"
    preamble = b"\0\0\0\0" + bytes(16) + b"val\0"
    samples = preamble + digits(16).astype("<i2").tobytes()
    files = {"r.hea": header(16, digits(16), 1000, "r.mat", skip="+24") + comments, "r.mat": samples}

    def reader(folder: Path, record: str) -> RecordFile:
        return CinCFile(folder / "r", record, record, population="g12ec")

    return Case("cinc", files, reader, OF_HEADERS, challenge_unnoticed)


FORMAT_CASES = [*map(format_case, FORMATS), challenge_case()]
