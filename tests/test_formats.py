"""Each format written by a library of its own and read back to the same samples; one message for every fault."""

from __future__ import annotations

import gzip
import pickle
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from zipfile import ZIP_DEFLATED, ZipFile

import edfio
import h5py
import numpy as np
import pandas as pd
import pydicom
import pytest
import wfdb
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset
from pydicom.uid import DeflatedExplicitVRLittleEndian
from recorders import FORMATS, coded, multiplex, save_dicom, save_hdf5, save_table, write_edf

from ecg_lightning.data.formats.opening import SUFFIXES, open_recording
from ecg_lightning.data.formats.single_file import MOST_SAMPLES
from ecg_lightning.data.formats.stated import lead_of
from ecg_lightning.data.formats.tables import rate_of_times
from ecg_lightning.data.record import BadRecord, Layout, RecordFile
from ecg_lightning.errors import UserError
from ecg_lightning.leads import TWELVE_LEADS, canonical_lead

FS = 250
LEADS = ("V1", "II", "aVR")


def microvolts(leads: int = 3, seconds: int = 2, fs: int = FS) -> np.ndarray:
    """(L, T) int16; no two samples of a lead near one another are alike."""
    time = np.arange(seconds * fs)
    return np.stack([(700 * np.sin(time / (3 + lead)) + 11 * lead).astype(np.int16) for lead in range(leads)])


STATED = {"fs": FS, "leads": LEADS, "unit": "uV"}
OWN = [name for name in FORMATS if name != "wfdb"]  # WFDB's own faults are tested beside its reader.


def of(path: Path, **stated: Any) -> RecordFile:
    return open_recording(path, "r", "somebody", **stated)


def written(folder: Path, name: str, digits: np.ndarray, fs: float = FS, leads: tuple[str, ...] = LEADS) -> RecordFile:
    file, write, complete = FORMATS[name]
    write(folder / file, digits, fs, leads)
    return of(folder / file, **({} if complete else {"fs": fs, "leads": leads, "unit": "uV"}))


# --- the same samples -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", FORMATS)
def test_a_recording_is_read_back_as_it_was_written(tmp_path: Path, name: str) -> None:
    digits = microvolts()
    file = pickle.loads(pickle.dumps(written(tmp_path, name, digits)))  # as it goes to the process that reads it
    record = file.read()
    assert record.signal.dtype == np.float32 and (record.fs, record.leads) == (FS, LEADS)
    np.testing.assert_allclose(record.signal, digits / 1000, rtol=1e-6, atol=0)
    assert file.layout() == Layout(FS, LEADS, digits.shape[1])
    assert file.paths()[0].exists() and (file.record_id, file.patient, file.fold) == ("r", "somebody", None)


@settings(max_examples=12, deadline=None)
@given(
    name=st.sampled_from(list(FORMATS)),
    seconds=st.integers(1, 3),
    fs=st.sampled_from([100, 128, 257, 500]),
    leads=st.permutations(TWELVE_LEADS).flatmap(lambda all_: st.integers(1, 12).map(lambda n: tuple(all_[:n]))),
)
def test_leads_in_any_order_at_any_rate_are_read_back(name: str, seconds: int, fs: int, leads: tuple[str, ...]) -> None:
    digits = microvolts(len(leads), seconds, fs)
    with TemporaryDirectory() as folder:
        record = written(Path(folder), name, digits, fs, leads).read()
    assert (record.fs, record.leads) == (fs, leads)
    np.testing.assert_allclose(record.signal, digits / 1000, rtol=1e-6, atol=0)


