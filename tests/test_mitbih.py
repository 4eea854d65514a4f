"""MIT-BIH's beats and windows against its annotations, read with wfdb alone."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import wfdb
from numpy.typing import NDArray

from ecg_lightning.data.mitbih import MITBIH, VALIDATION, MITBIHFile
from ecg_lightning.data.record import BadRecord
from ecg_lightning.errors import UserError
from ecg_lightning.signal import SignalSpec

# ANSI/AAMI EC57, by the symbols of the database.
CLASS = {"N": "N", "L": "N", "R": "N", "e": "N", "j": "N", "A": "S", "a": "S", "J": "S", "S": "S",
         "V": "V", "E": "V", "F": "F", "/": "Q", "f": "Q", "Q": "Q"}  # fmt: skip
AAMI = ("N", "S", "V", "F", "Q")
PACED = {"102", "104", "107", "217"}


def spec(fs: float = 100, seconds: float = 10) -> SignalSpec:
    return SignalSpec.of_seconds(fs, ("II", "V1"), seconds, standardise="zscore")


@pytest.fixture(scope="module", params=["synthetic", pytest.param("real", marks=pytest.mark.realdata)])
def folder(request: pytest.FixtureRequest) -> Path:
    root = request.getfixturevalue("synthetic_root" if request.param == "synthetic" else "data_root")
    return root / "mitdb"


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def copy(synthetic_root: Path, tmp_path: Path) -> Path:
    """A data set of one's own to damage."""
    return Path(shutil.copytree(synthetic_root / "mitdb", tmp_path / "mitdb"))


def module(root: Path, cache: Path, signal: SignalSpec | None = None, **options: Any) -> MITBIH:
    return MITBIH(name="mitbih", root=root, spec=signal or spec(), cache_dir=cache, **options)


def beats_of(folder: Path, record: str) -> list[tuple[int, str]]:
    """Sample and AAMI class of each beat."""
    marks = wfdb.rdann(str(folder / record), "atr")
    return [(int(at), CLASS[symbol]) for at, symbol in zip(marks.sample, marks.symbol, strict=True) if symbol in CLASS]


def records(folder: Path) -> list[str]:
    return sorted(path.stem for path in folder.glob("*.hea"))


def counts(data: MITBIH, chosen: NDArray[np.bool_]) -> Counter[str]:
    return Counter(data.classes[c] for c in data.labelled.y[chosen])


# --- beats ------------------------------------------------------------------------------------------------------


def test_the_beats_of_each_record_are_those_annotated(folder: Path, cache: Path) -> None:
    data = module(folder, cache)
    assert data.store.record_id.tolist() == records(folder) and data.classes == AAMI
    assert not data.multi_label
    for row, name in enumerate(records(folder)):
        truth = beats_of(folder, name)
        mine = data.labelled.row == row
        assert [AAMI[c] for c in data.labelled.y[mine]] == [label for _, label in truth]
        centre = data.labelled.offset[mine] + data.spec.samples // 2
        np.testing.assert_array_equal(centre, np.rint(np.array([at for at, _ in truth]) / 3.6))
        seconds = np.diff([at / 360 for at, _ in truth])
        np.testing.assert_allclose(data.labelled.rr[mine][1:, 0], seconds, atol=1e-9)
        np.testing.assert_allclose(data.labelled.rr[mine][:-1, 1], seconds, atol=1e-9)
        assert np.isnan(data.labelled.rr[mine][[0, -1], [0, 1]]).all()


@pytest.mark.realdata
def test_the_real_beats_are_as_many_as_published(data_root: Path, cache: Path) -> None:
    data = module(data_root / "mitdb", cache)
    everything = np.ones(len(data.labelled.row), bool)
    assert counts(data, everything) == {"N": 90_631, "S": 2_781, "V": 7_236, "F": 803, "Q": 8_043}
    ds1_without_201 = (data.labelled.split == 0) | (data.labelled.split == 1)
    n, s, v, f = (45_866 - 1_635, 944 - 128, 3_788 - 198, 415 - 2)
    assert counts(data, ds1_without_201) == {"N": n, "S": s, "V": v, "F": f, "Q": 8}
    assert counts(data, data.labelled.split == 2) == {"N": 44_259, "S": 1_837, "V": 3_221, "F": 388, "Q": 7}
    for split in (0, 1):
        assert set("NSVF") <= set(counts(data, data.labelled.split == split))


