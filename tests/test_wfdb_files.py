"""The readers of WFDB files against wfdb, sample by sample, and one message for every fault of a file."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
import soundfile
import wfdb
from hypothesis import given, settings
from hypothesis import strategies as st

from ecg_lightning.data.record import BadRecord, Layout
from ecg_lightning.data.wfdb_files import WFDBFile
from ecg_lightning.data.wfdb_samples import BLOCK, decode, packed_bytes

RANGE = {16: 2**15, 24: 2**23, 32: 2**31, 80: 2**7, 212: 2**11, 508: 2**7, 516: 2**15, 524: 2**23}
MILLIVOLTS = {"uV": 1e-3, "mV": 1.0, "V": 1e3}
few = settings(max_examples=40, deadline=None)


def of(path: Path) -> WFDBFile:
    return WFDBFile(path, path.name, "somebody")


def assert_agrees_with_wfdb(path: Path) -> None:
    whole = wfdb.rdheader(str(path))
    if "61" in getattr(whole, "fmt", ()) or set(getattr(whole, "samps_per_frame", (1,))) == {1}:
        truth = wfdb.rdrecord(str(path))  # wfdb cannot read format 61 in frames.
        means = truth.p_signal.T
    else:  # It cuts the mean over a frame off to a whole number: take that of its samples.
        truth = wfdb.rdrecord(str(path), smooth_frames=False)
        frames = zip(truth.e_p_signal, truth.samps_per_frame, strict=True)
        means = np.stack([np.reshape(signal, (-1, per)).mean(axis=1) for signal, per in frames])
    record = of(path).read()
    millivolts = means * np.array([[MILLIVOLTS[unit]] for unit in truth.units])
    np.testing.assert_allclose(record.signal, millivolts, rtol=1e-6, atol=1e-9)
    assert (record.fs, record.leads) == (truth.fs, tuple(truth.sig_name))
    assert of(path).layout() == Layout(truth.fs, tuple(truth.sig_name), truth.sig_len)


def stored(path: Path) -> list[np.ndarray]:
    """The digital values of each signal, by wfdb."""
    if "61" in wfdb.rdheader(str(path)).fmt:
        return list(wfdb.rdrecord(str(path), physical=False, ignore_skew=True).d_signal.T)
    return list(wfdb.rdrecord(str(path), physical=False, smooth_frames=False, ignore_skew=True).e_d_signal)


def state_truth(path: Path) -> None:
    """Put each signal's sum and first value into a header that says 1 and 0."""
    header = path.with_suffix(".hea")
    record, *signals = header.read_text().splitlines()
    for i, digits in enumerate(stored(path)):
        start = 0 if re.search(r" 8[x ]", signals[i]) else digits[0]
        signals[i] = signals[i].replace(" 0 1 0 ", f" {start} {digits.sum(dtype=np.int64) % 65536} 0 ")
    header.write_text("\n".join([record, *signals]))


def write(
    folder: Path,
    fmt: int,
    digits: np.ndarray,
    gain: float = 200.0,
    baseline: int = 0,
    unit: str = "mV",
    name: str = "r",
) -> Path:
    """A record of digital values (samples, leads), written by wfdb."""
    names = [f"V{lead + 1}" for lead in range(digits.shape[1])]
    each = {"units": unit, "fmt": str(fmt), "adc_gain": gain, "baseline": baseline}
    per_lead = {key: [value] * len(names) for key, value in each.items()}
    wfdb.wrsamp(name, fs=250, sig_name=names, d_signal=digits, write_dir=str(folder), **per_lead)
    return folder / name


def ramp(samples: int = 50, leads: int = 3) -> np.ndarray:
    return np.arange(samples * leads).reshape(samples, leads) % 200 - 100


# --- the same samples -------------------------------------------------------------------------------------------