@pytest.mark.realdata
@pytest.mark.parametrize("name", OWN)
@pytest.mark.parametrize("record", ["ptbxl/records100/00000/00001_lr", "g12ec/E00001"])
def test_a_published_recording_in_any_format_gives_the_samples_that_wfdb_gives(
    data_root: Path, tmp_path: Path, name: str, record: str
) -> None:
    truth = wfdb.rdrecord(str(data_root / record))
    whole = truth.p_signal[: truth.sig_len // truth.fs * truth.fs]
    file = written(tmp_path, name, np.rint(whole.T * 1000).astype(np.int16, order="C"), truth.fs, tuple(truth.sig_name))
    assert file.read().leads == tuple(map(canonical_lead, truth.sig_name))
    np.testing.assert_allclose(file.read().signal, whole.T, rtol=1e-6, atol=1e-9)


@pytest.mark.realdata
def test_a_challenge_recording_is_named_by_its_mat_or_its_header(data_root: Path) -> None:
    truth = wfdb.rdrecord(str(data_root / "g12ec/E00001"))
    for suffix in (".mat", ".hea"):
        record = of(data_root / f"g12ec/E00001{suffix}").read()
        np.testing.assert_allclose(record.signal, truth.p_signal.T, rtol=1e-6)


def test_a_recorders_own_dicom_file_is_read_to_its_rhythm_and_not_its_median_beat() -> None:
    path = Path(str(get_testdata_file("waveform_ecg.dcm")))
    record = of(path).read()
    truth = pydicom.dcmread(path).waveform_array(0)  # microvolts, converted by pydicom
    assert (record.leads, record.fs, record.signal.shape) == (TWELVE_LEADS, 1000, (12, 10000))
    np.testing.assert_allclose(record.signal, truth.T / 1000, rtol=1e-6)
    one, two, three = record.signal[:3]
    np.testing.assert_allclose(two - one, three, atol=0.01)  # Einthoven: the names are on the right signals


# --- units, names, what is no lead ------------------------------------------------------------------------------


@pytest.mark.parametrize(("unit", "factor"), [("uV", 1e-3), ("µV", 1e-3), ("μV", 1e-3), ("mV", 1.0), ("V", 1e3)])
@pytest.mark.parametrize("suffix", [".edf", ".dcm", ".npy", ".csv", ".h5"])
def test_every_voltage_becomes_millivolts(tmp_path: Path, suffix: str, unit: str, factor: float) -> None:
    digits, path = microvolts(), tmp_path / f"r{suffix}"
    if suffix == ".edf":
        write_edf(path, digits, FS, LEADS, unit="??")
        path.write_bytes(path.read_bytes().replace(b"??", unit.encode("latin-1", "ignore").rjust(2)))
        unit = unit if unit.isascii() or unit == "µV" else pytest.skip("Latin-1 has no mu but the micro sign")
    elif suffix == ".dcm":
        save_dicom(path, multiplex(digits, FS, LEADS, unit if unit.isascii() else "uV"))
    elif suffix == ".npy":
        np.save(path, digits)
    elif suffix == ".h5":
        save_hdf5(path, digits, unit=unit)
    else:
        save_table(path, digits, FS, LEADS, unit)
    stated = STATED | {"unit": unit} if suffix in (".npy", ".h5") else {}
    np.testing.assert_allclose(of(path, **stated).read().signal, digits * factor, rtol=1e-6)


def test_an_edf_may_hold_other_signals_at_other_rates(tmp_path: Path) -> None:
    digits = microvolts()
    others = {"Resp": (np.sin(np.arange(50)), 25, "uV"), "SpO2": (np.arange(2.0), 1, "%"),
              "EEG V1-V2": (np.sin(np.arange(200)), 100, "uV")}  # fmt: skip
    write_edf(tmp_path / "r.edf", digits, FS, LEADS, **others)
    record = of(tmp_path / "r.edf").read()
    assert record.leads == LEADS
    np.testing.assert_allclose(record.signal, digits / 1000, rtol=1e-6)


def test_an_edf_with_a_gain_and_an_offset_is_what_its_writer_meant(tmp_path: Path) -> None:
    millivolts = np.sin(np.arange(500) / 7) * 1.7 + 0.3
    signal = edfio.EdfSignal(millivolts, FS, label="II", physical_dimension="mV", physical_range=(-2, 5))
    edfio.Edf([signal]).write(tmp_path / "r.edf")
    np.testing.assert_allclose(of(tmp_path / "r.edf").read().signal[0], millivolts, atol=7 / 2**16)


def test_a_dicom_channel_is_scaled_by_sensitivity_correction_and_baseline_and_padding_is_no_sample(
    tmp_path: Path,
) -> None:
    digits = microvolts()
    digits[1, 40:50] = -32768
    group = multiplex(digits, FS, LEADS, ChannelSensitivity="2.5", ChannelSensitivityCorrectionFactor="0.98",
                      ChannelBaseline="30")  # fmt: skip
    group.WaveformPaddingValue = np.int16(-32768).tobytes()
    group["WaveformPaddingValue"].VR = "OW"
    save_dicom(tmp_path / "r.dcm", group)
    expected = (digits.astype(float) * 2.5 * 0.98 + 30) / 1000
    expected[1, 40:50] = np.nan
    np.testing.assert_allclose(of(tmp_path / "r.dcm").read().signal, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("scheme", "prefix"), [("MDC", "2:"), ("SCPECG", "5.6.3-9-")])
def test_a_dicom_lead_is_told_by_its_code(tmp_path: Path, scheme: str, prefix: str) -> None:
    group = multiplex(microvolts(12), FS, TWELVE_LEADS)
    numbers = (1, 2, 61, 62, 63, 64, 3, 4, 5, 6, 7, 8)  # ISO/IEEE 11073-10102
    for channel, number in zip(group.ChannelDefinitionSequence, numbers, strict=True):
        channel.ChannelSourceSequence = [coded(f"{prefix}{number}", scheme, "Ableitung")]
    save_dicom(tmp_path / "r.dcm", multiplex(microvolts(1), FS, ("II",)), group)
    assert of(tmp_path / "r.dcm").layout().leads == TWELVE_LEADS


@pytest.mark.parametrize(
    ("label", "lead"),
    [("ECG II", "II"), ("EKG V1", "V1"), ("ecg i", "I"), ("II", "II"), ("Lead aVR", "aVR"), ("MLII", "II"),
     ("ECG_AVF", "aVF"), ("ECGIII", "III"), ("V5-Ref", "V5"), ("Lead I (Einthoven)", "I"), ("ECG", None),
     ("ECG 1", None), ("V1-V2", None), ("V7", None), ("ECG I-II", None), ("EEG C3-A2", None), ("SpO2", None),
     ("Resp", None), ("", None)],
)  # fmt: skip
def test_a_label_names_a_lead_or_none(label: str, lead: str | None) -> None:
    assert lead_of(label) == lead


def test_an_ecg_signal_without_a_name_takes_the_stated_one(tmp_path: Path) -> None:
    write_edf(tmp_path / "r.edf", microvolts(1), FS, ("1",), EEG=(np.sin(np.arange(200)), 100, "uV"))
    with pytest.raises(BadRecord, match=r"r\.edf: none of 'ECG 1', 'EEG' names a lead; state them in column leads"):
        of(tmp_path / "r.edf").layout()
    assert of(tmp_path / "r.edf", leads=["MLII"]).read().leads == ("II",)


def test_leads_that_are_none_of_the_twelve_are_left_out_of_an_array(tmp_path: Path) -> None:
    digits = microvolts(3)
    np.save(tmp_path / "r.npy", digits.T)
    record = of(tmp_path / "r.npy", fs=FS, unit="uV", leads=("X", "II", "V2")).read()
    assert record.leads == ("II", "V2")
    np.testing.assert_allclose(record.signal, digits[1:] / 1000, rtol=1e-6)


def test_a_single_lead_needs_no_second_axis(tmp_path: Path) -> None:
    np.save(tmp_path / "r.npy", microvolts(1)[0])
    record = of(tmp_path / "r.npy", fs=FS, unit="uV", leads=("I",)).read()
    np.testing.assert_allclose(record.signal, microvolts(1) / 1000, rtol=1e-6)


# --- times ------------------------------------------------------------------------------------------------------


@given(fs=st.integers(25, 2000), start=st.floats(-1e4, 1e4), samples=st.integers(200, 4000))
@settings(max_examples=60, deadline=None)
def test_the_rate_is_found_in_rounded_times(fs: int, start: float, samples: int) -> None:
    times = start + np.arange(samples) / fs
    assert rate_of_times(times) == pytest.approx(fs, rel=1e-6)
    assert rate_of_times(np.round(times, 5)) == pytest.approx(fs, rel=1e-4)


@given(at=st.integers(1, 98), missing=st.integers(1, 5))
def test_uneven_times_are_refused(at: int, missing: int) -> None:
    times = np.delete(np.arange(200) / 100, slice(at, at + missing))
    with pytest.raises(ValueError, match="not even"):
        rate_of_times(times)


@pytest.mark.parametrize(
    ("name", "times"),
    [("time (ms)", np.arange(500) * 4.0), ("ms", np.arange(500) * 4), ("t [s]", np.arange(500) / 250),
     ("Time", 17.3 + np.arange(500) / 250)],
)  # fmt: skip
def test_a_column_of_times_gives_the_rate(tmp_path: Path, name: str, times: np.ndarray) -> None:
    pd.DataFrame({"II": microvolts(1)[0], name: times}).to_csv(tmp_path / "r.csv", index=False)
    assert of(tmp_path / "r.csv", unit="uV").read().fs == 250


# --- faults -----------------------------------------------------------------------------------------------------


def rewrite(change: Callable[[bytes], bytes]) -> Callable[[Path], object]:
    return lambda path: path.write_bytes(change(path.read_bytes()))


DAMAGE: dict[str, Callable[[Path], object]] = {
    "missing": lambda path: path.unlink(),
    "empty": rewrite(lambda raw: b""),
    "truncated": rewrite(lambda raw: raw[: len(raw) * 3 // 4]),
    "noise": rewrite(lambda raw: bytes(np.random.default_rng(0).integers(0, 256, 5000, np.uint8))),
    "a folder": lambda path: (path.unlink(), path.mkdir()),
}


@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize("name", OWN)
def test_a_damaged_file_is_one_message_that_names_it(tmp_path: Path, name: str, damage: str) -> None:
    file = written(tmp_path, name, microvolts())
    path = tmp_path / FORMATS[name][0]
    DAMAGE[damage](path)
    if (name, damage) == ("csv", "truncated"):
        pytest.skip("a table cut at a line's end is a whole table")
    with pytest.raises(BadRecord) as error:
        file.read()
    assert str(error.value).startswith(str(path)) and "\n" not in str(error.value)
    with pytest.raises(BadRecord, match=path.name):
        file.layout()


@settings(max_examples=100, deadline=None)
@given(
    name=st.sampled_from([name for name in OWN if not name.startswith("hdf5")]),
    place=st.floats(0, 1),
    piece=st.binary(min_size=1, max_size=8),
)
def test_a_damaged_byte_gives_a_recording_or_a_bad_record_and_nothing_else(
    name: str, place: float, piece: bytes
) -> None:
    with TemporaryDirectory() as folder:
        file = written(Path(folder), name, microvolts(seconds=1))
        path = Path(folder) / FORMATS[name][0]
        raw = path.read_bytes()
        at = int(place**3 * len(raw))  # Most hits in the header, where they hurt.
        path.write_bytes(raw[:at] + piece + raw[at + len(piece) :])
        try:
            layout, record = file.layout(), file.read()
        except BadRecord as error:
            assert path.name in str(error) and "\n" not in str(error)
        else:
            assert record.signal.shape == (len(layout.leads), layout.samples)


CONTRADICTIONS = {
    "fs": ({"fs": 500}, r"250 Hz and column fs of records\.csv says 500"),
    "leads": ({"leads": ("V1", "II", "I")}, r"leads V1 II aVR and column leads of records\.csv says V1 II I"),
    "unit": ({"unit": "mV"}, r"in uV and column unit of records\.csv says 'mV'"),
}


@pytest.mark.parametrize("key", CONTRADICTIONS)
@pytest.mark.parametrize("name", [name for name, (_, _, complete) in FORMATS.items() if complete])
def test_what_is_stated_agrees_with_the_file(tmp_path: Path, name: str, key: str) -> None:
    written(tmp_path, name, microvolts())
    path = tmp_path / FORMATS[name][0]
    assert of(path, fs=FS, leads=LEADS[::-1]).layout().leads == LEADS
    stated, message = CONTRADICTIONS[key]
    if (name, key) == ("wfdb", "unit"):
        pytest.skip("a WFDB header states a unit for each signal")
    with pytest.raises(BadRecord, match=message):
        of(path, **stated).read()


@pytest.mark.parametrize(
    ("left_out", "message"),
    [("fs", "sampling rate is not known.*column fs"), ("leads", "leads are not known.*column leads"),
     ("unit", "unit of its samples is not known.*column unit")],
)  # fmt: skip
def test_what_neither_the_file_nor_the_manifest_says_is_asked_for(tmp_path: Path, left_out: str, message: str) -> None:
    np.save(tmp_path / "r.npy", microvolts())
    with pytest.raises(BadRecord, match=message):
        of(tmp_path / "r.npy", **{key: value for key, value in STATED.items() if key != left_out}).layout()


@pytest.mark.parametrize(
    ("array", "stated", "message"),
    [
        (np.zeros((3, 3)), {}, "3 x 3 does not tell leads from samples"),
        (np.zeros((4, 500)), {}, "4 x 500 is no recording of 3 leads"),
        (np.zeros((2, 3, 500)), {}, "2 x 3 x 500 is no recording"),
        (np.zeros((0, 3)), {}, "0 samples"),
        (np.zeros((3, 500), complex), {}, "complex128, not of real numbers"),
        (np.zeros((3, 500), [("a", "f4")]), {}, "not of real numbers"),
        (np.array([[None] * 500] * 3), {}, "pickled"),
        (np.zeros((3, 500)), {"unit": "mmHg"}, "'mmHg' is not a voltage"),
        (np.zeros((3, 500)), {"fs": 0.25}, "0.25 Hz is not one of an ECG"),
        (np.zeros((3, 500)), {"leads": ("II", "MLII", "V1")}, "lead II twice"),
    ],
)
def test_an_array_that_is_no_recording_is_refused(
    tmp_path: Path, array: np.ndarray, stated: dict[str, Any], message: str
) -> None:
    np.save(tmp_path / "r.npy", array)
    with pytest.raises(BadRecord, match=rf"r\.npy: .*{message}"):
        of(tmp_path / "r.npy", **STATED | stated).layout()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("time,II\n0,1\n0.004,2\n0.012,3\n0.016,4\n", "times are not even"),
        ("time,II\n0,1\n4,2\n8,3\n", "0.25 Hz is not one of an ECG"),
        ("time,II\na,1\nb,2\n", "cannot be read as CSV"),
        ("ms,II\n0,1\n4,x\n8,3\n", "cannot be read as CSV"),
        ("II,ms\n1,0\n2,4,9\n3,8\n", "cannot be read as CSV"),
        ("ms,t,II\n0,0,1\n4,4,2\n", "2 columns of times"),
        ("0.1,0.2\n0.1,0.2\n", "begins with the number 0.1"),
        ("ms,II,ii\n0,1,2\n4,2,3\n", "lead II twice"),
        ("ms,II;V1\n0,1\n", "names a lead"),
        ("ms,II\n", "holds 0 samples"),
        ("", "names a lead"),
    ],
)
def test_a_table_that_is_no_recording_is_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "r.csv").write_text(text)
    with pytest.raises(BadRecord, match=rf"r\.csv: .*{message}"):
        of(tmp_path / "r.csv", unit="uV").read()


