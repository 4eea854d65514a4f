"""Kaggle's heartbeat files, and the same beats cut from MIT-BIH."""

from __future__ import annotations

import gzip
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import wfdb
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.signal import resample_poly

from ecg_lightning.data.beats import STEPS, CutBeats
from ecg_lightning.data.heartbeat import SAMPLES, Heartbeat, valid_length
from ecg_lightning.data.heartbeat_mitdb import HeartbeatMITDB
from ecg_lightning.data.mitbih import DS1, DS2
from ecg_lightning.data.windows import Draw, to_signal
from ecg_lightning.errors import UserError
from ecg_lightning.signal import SignalSpec

SPEC = SignalSpec(125, ("II",), 200, standardise="zscore")
FILES = {"mitbih_train.csv": 60, "mitbih_test.csv": 30, "ptbdb_normal.csv": 20, "ptbdb_abnormal.csv": 25}
Rows = np.ndarray


def rows_of(count: int, seed: int, labels: Any) -> Rows:
    """Rows as published: beats of different lengths in [0, 1], zeros, a class."""
    rng = np.random.default_rng(seed)
    rows = np.zeros((count, SAMPLES + 1))
    for row in rows:
        length = rng.integers(40, SAMPLES + 1)
        beat = np.cumsum(rng.normal(size=length))
        row[:length] = (beat - beat.min()) / np.ptp(beat)
        row[length - 1] = max(row[length - 1], 0.01)
    rows[:, -1] = np.resize(labels, count)
    return rows


@pytest.fixture(scope="module")
def published() -> dict[str, Rows]:
    labels = {"mitbih_train.csv": range(5), "mitbih_test.csv": range(5), "ptbdb_normal.csv": 0, "ptbdb_abnormal.csv": 1}
    return {name: rows_of(count, seed, labels[name]) for seed, (name, count) in enumerate(FILES.items())}


def as_text(rows: Rows) -> str:
    return "".join(",".join(f"{value:.18e}" for value in row) + "\n" for row in rows)


def write_csv(root: Path, files: dict[str, Rows]) -> None:
    for name, rows in files.items():
        (root / name).write_text(as_text(rows))


def write_gz(root: Path, files: dict[str, Rows]) -> None:
    for name, rows in files.items():
        (root / f"{name}.gz").write_bytes(gzip.compress(as_text(rows).encode()))


def write_zip(root: Path, files: dict[str, Rows]) -> None:
    with zipfile.ZipFile(root / "archive.zip", "w", zipfile.ZIP_DEFLATED) as file:
        for name, rows in files.items():
            file.writestr(name, as_text(rows))


def heartbeat(root: Path, cache: Path, **options: Any) -> Heartbeat:
    return Heartbeat(**{"name": "heartbeat", "root": root, "spec": SPEC, "cache_dir": cache, **options})


def beat_of(data: CutBeats, number: int) -> np.ndarray:
    """One beat out of the store, in shares of its range."""
    return data.store.signal(number)[0] / data.store.scale


# --- the files ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("write", [write_csv, write_gz, write_zip])
@pytest.mark.parametrize("task", ["mitbih", "ptbdb"])
def test_every_row_comes_as_it_stands_in_the_files(
    write: Callable[..., None], task: str, published: dict[str, Rows], tmp_path: Path
) -> None:
    write(tmp_path, published)
    data = heartbeat(tmp_path, tmp_path / "cache", task=task)
    rows = np.concatenate([rows for name, rows in published.items() if name.startswith(task)])
    assert len(data.store) == len(rows)
    assert data.labelled.y.tolist() == rows[:, -1].astype(int).tolist()
    for number, row in enumerate(rows[:, :-1]):
        length = np.flatnonzero(row).max() + 1
        np.testing.assert_allclose(beat_of(data, number), row[:length], atol=0.5001 / STEPS)
    assert data.split_kind == "intra-patient"


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(st.sampled_from([0.0, 0.2, 1.0]), min_size=6, max_size=6), min_size=1, max_size=5))
def test_a_beat_ends_with_its_last_sample_that_is_not_zero(rows: list[list[float]]) -> None:
    naive = []
    for row in rows:
        while row and row[-1] == 0:
            row = row[:-1]  # noqa: PLW2901
        naive.append(len(row))
    assert valid_length(np.array([r + [0.0] * (6 - len(r)) for r in rows])).tolist() == naive


def test_padding_is_no_part_of_a_beat(published: dict[str, Rows], tmp_path: Path) -> None:
    write_csv(tmp_path, published)
    data = heartbeat(tmp_path, tmp_path / "cache")
    loader = data.windows(data.labelled)
    batch = to_signal(loader[Draw(np.arange(10), np.zeros(10))], SPEC)
    assert batch.valid is not None
    for number, x in enumerate(batch.x[:, 0]):
        row = published["mitbih_train.csv"][number, :-1]
        length = np.flatnonzero(row).max() + 1
        expected = (row[:length] - row[:length].mean()) / row[:length].std()
        np.testing.assert_allclose(x[:length], expected, atol=2e-3)
        assert not x[length:].any()
        assert batch.valid[number].tolist() == [t < length for t in range(200)]
        assert batch.span is not None and batch.span[number].tolist() == [0, length]


