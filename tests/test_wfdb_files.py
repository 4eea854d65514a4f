"""The direct decoder against wfdb, sample by sample, and one message for every fault of a file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
import wfdb
from hypothesis import given, settings
from hypothesis import strategies as st

from ecg_lightning.data.record import BadRecord, Layout
from ecg_lightning.data.wfdb_files import WFDBFile, decode, parse_header

RANGE = {16: 2**15, 24: 2**23, 32: 2**31, 80: 2**7, 212: 2**11}
MILLIVOLTS = {"uV": 1e-3, "mV": 1.0, "V": 1e3}
few = settings(max_examples=40, deadline=None)


def of(path: Path) -> WFDBFile:
    return WFDBFile(path, path.name, "somebody")


def is_direct(path: Path) -> bool:
    header = parse_header(path.with_suffix(".hea"))
    return header is not None and header.direct


def assert_agrees_with_wfdb(path: Path) -> None:
    truth = wfdb.rdrecord(str(path))
    record = of(path).read()
    millivolts = truth.p_signal.T * np.array([[MILLIVOLTS[unit]] for unit in truth.units])
    np.testing.assert_allclose(record.signal, millivolts, rtol=1e-6, atol=0)
    assert (record.fs, record.leads) == (truth.fs, tuple(truth.sig_name))
    assert of(path).layout() == Layout(truth.fs, tuple(truth.sig_name), truth.sig_len)


def assert_digits_agree_with_wfdb(path: Path) -> None:
    truth = wfdb.rdrecord(str(path), physical=False, return_res=16)
    raw = np.fromfile(path.with_name(truth.file_name[0]), np.uint8, offset=truth.byte_offset[0] or 0)
    np.testing.assert_array_equal(decode(raw, int(truth.fmt[0]), truth.n_sig, truth.sig_len), truth.d_signal)


def write(folder: Path, fmt: int, digits: np.ndarray, gain: float = 200.0, baseline: int = 0, unit: str = "mV") -> Path:
    """A record `r` of digital values (samples, leads), written by wfdb."""
    names = [f"V{lead + 1}" for lead in range(digits.shape[1])]
    each = {"units": unit, "fmt": str(fmt), "adc_gain": gain, "baseline": baseline}
    per_lead = {key: [value] * len(names) for key, value in each.items()}
    wfdb.wrsamp("r", fs=250, sig_name=names, d_signal=digits, write_dir=str(folder), **per_lead)
    return folder / "r"


def ramp(samples: int = 50, leads: int = 3) -> np.ndarray:
    return np.arange(samples * leads).reshape(samples, leads) % 200 - 100


# --- the same samples -------------------------------------------------------------------------------------------


@pytest.mark.realdata
@pytest.mark.parametrize(
    ("pattern", "every"),
    [("mitdb/*.hea", 6), ("nstdb/*.hea", 1), ("ptbxl/records100/*/*.hea", 25), ("ptbxl/records500/*/*.hea", 10),
     ("g12ec/*.hea", 4), ("cpsc2018/*.hea", 15)],
)  # fmt: skip
def test_published_recordings_are_decoded_directly_to_what_wfdb_reads(
    data_root: Path, pattern: str, every: int
) -> None:
    headers = sorted(data_root.glob(pattern))[::every]
    assert headers
    for path in (header.with_suffix("") for header in headers):
        assert is_direct(path)
        assert_agrees_with_wfdb(path)
        assert_digits_agree_with_wfdb(path)


@few
@given(
    data=st.data(),
    fmt=st.sampled_from([16, 212]),
    leads=st.integers(1, 5),
    samples=st.integers(1, 31),
    gain=st.sampled_from([1.0, 12.375, 200.0, 1000.0]),
    baseline=st.integers(-3000, 3000),
    unit=st.sampled_from(list(MILLIVOLTS)),
)
def test_random_recordings_are_decoded_directly_to_what_wfdb_reads(
    data: st.DataObject, fmt: int, leads: int, samples: int, gain: float, baseline: int, unit: str
) -> None:
    digit = st.integers(-RANGE[fmt], RANGE[fmt] - 1)
    flat = data.draw(st.lists(digit, min_size=leads * samples, max_size=leads * samples))
    with TemporaryDirectory() as folder:
        path = write(Path(folder), fmt, np.array(flat).reshape(samples, leads), gain, baseline, unit)
        assert is_direct(path)
        assert_agrees_with_wfdb(path)


@pytest.mark.parametrize("fmt", [24, 32, 80])
def test_formats_that_are_not_decoded_here_are_read_by_wfdb(tmp_path: Path, fmt: int) -> None:
    path = write(tmp_path, fmt, ramp(), gain=50.0, baseline=7, unit="uV")
    assert not is_direct(path)
    assert_agrees_with_wfdb(path)


@pytest.mark.parametrize(
    "signals",
    [
        ["r.dat 61 200(3)/mV 16 0 0 1 0 I", "r.dat 61 100/mV 16 5 0 1 0 II"],
        ["r.dat 16 200/mV 16 0 0 1 0 I", "s.dat 16 200/mV 16 0 0 1 0 II"],
        ["r.dat 16 200/mV 16 0 0 1 0 I", "s.dat 212 200/mV 12 0 0 1 0 II"],
        ["r.dat 16x2 200/mV 16 0 0 1 0 I", "r.dat 16x2 200/mV 16 0 0 1 0 II"],
        ["r.dat 16:1 200/mV 16 0 0 1 0 I", "r.dat 16 200/mV 16 0 0 1 0 II"],
    ],
    ids=["format 61", "two files", "two files of two formats", "two samples a frame", "skew"],
)
def test_layouts_that_are_not_decoded_here_are_read_by_wfdb(tmp_path: Path, signals: list[str]) -> None:
    (tmp_path / "r.hea").write_text("\n".join(["r 2 250 6", *signals]))
    for file in ("r.dat", "s.dat"):
        (tmp_path / file).write_bytes(bytes(range(48)))
    assert not is_direct(tmp_path / "r")
    with pytest.raises(BadRecord, match=r"\.dat.*checksum says 1;"):
        of(tmp_path / "r").read()
    frames = "x2" in signals[0]
    stored = wfdb.rdrecord(str(tmp_path / "r"), physical=False, smooth_frames=not frames, ignore_skew=True)
    sums = stored.calc_checksum(expanded=frames)
    stated = [line.replace(" 0 1 0 ", f" 0 {total} 0 ") for line, total in zip(signals, sums, strict=True)]
    (tmp_path / "r.hea").write_text("\n".join(["r 2 250 6", *stated]))
    assert_agrees_with_wfdb(tmp_path / "r")


def test_a_recording_in_several_segments_is_read_by_wfdb(tmp_path: Path) -> None:
    write(tmp_path, 16, ramp(samples=40))
    (tmp_path / "long.hea").write_text("long/2 3 250 80\nr 40\nr 40\n")
    assert_agrees_with_wfdb(tmp_path / "long")
    edit("r.dat", lambda raw: bytes([raw[0] ^ 1]) + raw[1:])(tmp_path)
    with pytest.raises(BadRecord, match=r"r\.dat.*checksum"):
        of(tmp_path / "long").read()


def test_optional_fields_of_a_header_take_the_values_of_the_format(tmp_path: Path) -> None:
    (tmp_path / "r.hea").write_text("# a comment\nr 2 250/1000(0) 4 10:00:00\n\nr.dat 16\nr.dat 16 0 12 24\n")
    (tmp_path / "r.dat").write_bytes(np.arange(8, dtype="<i2").tobytes())
    signal = of(tmp_path / "r").read().signal
    np.testing.assert_allclose(signal, [[0, 0.01, 0.02, 0.03], [-0.115, -0.105, -0.095, -0.085]], rtol=1e-6)


# --- faults -----------------------------------------------------------------------------------------------------


def edit(name: str, change: Callable[[bytes], bytes]) -> Callable[[Path], object]:
    return lambda folder: (folder / name).write_bytes(change((folder / name).read_bytes()))


def replace(old: bytes, new: bytes) -> Callable[[Path], object]:
    return edit("r.hea", lambda text: text.replace(old, new))


# What happens to the files of record `r`, and the file that the message must name.
FAULTS: dict[str, tuple[Callable[[Path], object], str]] = {
    "truncated signals": (edit("r.dat", lambda raw: raw[:-2]), "r.dat"),
    "empty signals": (edit("r.dat", lambda raw: b""), "r.dat"),
    "too many signals": (edit("r.dat", lambda raw: raw + b"12"), "r.dat"),
    "missing signals": (lambda folder: (folder / "r.dat").unlink(), "r.dat"),
    "missing header": (lambda folder: (folder / "r.hea").unlink(), "r.hea"),
    "empty header": (edit("r.hea", lambda text: b""), "r.hea"),
    "header of noise": (edit("r.hea", lambda text: bytes(range(256))), "r.hea"),
    "header in another encoding": (edit("r.hea", lambda text: "schöner Satz 1 2".encode("latin-1")), "r.hea"),
    "header without its signals": (edit("r.hea", lambda text: text.splitlines()[0]), "r.hea"),
    "more samples promised": (replace(b" 250 50", b" 250 51"), "r.dat"),
    "no samples promised": (replace(b" 250 50", b" 250 0"), "r.hea"),
    "no rate": (replace(b" 250 50", b" 0 50"), "r.hea"),
    "a rate past any recorder": (replace(b" 250 50", b" inf 50"), "r.hea"),
    "unknown unit": (replace(b"/mV", b"/mmHg"), "r.hea"),
    "a gain that is no number": (replace(b"200.0(0)", b"much"), "r.hea"),
    "signals elsewhere": (replace(b"r.dat", b"../r.dat"), "r.hea"),
    "signals at a fixed place": (replace(b"r.dat", b"/etc/passwd"), "r.hea"),
}


@pytest.mark.parametrize("fmt", [16, 212])
@pytest.mark.parametrize("fault", FAULTS)
def test_a_faulty_recording_is_one_message_that_names_the_file(tmp_path: Path, fmt: int, fault: str) -> None:
    path = write(tmp_path, fmt, ramp())
    happen, file = FAULTS[fault]
    happen(tmp_path)
    with pytest.raises(BadRecord) as error:
        of(path).read()
    assert str(tmp_path / file) in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("fault", ["truncated signals", "missing signals", "missing header", "more samples promised"])
def test_missing_and_truncated_files_are_known_before_a_sample_is_read(tmp_path: Path, fault: str) -> None:
    path = write(tmp_path, 16, ramp())
    FAULTS[fault][0](tmp_path)
    with pytest.raises(BadRecord, match=FAULTS[fault][1]):
        of(path).layout()


@pytest.mark.parametrize("fmt", [16, 212])
@given(bit=st.integers(0, 7), byte=st.integers(0, 224))
@settings(max_examples=15, deadline=None)
def test_a_flipped_bit_contradicts_the_checksum(fmt: int, bit: int, byte: int) -> None:
    with TemporaryDirectory() as folder:
        path = write(Path(folder), fmt, ramp())
        raw = bytearray((Path(folder) / "r.dat").read_bytes())
        raw[byte] ^= 1 << bit
        (Path(folder) / "r.dat").write_bytes(raw)
        with pytest.raises(BadRecord, match=r"r\.dat.*checksum"):
            of(path).read()


@pytest.mark.parametrize("fmt", [24, 32, 80])
def test_what_wfdb_decodes_is_compared_with_its_checksum_too(tmp_path: Path, fmt: int) -> None:
    path = write(tmp_path, fmt, ramp())
    edit("r.dat", lambda raw: raw[:9] + bytes([raw[9] ^ 1]) + raw[10:])(tmp_path)
    with pytest.raises(BadRecord, match=r"r\.dat.*checksum"):
        of(path).read()


@pytest.mark.parametrize("fault", ["truncated signals", "missing signals", "unknown unit"])
def test_a_fault_that_wfdb_meets_is_a_bad_record_too(tmp_path: Path, fault: str) -> None:
    path = write(tmp_path, 80, ramp())
    FAULTS[fault][0](tmp_path)
    with pytest.raises(BadRecord, match=str(path)):
        of(path).read()


@few
@given(at=st.integers(0, 120), length=st.integers(0, 12), piece=st.text("0123456789 -+/().:xaV\n#~µ", max_size=6))
def test_a_damaged_header_gives_a_recording_or_a_bad_record_and_nothing_else(at: int, length: int, piece: str) -> None:
    with TemporaryDirectory() as folder:
        path = write(Path(folder), 16, ramp())
        text = (Path(folder) / "r.hea").read_text()
        (Path(folder) / "r.hea").write_text(text[:at] + piece + text[at + length :])
        try:
            record, layout = of(path).read(), of(path).layout()
        except BadRecord as error:
            assert str(path) in str(error)
        else:
            assert record.signal.shape == (len(layout.leads), layout.samples)
