"""The store: lossless against its source, built once by whoever comes first, whole or not at all."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import h5py
import numpy as np
import pytest
import wfdb
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from ecg_lightning.data import ingest
from ecg_lightning.data.ingest import prepare, rendered_length
from ecg_lightning.data.record import BadRecord, Layout, Record
from ecg_lightning.data.store import Store
from ecg_lightning.data.synthetic.format16 import write_record
from ecg_lightning.data.wfdb_files import WFDBFile
from ecg_lightning.errors import UserError
from ecg_lightning.signal import SignalSpec, resample

LEADS = ("II", "V1")
SPEC = SignalSpec(100, LEADS, 100)
Digits = NDArray[np.int16]


def random_digits(samples: int = 300, seed: int = 0, leads: int = 2) -> Digits:
    """(L, T), over the whole range and never flat."""
    digits = np.random.default_rng(seed).integers(-32767, 32768, size=(leads, samples), dtype=np.int16)
    digits[:, :2] = (-1, 1)
    return digits


def write(folder: Path, digits: Mapping[str, Digits], fs: int = 100, leads: Sequence[str] = LEADS) -> list[WFDBFile]:
    folder.mkdir(exist_ok=True)
    for name, signal_LT in digits.items():
        write_record(folder / name, fs, leads, signal_LT)
    return files(folder)


def files(folder: Path) -> list[WFDBFile]:
    names = sorted(path.stem for path in folder.glob("*.hea"))
    return [WFDBFile(folder / name, name, f"patient {name}", fold=3, annotation={"of": name}) for name in names]


def three(folder: Path) -> list[WFDBFile]:
    return write(folder, {name: random_digits(250 + 50 * i, seed=i) for i, name in enumerate("abc")})


# --- what it holds ----------------------------------------------------------------------------------------------


@settings(max_examples=20, deadline=None)
@given(
    lengths=st.lists(st.integers(2, 90), min_size=1, max_size=5), seed=st.integers(0, 99), order=st.permutations(LEADS)
)
def test_recordings_of_any_length_come_back_digit_for_digit(lengths: list[int], seed: int, order: list[str]) -> None:
    digits = {f"r{i}": random_digits(length, seed + i) for i, length in enumerate(lengths)}
    with TemporaryDirectory() as folder:
        store = prepare("any", write(Path(folder) / "in", digits, leads=order), SPEC, Path(folder) / "cache")
        assert store.record_id.tolist() == list(digits)
        for row, truth in enumerate(digits.values()):
            np.testing.assert_array_equal(store.signal(row), truth[[order.index(lead) for lead in LEADS]])
        assert store.start.tolist() == [sum(lengths[:i]) for i in range(len(lengths))]
        assert len(store.signals) == sum(lengths)


@pytest.mark.realdata
@pytest.mark.parametrize(
    ("where", "fs", "microvolts"),
    [("ptbxl/records100/00000/00017_lr", 100, 1), ("ptbxl/records100/00000/00423_lr", 100, 1),
     ("ptbxl/records500/00000/00002_hr", 500, 1), ("mitdb/100", 360, 5), ("mitdb/102", 360, 5), ("mitdb/114", 360, 5)],
)  # fmt: skip
def test_published_recordings_come_back_digit_for_digit(
    data_root: Path, tmp_path: Path, where: str, fs: int, microvolts: int
) -> None:
    truth = wfdb.rdrecord(str(data_root / where), physical=False)
    spec = SignalSpec(fs, tuple(truth.sig_name), 100)
    store = prepare("real", [WFDBFile(data_root / where, "r", "p")], spec, tmp_path)
    np.testing.assert_array_equal(store.signal(0), (truth.d_signal.T - np.array(truth.baseline)[:, None]) * microvolts)


def test_signals_are_one_plain_block_of_the_file(tmp_path: Path) -> None:
    store = prepare("set", three(tmp_path / "in"), SPEC, tmp_path)
    with h5py.File(store.path) as file:
        dataset = file["signals"]
        assert (dataset.chunks, dataset.compression, dataset.dtype) == (None, None, np.dtype("<i2"))
        offset = dataset.id.get_offset()
    block = np.fromfile(store.path, "<i2", count=store.signals.size, offset=offset)
    assert isinstance(store.signals, np.memmap) and store.signals.flags.c_contiguous
    np.testing.assert_array_equal(store.signals, block.reshape(-1, 2))


def test_the_tables_tell_of_each_recording_what_its_source_says(tmp_path: Path) -> None:
    given_files = write(tmp_path / "in", {"a": random_digits(leads=1), "b": random_digits(leads=1)}, 250, ["MLII"])
    store = prepare("set", [given_files[0], replace(given_files[1], fold=None)], SPEC, tmp_path)
    assert store.patient.tolist() == ["patient a", "patient b"]
    assert (store.fs, store.leads, store.fs_source.tolist()) == (100, LEADS, [250, 250])
    assert (store.fold.tolist(), store.length.tolist()) == ([3, -1], [120, 120])
    assert store.annotations == [{"of": "a"}, {"of": "b"}]
    assert store.substituted == {"V1 <- II": 2} and not store.skipped


rates = st.one_of(st.integers(20, 1000).map(float), st.sampled_from([62.5, 128.5, 257.0, 360.0, 499.9]))


@settings(max_examples=60, deadline=None)
@given(fs_from=rates, fs_to=rates, samples=st.integers(1, 3000))
def test_the_length_planned_from_the_header_is_that_of_the_resampled_signal(
    fs_from: float, fs_to: float, samples: int
) -> None:
    planned = rendered_length(Layout(fs_from, LEADS, samples), SignalSpec(fs_to, LEADS, 1))
    assert planned == resample(np.zeros((1, samples)), fs_from, fs_to).shape[1]


def test_a_file_that_is_no_store_is_named(tmp_path: Path) -> None:
    store = prepare("set", three(tmp_path / "in"), SPEC, tmp_path)
    with h5py.File(store.path, "r+") as file:
        file.attrs["version"] = 0
    noise = tmp_path / "noise.h5"
    noise.write_bytes(b"noise")
    for path in (store.path, noise):
        with pytest.raises(UserError, match=f"{path}.*delete it"):
            Store.open(path)


# --- when it is built -------------------------------------------------------------------------------------------


def test_the_fingerprint_is_of_the_samples_and_not_of_the_place(tmp_path: Path) -> None:
    store = prepare("set", three(tmp_path / "in"), SPEC, tmp_path / "cache")
    shutil.copytree(tmp_path / "in", tmp_path / "copy", copy_function=shutil.copyfile)
    copy = prepare("set", files(tmp_path / "copy"), SPEC, tmp_path / "other cache")
    assert copy.fingerprint == store.fingerprint
    changed = random_digits(300, seed=1)
    changed[0, 100] ^= 1
    write(tmp_path / "copy", {"b": changed})
    assert prepare("set", files(tmp_path / "copy"), SPEC, tmp_path / "other cache").fingerprint != store.fingerprint


def rewrite_signal(folder: Path) -> list[WFDBFile]:
    return write(folder, {"b": random_digits(300, seed=77)})


def relabel(folder: Path) -> list[WFDBFile]:
    return [replace(file, annotation={"of": "another table"}) for file in files(folder)]


def drop_one(folder: Path) -> list[WFDBFile]:
    return files(folder)[1:]


@pytest.mark.parametrize("change", [rewrite_signal, relabel, drop_one])
def test_a_store_follows_its_sources(tmp_path: Path, change: Callable[[Path], list[WFDBFile]]) -> None:
    before = prepare("set", three(tmp_path / "in"), SPEC, tmp_path)
    assert prepare("set", files(tmp_path / "in"), SPEC, tmp_path).path == before.path
    sources = change(tmp_path / "in")
    after = prepare("set", sources, SPEC, tmp_path)
    assert after.path != before.path
    assert after.annotations == [file.annotation for file in sources]
    for row, file in enumerate(sources):
        np.testing.assert_allclose(after.signal(row), 1000 * file.read().signal, atol=1e-3 * 3)


def test_a_store_follows_signals_that_lie_in_a_mat_file(tmp_path: Path) -> None:
    digits = random_digits()
    sources = write(tmp_path / "in", {"a": digits})
    edit_header("a.dat 16", "a.mat 16+24")(tmp_path / "in/a")
    backwards = digits[:, [0, *range(digits.shape[1] - 1, 0, -1)]]
    for turned in (digits, backwards):  # One header with its first values and checksums fits both.
        (tmp_path / "in/a.mat").write_bytes(bytes(24) + turned.T.tobytes())
        np.testing.assert_array_equal(prepare("set", sources, SPEC, tmp_path).signal(0), turned)


@dataclass(frozen=True)
class Witness(WFDBFile):
    """Notes the process that read it."""

    def read(self) -> Record:
        return replace(super().read(), annotation={"process": os.getpid()})


def test_worker_processes_build_the_same_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    alone = prepare("set", three(tmp_path / "in"), SPEC, tmp_path / "alone")
    monkeypatch.setattr(ingest, "SMALL_SAMPLES", 0)
    monkeypatch.setattr(ingest, "CHUNK_SAMPLES", 1)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1})
    witnesses = [Witness(file.path, file.record_id, file.patient, file.fold) for file in files(tmp_path / "in")]
    together = prepare("set", witnesses, SPEC, tmp_path / "together")
    assert os.getpid() not in {annotation["process"] for annotation in together.annotations}
    np.testing.assert_array_equal(together.signals, alone.signals)
    for table in ("record_id", "patient", "fold", "start", "length", "digest", "fs_source"):
        np.testing.assert_array_equal(getattr(together, table), getattr(alone, table))


BUILDER = """
import os, sys, time
from pathlib import Path
from ecg_lightning.data import ingest
from ecg_lightning.data.wfdb_files import WFDBFile
from ecg_lightning.signal import SignalSpec