def test_the_annotated_sample_lies_in_the_middle_of_its_window(folder: Path, tmp_path: Path) -> None:
    name = records(folder)[0]
    leads = tuple(wfdb.rdheader(str(folder / name)).sig_name)
    for file in folder.glob(f"{name}.*"):
        shutil.copy(file, tmp_path)
    data = module(tmp_path, tmp_path / "cache", SignalSpec(360, leads, 721))
    raw = wfdb.rdrecord(str(folder / name), physical=False)
    digits = (raw.d_signal - np.array(raw.baseline)) * (1000 // np.array(raw.adc_gain, int))
    microvolts, _, valid = data.windows(data.labelled).windows.gather(np.arange(len(data.labelled.row)))
    assert valid is not None
    for (at, _), window, inside in zip(beats_of(folder, name), microvolts.numpy(), valid.numpy(), strict=True):
        np.testing.assert_array_equal(window[721 // 2], digits[at])
        begin, end = max(at - 360, 0), min(at + 361, len(digits))
        np.testing.assert_array_equal(window[inside], digits[begin:end])


@pytest.mark.parametrize("seconds", [0.4, 0.9, 2.5])
def test_the_span_of_a_beat_is_from_before_its_p_wave_to_after_its_t_wave(
    synthetic_root: Path, cache: Path, seconds: float
) -> None:
    data = module(synthetic_root / "mitdb", cache, spec(seconds=seconds))
    middle = data.spec.samples // 2
    begin, end = max(middle - 30, 0), min(middle + 45, data.spec.samples)
    assert data.labelled.span.tolist() == [[begin, end]] * len(data.labelled.row)


def test_the_other_tasks_are_the_same_beats_grouped(folder: Path, cache: Path) -> None:
    all_five, four, two = (module(folder, cache, task=task) for task in ("aami", "aami4", "binary"))
    assert (four.classes, two.classes) == (("N", "S", "V", "F"), ("normal", "abnormal"))
    np.testing.assert_array_equal(two.labelled.y, all_five.labelled.y != 0)
    kept = all_five.labelled.y < 4
    for part in ("row", "offset", "y", "split", "span", "rr"):
        np.testing.assert_array_equal(getattr(four.labelled, part), getattr(all_five.labelled, part)[kept])


# --- windows ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seconds", [10, 7.3, 4000])
def test_a_window_carries_the_classes_of_the_beats_inside_it(folder: Path, cache: Path, seconds: float) -> None:
    five, four, two = (module(folder, cache, spec(seconds=4), view="windows", window_seconds=seconds, task=task)
                       for task in ("aami", "aami4", "binary"))  # fmt: skip
    samples, expected, where = round(100 * seconds), [], []
    for row, name in enumerate(records(folder)):
        beats = [(round(at / 3.6), label) for at, label in beats_of(folder, name)]
        last = max(int(five.store.length[row]) - samples, 0)
        for begin in range(0, last + 1, samples):
            present = {label for at, label in beats if begin <= at < begin + samples}
            expected.append([int(label in present) for label in AAMI])
            where.append((row, begin))
    truth = np.array(expected)
    assert list(zip(five.labelled.row.tolist(), five.labelled.offset.tolist(), strict=True)) == where
    np.testing.assert_array_equal(five.labelled.y, truth)
    np.testing.assert_array_equal(four.labelled.y, truth[:, :4])
    np.testing.assert_array_equal(two.labelled.y, truth[:, 1:].any(axis=1))
    assert five.windows(five.labelled).windows.gather(np.arange(2))[0].shape == (2, samples, 2)
    assert five.multi_label and four.multi_label and not two.multi_label


# --- splits -----------------------------------------------------------------------------------------------------


def write(folder: Path, names: list[str]) -> None:
    """Records of ten beats."""
    folder.mkdir()
    wave = np.sin(np.arange(3600) / 5)[:, None] * [500, 300]
    for name in names:
        wfdb.wrsamp(name, 360, ["mV"] * 2, ["MLII", "V1"], d_signal=wave.astype(int), fmt=["212"] * 2,
                    adc_gain=[200.0] * 2, baseline=[0] * 2, write_dir=str(folder))  # fmt: skip
        wfdb.wrann(name, "atr", np.arange(1, 11) * 300, list("NN+SVFQ~/N"), write_dir=str(folder))


@pytest.mark.parametrize("view", ["beats", "windows"])
def test_the_division_is_by_patient_and_leaves_out_paced_records_and_the_man_recorded_twice(
    tmp_path: Path, view: str
) -> None:
    write(tmp_path / "mitdb", ["100", "101", "102", VALIDATION[0], "201", "202", "217", "230", "234"])
    data = module(tmp_path / "mitdb", tmp_path, view=view)
    found = {name: [data.store.record_id[row] for row in data._rows(name)] for name in ("train", "val", "test")}
    assert found == {"train": ["101", "230"], "val": [VALIDATION[0]], "test": ["100", "202", "234"]}
    np.testing.assert_array_equal(data.labelled.split, data.split_of_records(data.store)[data.labelled.row])
    patient = dict(zip(data.store.record_id.tolist(), data.store.patient.tolist(), strict=True))
    assert patient["202"] == patient["201"] and len(set(patient.values())) == 8
    assert data.split_kind == "inter-patient"


@pytest.mark.realdata
@pytest.mark.parametrize("view", ["beats", "windows"])
def test_no_real_patient_is_in_two_splits(data_root: Path, cache: Path, view: str) -> None:
    data = module(data_root / "mitdb", cache, view=view)
    patients = [set(data.store.patient[np.unique(data.labelled.of(name).row)]) for name in ("train", "val", "test")]
    assert [len(of) for of in patients] == [16, 5, 22] and len(set.union(*patients)) == 43
    assert not {f"mitbih/{name}" for name in PACED} & set.union(*patients)
    for name, of in zip(("train", "val", "test"), patients, strict=True):
        assert set(data.patients(name)) == of


@pytest.mark.parametrize("view", ["beats", "windows"])
def test_the_random_division_is_eight_to_one_to_one_and_says_so(folder: Path, cache: Path, view: str) -> None:
    data, again = (module(folder, cache, view=view, split="intra_patient") for _ in range(2))
    assert data.split_kind == "intra-patient"
    np.testing.assert_array_equal(data.labelled.split, again.labelled.split)
    examples = len(data.labelled.split)
    share = np.bincount(data.labelled.split, minlength=3) / examples
    np.testing.assert_allclose(share, [0.8, 0.1, 0.1], atol=2 / np.sqrt(examples))


# --- files ------------------------------------------------------------------------------------------------------


def test_any_subset_of_the_records_will_do(copy: Path, tmp_path: Path) -> None:
    for file in copy.glob("101.*"):
        file.unlink()
    data = module(copy, tmp_path)
    assert data.store.record_id.tolist() == records(copy) == ["100", "103", "106"]
    assert len(data.labelled.row) == sum(len(beats_of(copy, name)) for name in records(copy))


@pytest.mark.parametrize("root", [".", "mitdb"])
def test_the_nested_layout_of_a_download_is_found(copy: Path, tmp_path: Path, root: str) -> None:
    nested = tmp_path / "downloads/files/mitdb/1.0.0"
    shutil.copytree(copy, nested)
    files = module(tmp_path / "downloads" / root, tmp_path).records()
    assert {file.paths()[0].resolve().parent for file in files} == {nested.resolve()}


def test_where_there_is_no_record_the_folder_and_the_download_are_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=f"data.root={tmp_path} holds no .*download mitdb"):
        module(tmp_path, tmp_path).records()


@pytest.mark.parametrize(
    "spoil",
    [
        Path.unlink,
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(path.read_bytes()[:-2]),
        lambda path: path.write_bytes(path.read_bytes()[:51]),
        lambda path: path.write_bytes(bytes(range(7, 200))),
    ],
    ids=["missing", "empty", "without its end", "cut within a mark", "noise"],
)
def test_missing_and_damaged_annotations_are_a_bad_record(
    copy: Path, tmp_path: Path, spoil: Callable[[Path], object]
) -> None:
    spoil(copy / "103.atr")
    with pytest.raises(BadRecord, match=r"103\.atr.*on_bad_record=skip"):
        _ = module(copy, tmp_path / "cache").store
    assert module(copy, tmp_path / "cache", on_bad_record="skip").store.record_id.tolist() == ["100", "101", "106"]


@pytest.mark.parametrize("lost", ["hea", "dat", "atr"])
def test_a_recording_that_lost_a_file_is_missed_before_any_is_read(
    copy: Path, tmp_path: Path, lost: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(MITBIHFile, "read", None)
    (copy / f"103.{lost}").unlink()
    with pytest.raises(BadRecord, match=rf"103\.{lost}: cannot be read"):
        _ = module(copy, tmp_path / "cache").store


@pytest.mark.parametrize("key", ["view", "task", "split"])
def test_an_option_that_cannot_be_names_its_key(tmp_path: Path, key: str) -> None:
    with pytest.raises(UserError, match=rf"data\.{key}='other'"):
        module(tmp_path, tmp_path, **{key: "other"})
