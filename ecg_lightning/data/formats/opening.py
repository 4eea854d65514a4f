"""Which reader serves a file: its suffix tells."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ecg_lightning.data.formats.arrays import NPYFile, NPZFile
from ecg_lightning.data.formats.dicom import DICOMFile
from ecg_lightning.data.formats.edf import EDFFile
from ecg_lightning.data.formats.hdf5 import HDF5File
from ecg_lightning.data.formats.single_file import SingleFile
from ecg_lightning.data.formats.stated import Stated
from ecg_lightning.data.formats.tables import CSVFile, ParquetFile
from ecg_lightning.data.formats.wfdb import StatedWFDBFile
from ecg_lightning.data.record import RecordFile
from ecg_lightning.errors import UserError

WFDB = (".hea", ".mat")
READERS: dict[str, type[SingleFile]] = {
    ".edf": EDFFile,
    ".bdf": EDFFile,
    ".dcm": DICOMFile,
    ".npy": NPYFile,
    ".npz": NPZFile,
    ".h5": HDF5File,
    ".hdf5": HDF5File,
    ".csv": CSVFile,
    ".csv.gz": CSVFile,
    ".parquet": ParquetFile,
}
SUFFIXES = (*WFDB, *READERS)
"""Of all files that are read; a CinC `.mat` needs its `.hea`."""


def suffix_of(path: Path) -> str | None:
    """Which of `SUFFIXES` a file's name ends in, whatever its case; None where it is none."""
    return next((suffix for suffix in SUFFIXES if path.name.lower().endswith(suffix)), None)


def open_recording(
    path: Path,
    record_id: str,
    patient: str,
    fold: int | None = None,
    annotation: Mapping[str, Any] | None = None,
    *,
    fs: float | None = None,
    leads: Sequence[str] | None = None,
    unit: str | None = None,
) -> RecordFile:
    """The recording in a file of any known format; no file is touched before its layout is asked for.

    Args:
        path: the file; of WFDB records the header or the CinC `.mat`.
        record_id: see `RecordFile`.
        patient: see `RecordFile`.
        fold: see `RecordFile`.
        annotation: see `RecordFile`.
        fs: its rate in Hz where the file does not say it; where it does, both must agree.
        leads: names of its leads in the file's order, likewise.
        unit: `mV`, `uV` or `V`, likewise.

    Raises:
        UserError: the suffix is not known.
    """
    suffix = suffix_of(path)
    if suffix is None:
        raise UserError(f"{path}: not a format that is read here; known are {' '.join(SUFFIXES)}")
    stated = Stated(fs, None if leads is None else tuple(leads), unit)
    # Told beside the recording, so that a store made under another rate, unit or order of leads is not taken for it.
    told = {"stated": stated.told()} if stated.told() else {}
    rest = (record_id, patient, fold, {**(annotation or {}), **told}, stated)
    if suffix in WFDB:
        return StatedWFDBFile(path.with_suffix(""), *rest)
    return READERS[suffix](path, *rest)