def test_a_byte_order_mark_windows_line_ends_and_blank_last_lines_are_no_matter(tmp_path: Path) -> None:
    (tmp_path / "r.csv").write_bytes(b"\xef\xbb\xbfms,II\r\n0,1\r\n4,2\r\n8,5\r\n\r\n\n")
    np.testing.assert_allclose(of(tmp_path / "r.csv", unit="mV").read().signal, [[1, 2, 5]])


def test_a_missing_value_in_a_table_is_an_invalid_sample(tmp_path: Path) -> None:
    (tmp_path / "r.csv").write_text("ms,II\n0,1\n4,\n8,3\n\n16,5\n12,\n")
    with pytest.raises(BadRecord, match="times do not increase"):
        of(tmp_path / "r.csv", unit="mV").read()
    (tmp_path / "r.csv").write_text("II,V1\n1,0\n,1\n3,0\n\n5,1\n")
    np.testing.assert_allclose(of(tmp_path / "r.csv", unit="mV", fs=100).read().signal[0], [1, np.nan, 3, np.nan, 5])


def test_parquet_without_pyarrow_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = written(tmp_path, "parquet", microvolts())
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    with pytest.raises(BadRecord, match=r"r\.parquet: needs pyarrow.*ecg_lightning\[parquet\]"):
        file.layout()


