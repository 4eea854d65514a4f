"""Writers of every format of recordings, each by a library of its own; and how each is written and read back."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import edfio
import h5py
import numpy as np
import pandas as pd
import wfdb
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, TwelveLeadECGWaveformStorage


def write_edf(
    path: Path, digits: np.ndarray, fs: float, leads: tuple[str, ...], unit: str = "uV", **others: Any
) -> None:
    """`others`: label of a further signal to (samples, rate, unit)."""
    Kind, EDF = (edfio.BdfSignal, edfio.Bdf) if path.suffix == ".bdf" else (edfio.EdfSignal, edfio.Edf)
    limit = 2**15
    signals = [
        Kind.from_digital(row, fs, label=f"ECG {lead}", physical_dimension=unit, physical_range=(-limit, limit - 1),
                          digital_range=(-limit, limit - 1))
        for row, lead in zip(digits.astype(np.int32 if path.suffix == ".bdf" else np.int16), leads, strict=True)
    ]  # fmt: skip
    signals += [
        Kind(np.asarray(x, float), rate, label=label, physical_dimension=u) for label, (x, rate, u) in others.items()
    ]
    EDF(signals, annotations=[edfio.EdfAnnotation(0.5, None, "start of rhythm strip")]).write(path)


def coded(value: str, scheme: str, meaning: str) -> Dataset:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, scheme, meaning
    return item


def multiplex(digits: np.ndarray, fs: float, leads: tuple[str, ...], unit: str = "uV", **each: Any) -> Dataset:
    """One group of a DICOM waveform, channel values 1 `unit` a digit unless `each` says otherwise."""
    group = Dataset()
    group.WaveformOriginality, group.SamplingFrequency = "ORIGINAL", fs
    group.NumberOfWaveformChannels, group.NumberOfWaveformSamples = digits.shape
    group.WaveformBitsAllocated, group.WaveformSampleInterpretation = 16, "SS"
    group.WaveformData = digits.T.astype("<i2").tobytes()
    group["WaveformData"].VR = "OW"
    group.ChannelDefinitionSequence = []
    for lead in leads:
        channel = Dataset()
        channel.ChannelSourceSequence = [coded("99", "99LOCAL", f"Lead {lead}")]
        channel.ChannelSensitivity, channel.ChannelSensitivityCorrectionFactor, channel.ChannelBaseline = 1, 1, 0
        channel.ChannelSensitivityUnitsSequence = [coded(unit, "UCUM", "a unit")]
        for key, value in each.items():
            setattr(channel, key, value)
        group.ChannelDefinitionSequence.append(channel)
    return group


def save_dicom(path: Path, *groups: Dataset, syntax: str = ExplicitVRLittleEndian) -> None:
    dataset = Dataset()
    dataset.SOPClassUID, dataset.SOPInstanceUID = TwelveLeadECGWaveformStorage, "1.2.3"
    dataset.WaveformSequence = list(groups)
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.save_as(path, enforce_file_format=True)


def save_hdf5(path: Path, digits: np.ndarray, **attributes: Any) -> None:
    with h5py.File(path, "w") as file:
        file.create_dataset("signal", data=digits, compression="gzip").attrs.update(attributes)


def save_table(path: Path, digits: np.ndarray, fs: float, leads: tuple[str, ...], unit: str = "uV") -> None:
    columns = {f"{lead} ({unit})": row for lead, row in zip(leads, digits, strict=True)}
    table = pd.DataFrame({"time": np.arange(digits.shape[1]) / fs} | columns)
    table.to_parquet(path) if path.suffix == ".parquet" else table.to_csv(path, index=False)


def save_wfdb(path: Path, digits: np.ndarray, fs: float, leads: tuple[str, ...]) -> None:
    per_lead = {"fmt": ["16"], "adc_gain": [1000.0], "baseline": [0], "units": ["mV"]}
    wfdb.wrsamp(path.stem, fs, **{key: value * len(leads) for key, value in per_lead.items()}, sig_name=list(leads),
                d_signal=digits.T, write_dir=str(path.parent))  # fmt: skip


Write = Callable[[Path, np.ndarray, float, tuple[str, ...]], Any]
# How each format is written, and whether it says all of itself; what it leaves open is stated.
FORMATS: dict[str, tuple[str, Write, bool]] = {
    "edf": ("r.edf", write_edf, True),
    "bdf": ("r.bdf", write_edf, True),
    "dicom": ("r.dcm", lambda path, x, fs, leads: save_dicom(path, multiplex(x, fs, leads)), True),
    "npy": ("r.npy", lambda path, x, fs, leads: np.save(path, x), False),
    "npy, samples first": ("r.npy", lambda path, x, fs, leads: np.save(path, x.T.astype(">f8")), False),
    "npz": ("r.npz", lambda path, x, fs, leads: np.savez(path, signal=x, fs=fs, leads=leads, unit="uV"), True),
    "npz, compressed, alone": ("r.npz", lambda path, x, fs, leads: np.savez_compressed(path, x.T), False),
    "hdf5": ("r.h5", lambda path, x, fs, leads: save_hdf5(path, x, fs=fs, leads=list(leads), units="uV"), True),
    "hdf5, samples first": ("r.hdf5", lambda path, x, fs, leads: save_hdf5(path, x.T, leads=" ".join(leads)), False),
    "csv": ("r.csv", save_table, True),
    "csv.gz": ("r.CSV.gz", save_table, True),
    "parquet": ("r.parquet", save_table, True),
    "wfdb": ("r.hea", save_wfdb, True),
}