def test_the_published_test_file_tests_and_nothing_of_it_trains(published: dict[str, Rows], tmp_path: Path) -> None:
    write_csv(tmp_path, published)
    data = heartbeat(tmp_path, tmp_path / "cache")
    names = {split: set(data.store.record_id[data.labelled.of(split).row]) for split in ("train", "val", "test")}
    assert names["test"] == {f"test-{row}" for row in range(30)}
    assert names["train"] | names["val"] == {f"train-{row}" for row in range(60)} and names["val"]
    assert set(data.patients("test")) == {f"mitbih/kaggle:test-{row}" for row in range(30)}


@pytest.mark.parametrize(("fs", "leads", "missing"), [(100, ("II", "V1"), "replicate"), (250, ("V1", "II"), "zero")])
def test_beats_come_at_another_rate_and_on_other_leads(
    fs: float, leads: tuple[str, ...], missing: Any, published: dict[str, Rows], tmp_path: Path
) -> None:
    write_csv(tmp_path, published)
    data = heartbeat(tmp_path, tmp_path / "cache", spec=SignalSpec(fs, leads, 300, missing=missing))
    up, down = {100: (4, 5), 250: (2, 1)}[int(fs)]
    for number in (0, 7, 33):
        row = published["mitbih_train.csv"][number, :-1]
        beat = row[: np.flatnonzero(row).max() + 1].astype(np.float32)
        found = data.store.signal(number) / data.store.scale
        expected = resample_poly(beat, up, down, padtype="line")
        np.testing.assert_allclose(found[leads.index("II")], expected, atol=1e-4)
        other = found[leads.index("V1")]
        np.testing.assert_allclose(other, expected if missing == "replicate" else 0 * expected, atol=1e-4)


# --- bad files ---------------------------------------------------------------------------------------------------

BAD_ROWS = {
    "holds samples that are no numbers": lambda rows: rows.__setitem__((3, 5), np.nan),
    "holds samples outside": lambda rows: rows.__setitem__((3, 5), 1.2),
    "is flat": lambda rows: rows.__setitem__((3, slice(0, -1)), 0),
    "has a class that is not one of": lambda rows: rows.__setitem__((3, -1), 7),
}


@pytest.mark.parametrize("fault", BAD_ROWS)
def test_a_bad_row_is_named_or_left_out(fault: str, published: dict[str, Rows], tmp_path: Path) -> None:
    rows = {name: rows.copy() for name, rows in published.items()}
    BAD_ROWS[fault](rows["mitbih_train.csv"])
    write_csv(tmp_path, rows)
    with pytest.raises(UserError, match=rf"mitbih_train\.csv: row 4 {fault}.*data\.on_bad_record=skip"):
        len(heartbeat(tmp_path, tmp_path / "cache").store)
    data = heartbeat(tmp_path, tmp_path / "cache", on_bad_record="skip")
    assert len(data.store) == 89 and list(data.store.skipped) == ["train-3"]
    with pytest.raises(UserError, match="row 4"):
        len(heartbeat(tmp_path, tmp_path / "cache").store)


def test_a_row_of_text_is_a_bad_row(published: dict[str, Rows], tmp_path: Path) -> None:
    write_csv(tmp_path, published)
    lines = (tmp_path / "mitbih_train.csv").read_text().splitlines()
    lines[3] = lines[3].replace(lines[3].split(",")[9], "oops", 1)
    (tmp_path / "mitbih_train.csv").write_text("\n".join(lines))
    with pytest.raises(UserError, match="row 4 holds samples that are no numbers"):
        len(heartbeat(tmp_path, tmp_path / "cache").store)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("mitbih_test.csv", b"", r"mitbih_test\.csv.*download it again"),
        ("mitbih_test.csv", b"1,2,3\n", r"has 3 columns, not the published 188"),
        ("mitbih_test.csv", b"\xff\xfe\x00broken", r"mitbih_test\.csv.*download it again"),
        ("mitbih_test.csv.gz", b"no gzip", r"mitbih_test\.csv\.gz.*download it again"),
        (
            "mitbih_test.csv.gz",
            gzip.compress(b"0.5," * 187 + b"1\n", mtime=0)[:-9],
            r"mitbih_test\.csv\.gz.*download it again",
        ),
        ("archive.zip", b"PK no zip", r"archive\.zip: not a readable zip"),
        ("other.txt", b"", r"holds no mitbih_test\.csv.*kaggle\.com"),
    ],
)
def test_a_bad_file_is_named(
    name: str, content: bytes, message: str, published: dict[str, Rows], tmp_path: Path
) -> None:
    write_csv(tmp_path, {"mitbih_train.csv": published["mitbih_train.csv"]})
    (tmp_path / name).write_bytes(content)
    for on_bad in ("raise", "skip"):
        with pytest.raises(UserError, match=message):
            len(heartbeat(tmp_path, tmp_path / "cache", on_bad_record=on_bad).store)