def test_a_column_of_text_in_a_parquet_file_is_refused(tmp_path: Path) -> None:
    pd.DataFrame({"II": ["1", "2"]}).to_parquet(tmp_path / "r.parquet")
    with pytest.raises(BadRecord, match=r"II holds .*string"):
        of(tmp_path / "r.parquet", fs=100, unit="mV").read()


def test_leads_of_different_rates_are_refused(tmp_path: Path) -> None:
    write_edf(tmp_path / "r.edf", microvolts(), FS, LEADS, V6=(np.sin(np.arange(200)), 100, "uV"))
    with pytest.raises(BadRecord, match=r"different rates \(100 Hz, 250 Hz\)"):
        of(tmp_path / "r.edf").layout()


def edf_header(at: int, text: bytes) -> Callable[[Path], object]:
    return rewrite(lambda raw: raw[:at] + text + raw[at + len(text) :])


SIGNALS = 4  # three leads and the annotations
EDF_FAULTS = {
    "more records promised": (edf_header(236, b"3       "), "indicates 3 data records"),
    "records not counted": (edf_header(236, b"-1      "), "indicates -1 data records"),
    "a long tail": (rewrite(lambda raw: raw + b"12"), "Incomplete data record"),
    "a header of another length": (edf_header(184, b"256     "), "contradicts itself"),
    "no physical range": (edf_header(256 + (16 + 80 + 8 + 8) * SIGNALS, b"-32768  "), "gain is not known"),
    "no digital range": (edf_header(256 + (16 + 80 + 8 * 3) * SIGNALS, b"32767   "), "gain is not known"),
    "no duration": (edf_header(244, b"0       "), "cannot be read as EDF"),
    "an unknown unit": (edf_header(256 + (16 + 80) * SIGNALS, b"mmHg    "), "'mmHg' is not a voltage"),
    "no unit": (edf_header(256 + (16 + 80) * SIGNALS, b"        "), "unit of its samples is not known"),
    "BDF inside": (edf_header(0, b"\xffBIOSEMI"), "does not begin like"),
}