folder, cache, seconds, in_workers = Path(sys.argv[1]), Path(sys.argv[2]), float(sys.argv[3]), sys.argv[4] == "workers"

class SlowFile(WFDBFile):
    def read(self):
        with (folder / "readers").open("a") as log:
            print(os.getpid(), file=log)
        time.sleep(seconds)
        return super().read()

if __name__ == "__main__":
    if in_workers:
        ingest.SMALL_SAMPLES, ingest.CHUNK_SAMPLES = 0, 1
        os.sched_getaffinity = lambda _: {0, 1}
    names = sorted(path.stem for path in folder.glob("*.hea"))
    slow = [SlowFile(folder / name, name, f"patient {name}", 3, {"of": name}) for name in names]
    print(ingest.prepare("set", slow, SignalSpec(100, ("II", "V1"), 100), cache).fingerprint)
"""


@pytest.fixture
def build(tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start another process that builds the store of `tmp_path/in`, spending some seconds on each recording."""
    script = tmp_path / "builder.py"
    script.write_text(BUILDER)
    started: list[subprocess.Popen[str]] = []

    def start(seconds: float, where: str = "alone") -> subprocess.Popen[str]:
        arguments = [sys.executable, str(script), str(tmp_path / "in"), str(tmp_path / "cache"), str(seconds), where]
        environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
        pipe = subprocess.PIPE
        started.append(subprocess.Popen(arguments, stdout=pipe, stderr=pipe, text=True, env=environment))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.communicate()