@pytest.mark.realdata
@pytest.mark.parametrize(
    ("pattern", "every"),
    [("mitdb/*.hea", 6), ("nstdb/*.hea", 1), ("ptbxl/records100/*/*.hea", 25), ("ptbxl/records500/*/*.hea", 10),
     ("g12ec/*.hea", 4), ("cpsc2018/*.hea", 15)],
)  # fmt: skip
def test_published_recordings_are_what_wfdb_reads(data_root: Path, pattern: str, every: int) -> None:
    headers = sorted(data_root.glob(pattern))[::every]
    assert headers
    for path in (header.with_suffix("") for header in headers):
        assert_agrees_with_wfdb(path)
        truth = wfdb.rdrecord(str(path), physical=False, return_res=16)
        raw = np.fromfile(path.with_name(truth.file_name[0]), np.uint8, offset=truth.byte_offset[0] or 0)
        np.testing.assert_array_equal(decode(raw, int(truth.fmt[0]), truth.n_sig, truth.sig_len), truth.d_signal)


@few
@given(
    data=st.data(),
    fmt=st.sampled_from(list(RANGE)),
    leads=st.integers(1, 5),
    samples=st.integers(1, 31),
    gain=st.sampled_from([1.0, 12.375, 200.0, 1000.0]),
    baseline=st.integers(-3000, 3000),
    unit=st.sampled_from(list(MILLIVOLTS)),
)
def test_random_recordings_written_by_wfdb_are_what_wfdb_reads(
    data: st.DataObject, fmt: int, leads: int, samples: int, gain: float, baseline: int, unit: str
) -> None:
    digit = st.integers(-RANGE[fmt], RANGE[fmt] - 1)
    flat = data.draw(st.lists(digit, min_size=leads * samples, max_size=leads * samples))
    with TemporaryDirectory() as folder:
        path = write(Path(folder), fmt, np.array(flat).reshape(samples, leads), gain, baseline, unit)
        assert_agrees_with_wfdb(path)


@few
@given(data=st.data(), fmt=st.sampled_from(list(BLOCK)), frames=st.lists(st.integers(1, 3), min_size=1, max_size=4),
       samples=st.integers(1, 20))  # fmt: skip
def test_random_bytes_are_the_samples_that_wfdb_finds_in_them(
    data: st.DataObject, fmt: int, frames: list[int], samples: int
) -> None:
    if fmt == 61:
        frames = [1] * len(frames)
    _, size = packed_bytes(fmt, samples * sum(frames))
    raw = bytearray(data.draw(st.binary(min_size=size, max_size=size)))
    if fmt == 311:
        raw[3::4] = bytes(byte & 0x3F for byte in raw[3::4])  # wfdb takes one of the two unused bits for a sample's.
    with TemporaryDirectory() as folder:
        path = Path(folder) / "r"
        signals = [f"r.dat {fmt}x{frame}+3 50(2)/uV 12 7 0 1 0 lead {i}" for i, frame in enumerate(frames)]
        path.with_suffix(".hea").write_text("\n".join([f"r {len(frames)} 250 {samples}", *signals]))
        path.with_suffix(".dat").write_bytes(b"abc" + bytes(raw))
        state_truth(path)
        assert_agrees_with_wfdb(path)


@pytest.mark.parametrize(
    ("signals", "sizes"),
    [
        (["r.dat 61 200(3)/mV 16 0 0 1 0 I", "r.dat 61 100/mV 16 5 0 1 0 II"], {"r.dat": 24}),
        (["r.dat 16 200/mV 16 0 0 1 0 I", "s.dat 16 200/mV 16 0 0 1 0 II"], {"r.dat": 12, "s.dat": 12}),
        (["r.dat 16 200/mV 16 0 0 1 0 I", "s.dat 80 200/mV 12 0 0 1 0 II"], {"r.dat": 12, "s.dat": 6}),
        (["r.dat 16x2 200/mV 16 0 0 1 0 I", "r.dat 16x2 200/mV 16 0 0 1 0 II"], {"r.dat": 48}),
        (["r.dat 16:1 200/mV 16 0 0 1 0 I", "r.dat 16 200/mV 16 0 0 1 0 II"], {"r.dat": 24}),
        (["r.dat 8 200/mV 16 7 0 1 0 I", "r.dat 8x2 200/mV 16 0 0 1 0 II"], {"r.dat": 18}),
    ],
    ids=["format 61", "two files", "two files of two formats", "two samples a frame", "skew", "first differences"],
)
def test_any_layout_is_read_as_by_wfdb(tmp_path: Path, signals: list[str], sizes: dict[str, int]) -> None:
    (tmp_path / "r.hea").write_text("\n".join(["r 2 250 6", *signals]))
    for file, size in sizes.items():
        (tmp_path / file).write_bytes(bytes(range(size)))
    with pytest.raises(BadRecord, match=r"\.dat.*checksum says 1;"):
        of(tmp_path / "r").read()
    state_truth(tmp_path / "r")
    assert_agrees_with_wfdb(tmp_path / "r")