@pytest.mark.parametrize("fault", EDF_FAULTS)
def test_an_edf_header_that_cannot_be_believed_is_refused(tmp_path: Path, fault: str) -> None:
    write_edf(tmp_path / "r.edf", microvolts(), FS, LEADS)
    damage, message = EDF_FAULTS[fault]
    damage(tmp_path / "r.edf")
    with pytest.raises(BadRecord, match=message):
        of(tmp_path / "r.edf").read()


def test_an_interrupted_edf_is_refused_and_one_that_only_might_have_been_is_not(tmp_path: Path) -> None:
    path = tmp_path / "r.edf"
    write_edf(path, microvolts(seconds=3), FS, LEADS)
    raw = path.read_bytes().replace(b"EDF+C", b"EDF+D")
    path.write_bytes(raw)
    assert of(path).layout().samples == 3 * FS
    assert raw.count(b"+2\x14\x14") == 1  # the time of the third data record
    path.write_bytes(raw.replace(b"+2\x14\x14", b"+7\x14\x14"))
    with pytest.raises(BadRecord, match="was interrupted"):
        of(path).layout()


def dicom_group(**changes: Any) -> Dataset:
    group = multiplex(microvolts(), FS, LEADS)
    for key, value in changes.items():
        setattr(group, key, value)
    return group