def test_a_file_that_unpacks_without_end_is_stopped(
    published: dict[str, Rows], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ecg_lightning.data.heartbeat.MOST_ROWS", 50)
    monkeypatch.setattr("ecg_lightning.data.heartbeat.CHUNK_ROWS", 20)
    write_gz(tmp_path, published)
    with pytest.raises(UserError, match="more than 50 rows"):
        len(heartbeat(tmp_path, tmp_path / "cache").store)


# --- the same beats, cut again -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def cut(synthetic_root: Path, tmp_path_factory: pytest.TempPathFactory) -> HeartbeatMITDB:
    cache = tmp_path_factory.mktemp("cut")
    return HeartbeatMITDB(name="heartbeat_mitdb", root=synthetic_root / "mitdb", spec=SPEC, cache_dir=cache)


def test_a_cut_beat_is_what_the_recipe_says(cut: HeartbeatMITDB, synthetic_root: Path) -> None:
    record, sample = cut.store.annotations[20]["record"], cut.store.annotations[20]["sample"]
    path = str(synthetic_root / "mitdb" / record)
    marks, signal = wfdb.rdann(path, "atr"), wfdb.rdrecord(path)
    beats = [s for s, kind in zip(marks.sample, marks.symbol, strict=True) if kind != "+"]
    following = beats[beats.index(sample) + 1]
    lead = [name == "MLII" for name in signal.sig_name].index(True)
    line = resample_poly(signal.p_signal[:, lead], 25, 72, padtype="line")
    begin = round(sample * 125 / 360)
    beat = line[begin : begin + min(int(np.ceil(1.2 * (following - sample) * 125 / 360)), 187)]
    np.testing.assert_allclose(beat_of(cut, 20), (beat - beat.min()) / np.ptp(beat), atol=1e-3)


def test_the_last_beat_of_a_recording_has_no_next_one(cut: HeartbeatMITDB, synthetic_root: Path) -> None:
    count = 0
    for header in (synthetic_root / "mitdb").glob("*.hea"):
        symbols = wfdb.rdann(str(header.with_suffix("")), "atr").symbol
        count += sum(kind in "NLRejAaJSVEF/fQ" for kind in symbols) - 1
    assert len(cut.store) == count


def test_a_cut_beat_knows_whose_it_is(cut: HeartbeatMITDB) -> None:
    records = [annotation["record"] for annotation in cut.store.annotations]
    assert cut.store.patient.tolist() == [f"mitbih/{name}" for name in records]
    split = cut.split_of_records(cut.store)
    for name, number in zip(records, split, strict=True):
        assert (number == 2) == (name in DS2) and (number in (0, 1)) <= (name in DS1)
    assert cut.split_kind == "inter-patient"


@pytest.mark.realdata
def test_the_class_totals_are_the_published_ones_and_the_published_rows_are_found(
    data_root: Path, tmp_path: Path
) -> None:
    cut = HeartbeatMITDB(name="heartbeat_mitdb", root=data_root / "mitdb", spec=SPEC, cache_dir=tmp_path)
    assert np.bincount(cut.labelled.y).tolist() == [90_589, 2_779, 7_236, 803, 8_039]
    ours, theirs = cut.table(), heartbeat(data_root / "heartbeat", tmp_path).table()
    best = []
    for label in range(5):
        mine, published = (normal(table.signal[table.label == label]) for table in (ours, theirs))
        best.append((published @ mine.T).max(axis=1))
    assert np.median(np.concatenate(best)) >= 0.97


def normal(x_BT: np.ndarray) -> np.ndarray:
    centred = x_BT - x_BT.mean(axis=1, keepdims=True)
    return np.asarray(centred / np.linalg.norm(centred, axis=1, keepdims=True))


@pytest.mark.realdata
def test_the_real_rows_train_and_are_evaluated(data_root: Path, tmp_path: Path) -> None:
    from ecg_lightning.encoders.vit import ViT
    from ecg_lightning.readout import BEAT_PARTS, read_out

    data = heartbeat(data_root / "heartbeat", tmp_path)
    assert np.bincount(data.labelled.y).tolist() == [200] * 5
    batch = to_signal(next(iter(data.train_dataloader())), SPEC)
    features = read_out(ViT(SPEC, 16, 1, 2, 0.2), batch._replace(span=torch.tensor([[0, 90]] * len(batch.x))))
    assert features.shape == (len(batch.x), 16 * (BEAT_PARTS + 1)) and features.isfinite().all()