@pytest.mark.parametrize("fmt", [508, 516, 524])
def test_a_flac_file_of_several_samples_a_frame_is_read_as_by_wfdb(tmp_path: Path, fmt: int) -> None:
    digits = [np.arange(2 * 40) % 31, -np.arange(2 * 40) % 17]
    wfdb.wrsamp("r", fs=250, units=["mV"] * 2, sig_name=["I", "II"], e_d_signal=digits, samps_per_frame=[2, 2],
                fmt=[str(fmt)] * 2, adc_gain=[50.0] * 2, baseline=[3] * 2, write_dir=str(tmp_path))  # fmt: skip
    assert_agrees_with_wfdb(tmp_path / "r")


def test_a_small_flac_file_that_unpacks_to_much_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    silence = np.zeros(2**20, np.int16)
    with soundfile.SoundFile(tmp_path / "r.dat", "w", 96000, 1, "PCM_16", format="FLAC") as file:
        for _ in range(30):
            file.write(silence)
    (tmp_path / "r.hea").write_text(f"r 1 250 {30 * 2**20}\nr.dat 516 200/mV 16 0 0 0 0 I\n")
    assert (tmp_path / "r.dat").stat().st_size < 300_000
    with pytest.raises(BadRecord, match=r"r\.dat.*FLAC cannot hold"):
        of(tmp_path / "r").layout()