@pytest.mark.parametrize(
    ("group", "message"),
    [
        (dicom_group(WaveformOriginality="DERIVED"), "no original waveform"),
        (multiplex(microvolts(1), FS, ("X",)), "no original waveform of a standard lead"),
        (dicom_group(NumberOfWaveformSamples=501), "holds 3000 bytes of samples and promises 3006"),
        (dicom_group(NumberOfWaveformSamples=2**31), "more than a recording may have"),
        (dicom_group(WaveformSampleInterpretation="MB"), "stored as MB"),
        (dicom_group(WaveformBitsAllocated=8), "promises"),
        (dicom_group(SamplingFrequency=0), "0 Hz"),
        (multiplex(microvolts(), FS, LEADS, "mm[Hg]"), "'mm.Hg.' is not a voltage"),
        (multiplex(microvolts(), FS, ("I", "I", "II")), "lead I twice"),
    ],
)
def test_a_dicom_waveform_that_cannot_be_believed_is_refused(tmp_path: Path, group: Dataset, message: str) -> None:
    with warnings.catch_warnings(action="ignore"):
        save_dicom(tmp_path / "r.dcm", group)
    with pytest.raises(BadRecord, match=rf"r\.dcm: .*{message}"):
        of(tmp_path / "r.dcm").layout()


def test_a_dicom_lead_without_a_sensitivity_is_refused(tmp_path: Path) -> None:
    group = dicom_group()
    del group.ChannelDefinitionSequence[1].ChannelSensitivity
    save_dicom(tmp_path / "r.dcm", group)
    with pytest.raises(BadRecord, match="lead II has no sensitivity"):
        of(tmp_path / "r.dcm").layout()