def readers(tmp_path: Path) -> list[int]:
    log = tmp_path / "in/readers"
    return [int(line) for line in log.read_text().split()] if log.exists() else []


def wait_until(condition: Callable[[], Any], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


def alive(process: int) -> bool:
    with suppress(ProcessLookupError, FileNotFoundError):
        return Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    return False


def test_of_two_processes_that_want_the_store_one_builds_it(tmp_path: Path, build: Callable[..., Any]) -> None:
    sources = three(tmp_path / "in")
    outputs = [process.communicate(timeout=120)[0] for process in [build(0.5), build(0.5)]]
    store = prepare("set", sources, SPEC, tmp_path / "cache")
    assert [output.strip() for output in outputs] == [store.fingerprint] * 2
    assert len(readers(tmp_path)) == len(sources) and len(set(readers(tmp_path))) == 1
    assert {path.suffix for path in (tmp_path / "cache").iterdir()} <= {".h5", ".lock"}


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks processes up in /proc")
@pytest.mark.parametrize("where", ["alone", "workers"])
def test_a_killed_builder_leaves_no_store_and_the_next_run_builds_it(
    tmp_path: Path, build: Callable[..., Any], where: str
) -> None:
    sources = three(tmp_path / "in")
    victim = build(600, where)
    wait_until(lambda: readers(tmp_path))
    assert (victim.pid in readers(tmp_path)) == (where == "alone")
    victim.send_signal(signal.SIGKILL)
    victim.wait()
    wait_until(lambda: not any(alive(process) for process in readers(tmp_path)))
    left = {path.name.startswith(".") for path in (tmp_path / "cache").glob("*.h5")}
    assert left == {True}, "what was begun, and no store"
    store = prepare("set", sources, SPEC, tmp_path / "cache")
    np.testing.assert_array_equal(store.signal(1), random_digits(300, seed=1))
    assert {path.suffix for path in (tmp_path / "cache").iterdir()} <= {".h5", ".lock"}
    assert len(list((tmp_path / "cache").glob("*.h5"))) == 1, "what was begun is gone"


def test_a_script_without_a_guard_is_told_so_and_does_not_wait_for_ever(
    tmp_path: Path, build: Callable[..., Any]
) -> None:
    three(tmp_path / "in")
    script = tmp_path / "builder.py"
    script.write_text(BUILDER.replace('if __name__ == "__main__":', "if True:"))
    careless = build(0, "workers")
    _, said = careless.communicate(timeout=60)
    assert careless.returncode == 1
    assert said.rstrip().splitlines()[-1].startswith("ecg_lightning.errors.UserError: a process that reads recordings")
    assert "under `if __name__ == '__main__':`" in said
    assert ".h5" not in {path.suffix for path in (tmp_path / "cache").iterdir()}


# --- bad recordings ---------------------------------------------------------------------------------------------


def truncate(path: Path) -> None:
    path.with_suffix(".dat").write_bytes(path.with_suffix(".dat").read_bytes()[:-2])


def remove_header(path: Path) -> None:
    path.with_suffix(".hea").unlink()


def edit_header(old: str, new: str) -> Callable[[Path], None]:
    def edit(path: Path) -> None:
        header = path.with_suffix(".hea")
        header.write_text(header.read_text().replace(old, new))

    return edit


def set_digits(where: Any, value: int) -> Callable[[Path], None]:
    def edit(path: Path) -> None:
        digits = random_digits()
        digits[where] = value
        write_record(path, 100, LEADS, digits)

    return edit


def rename_leads(path: Path) -> None:
    write_record(path, 100, ["ABP", "PLETH"], random_digits())


# What happens to recording `b`, and what the message says of it.
BAD = {
    "truncated": (truncate, "b.dat is truncated"),
    "missing": (remove_header, "b.hea"),
    "invalid samples": (set_digits((1, 7), -32768), "lead V1 holds 1 invalid samples"),
    "flat": (set_digits(0, 12), "lead II is flat"),
    "past any body": (edit_header("1000.0(0)", "10.0(0)"), "mV, so its gain or unit is wrong"),
    "no lead of the twelve": (rename_leads, "no standard lead"),
    "unknown unit": (edit_header("/mV", "/bpm"), "bpm"),
}


@pytest.mark.parametrize("fault", BAD)
def test_a_bad_recording_stops_the_run_or_is_left_out_by_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], fault: str
) -> None:
    sources = three(tmp_path / "in")
    spoil, says = BAD[fault]
    spoil(tmp_path / "in/b")
    with pytest.raises(BadRecord, match=f"{says}.*data.on_bad_record=skip") as stopped:
        prepare("set", sources, SPEC, tmp_path / "cache")
    assert str(tmp_path / "in/b") in str(stopped.value), "the file is named"
    assert not list((tmp_path / "cache").glob("*.h5"))

    store = prepare("set", sources, SPEC, tmp_path / "cache", on_bad_record="skip")
    assert list(store.skipped) == ["b"] and says in store.skipped["b"]
    assert "left out 1 bad of 3 recordings: b" in capsys.readouterr().out
    assert store.record_id.tolist() == ["a", "c"]
    for row, (samples, seed) in enumerate([(250, 0), (350, 2)]):
        np.testing.assert_array_equal(store.signal(row), random_digits(samples, seed))
    with pytest.raises(UserError, match=f"{says}.*recording b"):
        prepare("set", sources, SPEC, tmp_path / "cache")
    prepare("set", sources, SPEC, tmp_path / "cache", on_bad_record="skip")
    assert "left out 1 bad of 3 recordings: b" in capsys.readouterr().out, "said of a store that was there too"


def test_without_a_good_recording_there_is_no_store(tmp_path: Path) -> None:
    for spoil in (truncate, BAD["flat"][0]):
        sources = write(tmp_path / "in", {"a": random_digits()})
        spoil(tmp_path / "in/a")
        with pytest.raises(UserError, match="every recording is bad"):
            prepare("set", sources, SPEC, tmp_path / "cache", on_bad_record="skip")
    with pytest.raises(UserError, match="no recordings"):
        prepare("set", [], SPEC, tmp_path / "cache")
    assert not list((tmp_path / "cache").glob("*.h5"))