def test_segments_are_joined_as_by_wfdb_and_a_fault_names_its_segment(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write(tmp_path, 16, ramp(samples=40), name=name)
    (tmp_path / "long.hea").write_text("long/2 3 250 80\na 40\nb 40\n")
    assert_agrees_with_wfdb(tmp_path / "long")
    (tmp_path / "gap.hea").write_text("gap/3 3 250 85\na 40\n~ 5\nb 40\n")
    whole, parts = of(tmp_path / "gap").read().signal, of(tmp_path / "long").read().signal
    np.testing.assert_array_equal(whole, np.insert(parts, [40] * 5, np.nan, axis=1))
    edit("b.dat", lambda raw: bytes([raw[0] ^ 1]) + raw[1:])(tmp_path)
    with pytest.raises(BadRecord, match=r"b\.dat.*checksum"):
        of(tmp_path / "long").read()


def test_segments_of_variable_layout_are_joined_as_by_wfdb(tmp_path: Path) -> None:
    write(tmp_path, 16, ramp(samples=40, leads=3), name="a")
    write(tmp_path, 80, ramp(samples=30, leads=2), name="b", gain=50.0)
    layout = "".join(f"~ 0 200/mV 12 0 0 0 0 V{lead + 1}\n" for lead in range(3))
    (tmp_path / "layout.hea").write_text(f"layout 3 250 0\n{layout}")
    (tmp_path / "long.hea").write_text("long/4 3 250 75\nlayout 0\na 40\n~ 5\nb 30\n")
    assert_agrees_with_wfdb(tmp_path / "long")


WHOLES = {
    "a segment is missing": ("long/2 3 250 80\na 40\nc 40\n", "c.hea"),
    "a segment has segments": ("long/2 3 250 80\na 40\nlong 40\n", "long.hea"),
    "a segment by its path": ("long/2 3 250 80\na 40\n../b 40\n", "long.hea"),
    "a segment twice": ("long/2 3 250 80\na 40\na 40\n", "long.hea"),
    "a segment of another length": ("long/2 3 250 81\na 40\nb 41\n", "b.hea"),
    "segments at another rate": ("long/2 3 500 80\na 40\nb 40\n", "a.hea"),
    "another total": ("long/2 3 250 81\na 40\nb 40\n", "long.hea"),
    "another number of leads": ("long/2 2 250 80\na 40\nb 40\n", "long.hea"),
    "another number of segments": ("long/3 3 250 80\na 40\nb 40\n", "long.hea"),
    "a gap of centuries": ("long/2 3 250 1000000000040\na 40\n~ 1000000000000\n", "long.hea"),
    "gaps alone": ("long/1 3 250 40\n~ 40\n", "long.hea"),
}


@pytest.mark.parametrize("fault", WHOLES)
def test_segments_that_contradict_the_whole_are_one_message(tmp_path: Path, fault: str) -> None:
    for name in ("a", "b"):
        write(tmp_path, 16, ramp(samples=40), name=name)
    text, file = WHOLES[fault]
    (tmp_path / "long.hea").write_text(text)
    with pytest.raises(BadRecord) as error:
        of(tmp_path / "long").layout()
    assert str(tmp_path / file) in str(error.value)


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


def link(path: Path, target: str) -> None:
    path.unlink()
    path.symlink_to(target)


def make_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def strip_fields(header: Path, keep: int) -> None:
    """Leave only so many fields of the last signal."""
    *others, last = header.read_text().splitlines()
    header.write_text("\n".join([*others, " ".join(last.split()[:keep])]))


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
    "a gain that overflows": (replace(b"200.0(0)", b"1e-300(0)"), "r.hea"),
    "a gain past any number": (replace(b"200.0(0)", b"1e999(0)"), "r.hea"),
    "a baseline past any number": (replace(b"200.0(0)", b"200(99999999999999999999)"), "r.hea"),
    "a format that does not exist": (edit("r.hea", lambda text: re.sub(rb"r.dat \d+", b"r.dat 17", text)), "r.dat"),
    "the samples of another first value": (replace(b" 0 -100 ", b" 0 -101 "), "r.dat"),
    "a lead twice": (replace(b"V1", b"V2"), "r.hea"),
    "a checksum missing": (lambda folder: strip_fields(folder / "r.hea", keep=6), "r.hea"),
    "signals elsewhere": (replace(b"r.dat", b"../r.dat"), "r.hea"),
    "signals elsewhere on Windows": (replace(b"r.dat", b"..\\r.dat"), "r.hea"),
    "signals on another machine": (replace(b"r.dat", b"http://example.org/r.dat"), "r.hea"),
    "signals of a pipe": (lambda folder: make_pipe(folder / "r.dat"), "r.dat"),
    "signals of a device": (lambda folder: link(folder / "r.dat", "/dev/zero"), "r.dat"),
    "links in a circle": (lambda folder: link(folder / "r.dat", "r.dat"), "r.dat"),
    "a header that the disk does not give": (lambda folder: link(folder / "r.hea", "/proc/self/mem"), "r.hea"),
    "a header of a device": (lambda folder: link(folder / "r.hea", "/dev/zero"), "r.hea"),
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


@pytest.mark.parametrize("fmt", [16, 24, 32, 80, 212])
@given(bit=st.integers(0, 7), byte=st.integers(0, 149))
@settings(max_examples=15, deadline=None)
def test_a_flipped_bit_contradicts_the_checksum(fmt: int, bit: int, byte: int) -> None:
    if fmt in (24, 32):
        byte -= byte % (fmt // 8)  # A sum modulo 65536 sees the lower two bytes of a sample alone.
    with TemporaryDirectory() as folder:
        path = write(Path(folder), fmt, ramp())
        raw = bytearray((Path(folder) / "r.dat").read_bytes())
        raw[byte] ^= 1 << bit
        (Path(folder) / "r.dat").write_bytes(raw)
        with pytest.raises(BadRecord, match=r"r\.dat.*checksum"):
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
            assert f"{folder}/" in str(error)
        else:
            assert record.signal.shape == (len(layout.leads), layout.samples)