# --- small files that promise much, and files that point elsewhere ----------------------------------------------


def bomb_npz(path: Path) -> None:
    with ZipFile(path, "w", ZIP_DEFLATED) as archive, archive.open("signal.npy", "w", force_zip64=True) as entry:
        header = {"descr": "|i1", "fortran_order": False, "shape": (3, MOST_SAMPLES)}
        np.lib.format.write_array_header_1_0(entry, header)
        entry.write(bytes(10_000_000))


def bomb_hdf5(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file.create_dataset("signal", (3, MOST_SAMPLES), "i1", chunks=(1, 1_000_000), compression="gzip")


def bomb_chunk(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file.create_dataset("signal", (3, 500), "i1", chunks=(16, 10**8), maxshape=(None, None), compression="gzip")


def bomb_npy(path: Path) -> None:
    header = {"descr": "|i1", "fortran_order": False, "shape": (3, MOST_SAMPLES)}
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
        file.truncate(file.tell() + 3 * MOST_SAMPLES)


def bomb_csv(path: Path) -> None:
    path.write_bytes(gzip.compress(b"V1,II,aVR\n" + b"0" * 30_000_000, 9))


def bomb_deflated(path: Path) -> None:
    save_dicom(path, multiplex(microvolts(), FS, LEADS), syntax=DeflatedExplicitVRLittleEndian)


@pytest.mark.parametrize(
    ("name", "write", "message"),
    [
        ("r.npz", bomb_npz, "header promises"),
        ("r.h5", bomb_hdf5, "more than a recording may have"),
        ("r.h5", bomb_chunk, "blocks are larger"),
        ("r.npy", bomb_npy, "more than a recording may have"),
        ("r.csv.gz", bomb_csv, "rows are too long"),
        ("r.dcm", bomb_deflated, "Deflated"),
    ],
)
def test_a_small_file_that_promises_much_is_refused_before_memory_is_taken(
    tmp_path: Path, name: str, write: Callable[[Path], None], message: str
) -> None:
    write(tmp_path / name)
    with pytest.raises(BadRecord, match=message):
        of(tmp_path / name, **STATED).layout()


def test_an_hdf5_file_cannot_have_samples_read_elsewhere(tmp_path: Path) -> None:
    save_hdf5(tmp_path / "other.h5", microvolts())
    (tmp_path / "secret.bin").write_bytes(microvolts().tobytes())
    with h5py.File(tmp_path / "link.h5", "w") as file:
        file["signal"] = h5py.ExternalLink("other.h5", "/signal")
    with h5py.File(tmp_path / "virtual.h5", "w") as file:
        layout = h5py.VirtualLayout((3, 500), np.int16)
        layout[:] = h5py.VirtualSource("other.h5", "signal", (3, 500))
        file.create_virtual_dataset("signal", layout)
    with h5py.File(tmp_path / "external.h5", "w") as file:
        file.create_dataset("signal", (3, 500), np.int16, external=[("secret.bin", 0, 3000)])
    for name, message in {"link": "which of its arrays", "virtual": "lie in other", "external": "lie in other"}.items():
        with pytest.raises(BadRecord, match=message):
            of(tmp_path / f"{name}.h5", **STATED).read()
    shutil.rmtree(tmp_path)


def test_the_array_called_signal_is_the_recording_and_several_others_are_none(tmp_path: Path) -> None:
    np.savez(tmp_path / "r.npz", signal=microvolts(), time=np.arange(500) / FS)
    np.testing.assert_allclose(of(tmp_path / "r.npz", **STATED).read().signal, microvolts() / 1000, rtol=1e-6)
    np.savez(tmp_path / "r.npz", left=microvolts(), right=microvolts())
    with pytest.raises(BadRecord, match=r"which of its arrays is the recording is not known \(left, right\)"):
        of(tmp_path / "r.npz", **STATED).layout()


def test_an_unknown_suffix_is_told_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"r\.xml: not a format.*\.edf .*\.parquet"):
        of(tmp_path / "r.xml")
    assert {Path(file).suffix for file, _, _ in FORMATS.values()} <= {Path(f"x{suffix}").suffix for suffix in SUFFIXES}
