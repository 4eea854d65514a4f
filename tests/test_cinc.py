"""The CinC challenges' recordings against scipy, wfdb and the text of their headers, and the faults of the wild."""

from __future__ import annotations

import pickle
import re
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
import scipy.io
import wfdb
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from ecg_lightning.data.cinc import SOURCES, CinC, find_records
from ecg_lightning.data.cinc_file import CinCFile, parse_comments
from ecg_lightning.data.download import SOURCES as DOWNLOADS
from ecg_lightning.data.record import BadRecord
from ecg_lightning.errors import UserError
from ecg_lightning.evaluation.setting import Setting
from ecg_lightning.signal import TWELVE_LEADS, SignalSpec

DX = "#Age: 57\n#Sex: Female\n#Dx: 426783006\n#Rx: Unknown\n#Hx: Unknown\n"

TABLES = {
    "dx_mapping_scored.csv": "SNOMED CT Code,Abbreviation,Notes\n426783006,NSR,\n164889003,AF,\n"
    "713427006,CRBBB,We score 713427006 and 59118001 as the same diagnosis.\n59118001,RBBB,\n",
    "weights.csv": ",426783006,164889003,713427006,59118001\n",
}


def digital(seed: int = 0, samples: int = 600) -> NDArray[np.int16]:
    """(12, samples) within a millivolt."""
    return np.random.default_rng(seed).integers(-999, 999, (12, samples)).astype(np.int16)


def write(folder: Path, name: str, comments: str = DX, signal: NDArray[np.int16] | None = None, fs: int = 500) -> Path:
    """A record as the challenge publishes it: the matrix by scipy, the header from its description."""
    folder.mkdir(parents=True, exist_ok=True)
    signal = digital(int(re.sub(r"\D", "", name))) if signal is None else signal
    scipy.io.savemat(folder / f"{name}.mat", {"val": signal}, format="4")
    lines = [f"{name} 12 {fs} {signal.shape[1]} 05-May-2020 14:50:55"]
    for lead, row in zip(TWELVE_LEADS, signal.astype(int), strict=True):
        checksum = (row.sum() + 32768) % 65536 - 32768
        lines.append(f"{name}.mat 16+24 1000/mV 16 0 {row[0]} {checksum} 0 {lead}")
    (folder / f"{name}.hea").write_text("\n".join(lines) + "\n" + comments)
    return folder / name


def of(path: Path, population: str = "g12ec") -> CinCFile:
    return CinCFile(path, path.name, f"{population}/cinc:{path.name}", population=population)


def spec(seconds: float = 10, fs: float = 500) -> SignalSpec:
    return SignalSpec.of_seconds(fs, TWELVE_LEADS, seconds)


@pytest.fixture
def tables(tmp_path: Path) -> Path:
    folder = tmp_path / "tables"
    folder.mkdir()
    for name, text in TABLES.items():
        (folder / name).write_text(text)
    return folder


def module(root: Path, tables: Path, cache: Path, **options: Any) -> CinC:
    given = {"name": "cinc2020", "spec": spec(1), "cache_dir": cache, **options}
    return CinC(tables=tables, root=root, **given)


# --- comments ---------------------------------------------------------------------------------------------------

COMMENTS = {
    "as published": ("#Age: 57\n#Sex: Female\n#Dx: 1,22", (["1", "22"], 57, "female")),
    "with a space": ("# Age: 57\n# Sex: Male\n# Dx: 1,22", (["1", "22"], 57, "male")),
    "in capitals": ("#AGE: 57\n#SEX: FEMALE\n#DX: 1", (["1"], 57, "female")),
    "without spaces": ("#Age:57\n#Sex:F\n#Dx:1", (["1"], 57, "female")),
    "spaces between codes": ("#Dx: 1, 22 ,333 ", (["1", "22", "333"], None, None)),
    "a comma at the end": ("#Dx: 1,22,", (["1", "22"], None, None)),
    "two commas": ("#Dx: 1,,22", (["1", "22"], None, None)),
    "a code twice": ("#Dx: 251146004,284470004,284470004", (["251146004", "284470004"], None, None)),
    "the line twice": ("#Dx: 1\n#Dx: 1\n#Sex: Male\n#Sex: Male", (["1"], None, "male")),
    "unknown": ("#Age: NaN\n#Sex: Unknown\n#Dx: Unknown", ([], None, None)),
    "NaN": ("#Age: nan\n#Sex: NaN\n#Dx: NaN", ([], None, None)),
    "empty": ("#Age:\n#Sex: \n#Dx:", ([], None, None)),
    "missing": ("#Rx: Unknown", ([], None, None)),
    "an age that cannot be": ("#Age: 300\n#Dx: 1", (["1"], None, None)),
    "an age below zero": ("#Age: -1\n#Dx: 1", (["1"], None, None)),
    "an age with a point": ("#Age: 57.0\n#Dx: 1", (["1"], 57, None)),
    "blank lines": ("\n#Dx: 1\n\n\n", (["1"], None, None)),
    "in other comments": ("#Hx: Dx: 5\n#Rx: Age: 7\n#Dx: 1", (["1"], None, None)),
}


@pytest.mark.parametrize("case", COMMENTS)
@pytest.mark.parametrize("ending", ["\n", "\r\n"])
def test_comments_are_read_however_they_are_written(tmp_path: Path, case: str, ending: str) -> None:
    text, (dx, age, sex) = COMMENTS[case]
    path = write(tmp_path, "E00001", text)
    header = path.with_suffix(".hea")
    header.write_bytes(header.read_text().replace("\n", ending).encode())
    record = of(path).read()
    assert record.annotation == {"dx": dx, "age": age, "sex": sex}
    np.testing.assert_allclose(record.signal, digital(1) / 1000, atol=1e-7)


@given(
    codes=st.lists(st.integers(10**5, 10**14).map(str), max_size=6),
    separators=st.lists(st.sampled_from([",", ", ", " ,", ",,", " "]), min_size=6, max_size=6),
    edge=st.sampled_from(["", ",", " ", ", "]),
)
def test_every_code_is_found_once_and_in_order(codes: list[str], separators: list[str], edge: str) -> None:
    line = "".join(code + separator for code, separator in zip(codes, separators, strict=False))
    assert parse_comments([f"#Dx:{edge}{line}{edge}"])["dx"] == sorted(set(codes), key=codes.index)


def test_a_recording_goes_to_another_process(tmp_path: Path) -> None:
    file = of(write(tmp_path, "E00001"))
    file.layout()
    again = pickle.loads(pickle.dumps(file)).read()
    np.testing.assert_array_equal(again.signal, file.read().signal)
    assert again.annotation == file.read().annotation


# --- headers of the wild ----------------------------------------------------------------------------------------

Change = Callable[[str], str]

READ: dict[str, Change] = {
    "the record named by its file": lambda text: text.replace("E00001 12", "E00001.mat 12"),
    "frames and baselines stated": lambda text: text.replace("16+24 1000/mV", "16x1+24 1000.0(0)/mV"),
    "no date": lambda text: text.replace(" 05-May-2020 14:50:55", ""),
    "a date of numbers": lambda text: text.replace("05-May-2020 14:50:55", "2020-05-05 14:50:55"),
    "a space after the record line": lambda text: text.replace("14:50:55", "14:50:55  "),
    "blank lines at the end": lambda text: text + "\n\n \n",
    "no line break at the end": str.rstrip,
    "Georgia's withdrawn gain": lambda text: text.replace("1000/mV", "4880/mV"),
    "Georgia's withdrawn gain in some leads": lambda text: text.replace("1000/mV", "4880.0(0)/mV", 3),
    "no comments": lambda text: text[: text.index("#")],
    "a diagnosis in no table": lambda text: text.replace("#Dx: ", "#Dx: 6180003,"),
    "comments in another encoding": lambda text: text + "#Hx: Müller\n",
}


@pytest.mark.parametrize("case", READ)
def test_a_header_of_the_wild_is_read_right(tmp_path: Path, case: str) -> None:
    path = write(tmp_path, "E00001")
    header = path.with_suffix(".hea")
    header.write_bytes(READ[case](header.read_text()).encode("latin-1"))
    record, layout = of(path).read(), of(path).layout()
    np.testing.assert_allclose(record.signal, digital(1) / 1000, atol=1e-6)
    assert record.signal.dtype == np.float32
    assert (layout.fs, layout.leads, layout.samples) == (500, TWELVE_LEADS, 600)


# What becomes of the header, and what the message says beside its name.
REPORTED: dict[str, tuple[Change, str]] = {
    "another record's signals": (lambda text: text.replace("E00001.mat", "E00002.mat"), "E00002.mat and not its own"),
    "signals without a suffix": (lambda text: text.replace("E00001.mat", "E00001"), "E00001"),
    "more samples than there are": (lambda text: text.replace(" 600 ", " 601 "), "601 samples"),
    "fewer samples than there are": (lambda text: text.replace(" 600 ", " 500 "), "500 samples"),
    "no rate": (lambda text: text.replace(" 500 600 ", " 600 "), ""),
    "no length": (lambda text: text.replace(" 600 05-May-2020 14:50:55", ""), ""),
    "a lead's line twice": (lambda text: text.replace("\n", "\n" + text.splitlines()[1] + "\n", 1), ""),
    "a lead's line lost": (lambda text: text.replace(text.splitlines()[5] + "\n", ""), ""),
    "a diagnosis by its abbreviation": (lambda text: text.replace("426783006", "RBBB"), "'rbbb' is no SNOMED CT code"),
    "an empty header": (lambda text: "", ""),
    "a gain that is no number": (lambda text: text.replace("1000/mV", "NaN/mV"), ""),
}


@pytest.mark.parametrize("case", REPORTED)
def test_a_broken_header_is_one_message_that_names_the_file(tmp_path: Path, case: str) -> None:
    path, _ = write(tmp_path, "E00001"), write(tmp_path, "E00002")
    change, said = REPORTED[case]
    header = path.with_suffix(".hea")
    header.write_text(change(header.read_text()))
    with pytest.raises(BadRecord, match="fetch") as error:
        of(path).read()
    assert str(path) in str(error.value) and said in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize(("population", "gain"), [("ptb", "2000000/mV"), ("ptbxl", "200/mV")])
def test_a_withdrawn_gain_that_cannot_be_mended_is_reported(tmp_path: Path, population: str, gain: str) -> None:
    header = write(tmp_path, "S0001").with_suffix(".hea")
    header.write_text(header.read_text().replace("1000/mV", gain))
    with pytest.raises(BadRecord, match=r"S0001\.hea: states a gain that the challenge corrected.*fetch"):
        of(tmp_path / "S0001", population).layout()
    assert of(tmp_path / "S0001", "chapman_ningbo").read().signal.shape == (12, 600)  # where it may be true


@pytest.mark.parametrize(("suffix", "keep"), [(".mat", 0), (".hea", 0), (".mat", 100), (".hea", 100)])
def test_a_lost_or_truncated_file_is_missed(tmp_path: Path, tables: Path, suffix: str, keep: int) -> None:
    for name in ("E00001", "E00002"):
        path = write(tmp_path / "g12ec", name).with_suffix(suffix)
    rest = path.read_bytes()[:keep]
    path.unlink() if not keep else path.write_bytes(rest)
    with pytest.raises(UserError, match=f"E00002{suffix}.*fetch"):
        _ = module(tmp_path / "g12ec", tables, tmp_path).store
    data = module(tmp_path / "g12ec", tables, tmp_path, on_bad_record="skip")
    assert data.store.record_id.tolist() == ["E00001"] and list(data.store.skipped) == ["E00002"]


@pytest.mark.parametrize(("value", "said"), [(-32768, "lead V2 holds 3 invalid samples"), (7, "lead V2 is flat")])
def test_clipped_samples_and_flat_leads_are_named(tmp_path: Path, tables: Path, value: int, said: str) -> None:
    signal = digital(2)
    signal[7, slice(3) if value < 0 else slice(None)] = value
    write(tmp_path / "g12ec", "E00001")
    write(tmp_path / "g12ec", "E00002", signal=signal)
    with pytest.raises(UserError, match=rf"E00002\.hea: {said}"):
        _ = module(tmp_path / "g12ec", tables, tmp_path).store


@given(
    at=st.integers(0, 900), length=st.integers(0, 60), piece=st.text("0123456789 -+/().:xaV\n\r\x85#~µDx", max_size=8)
)
@settings(max_examples=60, deadline=None)
def test_a_damaged_header_gives_a_recording_or_a_bad_record_and_nothing_else(at: int, length: int, piece: str) -> None:
    with TemporaryDirectory() as folder:
        path = write(Path(folder), "E00001", DX * 3, digital(1, 10))
        header = path.with_suffix(".hea")
        text = header.read_text().replace("1000/mV", "4880/mV")
        header.write_text(text[:at] + piece + text[at + length :])
        try:
            record = of(path).read()
        except BadRecord as error:
            assert folder in str(error)
        else:
            assert len(record.leads) == len(record.signal) and set(record.annotation) == {"dx", "age", "sex"}


# --- places -----------------------------------------------------------------------------------------------------

NAMES = {"cpsc2018": "A0001", "cpsc2018_extra": "Q0001", "st_petersburg": "I0001", "ptb": "S0001", "ptbxl": "HR00001",
         "g12ec": "E00001", "chapman_ningbo": "JS00001"}  # fmt: skip
PHYSIONET = {"cpsc2018": "cpsc_2018", "cpsc2018_extra": "cpsc_2018_extra", "st_petersburg": "st_petersburg_incart",
             "ptb": "ptb", "ptbxl": "ptb-xl", "g12ec": "georgia", "chapman_ningbo": "ningbo"}  # fmt: skip


@pytest.mark.parametrize("layout", ["{ours}", "training/../{ours}/g1", "challenge-2020/1.0.2/training/{physionet}/g1",
                                    "files/challenge-2021/1.0.3/training/{physionet}/g1",
                                    "physionet.org/files/challenge-2020/1.0.2/training/{physionet}/g12"])  # fmt: skip
def test_every_source_is_found_where_it_may_lie(tmp_path: Path, layout: str) -> None:
    for source, name in NAMES.items():
        folder = tmp_path / layout.format(ours=SOURCES[source].folders[0], physionet=PHYSIONET[source])
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{name}.hea").touch()
        (folder / "Z00001.hea").touch()
    found = {source: [path.name for path in find_records(tmp_path, SOURCES[source])] for source in SOURCES}
    assert found == {source: [name] for source, name in NAMES.items()}


def test_a_source_alone_is_found_in_its_folder_below_it_and_beside_it(tmp_path: Path) -> None:
    for place in ("flat/g12ec", "below/g12ec/files/challenge-2020/1.0.2/training/georgia/g1",
                  "beside/files/challenge-2020/1.0.2/training/georgia/g1"):  # fmt: skip
        (tmp_path / place).mkdir(parents=True)
        (tmp_path / place / "E00001.mat").touch()
        (tmp_path / place / "A0001.mat").touch()
        root = tmp_path / place.split("/", maxsplit=1)[0] / "g12ec"
        assert find_records(root, SOURCES["g12ec"]) == [tmp_path / place / "E00001"]


def test_nothing_is_taken_from_beside_a_folder_of_all_sources(tmp_path: Path) -> None:
    for place in ("files/challenge-2020/1.0.2/training/georgia/g1", "other/files/challenge-2020/1.0.2/training/ptb"):
        (tmp_path / place).mkdir(parents=True)
        (tmp_path / place / "E00001.hea").touch()
        (tmp_path / place / "S0001.hea").touch()
    assert not any(find_records(tmp_path / "data", source) for source in SOURCES.values())


def test_records_of_other_databases_are_not_taken_for_the_challenges(tmp_path: Path) -> None:
    for name in ("A00001", "I01", "s0010_re", "00001_lr", "E0001", "JS0001"):  # CinC 2017, INCART, PTB, PTB-XL, ...
        for folder in (".", "cpsc2018", "ptb", "st_petersburg"):
            (tmp_path / folder).mkdir(exist_ok=True)
            (tmp_path / folder / f"{name}.hea").touch()
    assert not any(find_records(tmp_path, source) for source in SOURCES.values())


def test_the_latest_version_is_taken_and_a_record_in_two_places_is_told(tmp_path: Path) -> None:
    for place in ("challenge-2020/1.0.1", "challenge-2020/1.0.2"):
        (tmp_path / place / "training/georgia/g1").mkdir(parents=True)
        (tmp_path / place / "training/georgia/g1/E00001.hea").touch()
    assert "1.0.2" in str(find_records(tmp_path, SOURCES["g12ec"])[0])
    for folder in ("g12ec", "georgia"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "E00001.hea").touch()
    with pytest.raises(UserError, match=r"E00001 is in .*data\.root"):
        find_records(tmp_path, SOURCES["g12ec"])


def test_every_source_can_be_downloaded_into_its_first_folder() -> None:
    for source, name in NAMES.items():
        download = DOWNLOADS[SOURCES[source].folders[0]]
        match = re.fullmatch(download.wanted, f"training/{PHYSIONET[source]}/g1/{name}.mat")
        assert match and match[1] == f"{name}.mat" and download.path in ("challenge-2020/1.0.2", "challenge-2021/1.0.3")


# --- the data module --------------------------------------------------------------------------------------------


def test_sources_are_taken_together_and_patients_stay_apart(tmp_path: Path, tables: Path) -> None:
    for source in ("g12ec", "cpsc2018", "ptb"):
        write(tmp_path / source, NAMES[source], DX.replace("426783006", "59118001, 6180003"))
    data = module(tmp_path, tables, tmp_path)
    assert set(data.store.patient) == {"g12ec/cinc:E00001", "cpsc2018/cinc:A0001", "ptb/cinc:S0001"}
    assert data.split_kind == "unknown" and data.classes == ("CRBBB|RBBB",)
    one = module(tmp_path, tables, tmp_path, sources=["ptb"])
    assert one.store.patient.tolist() == ["ptb/cinc:S0001"]


def test_recordings_without_a_label_of_the_task_serve_pretraining_alone(tmp_path: Path, tables: Path) -> None:
    comments = [DX, DX.replace("426783006", "Unknown"), DX.replace("426783006", "713427006,164889003,59118001"),
                DX.replace("426783006", "429622005")]  # fmt: skip
    for number, text in enumerate(comments):
        write(tmp_path / "g12ec", f"E0000{number}", text)
    data = module(tmp_path / "g12ec", tables, tmp_path, sources=["g12ec"])
    assert data.classes == ("AF", "CRBBB|RBBB", "NSR") and len(data.store) == 4
    assert data.record_labels(data.store).tolist() == [[0, 0, 1], [0, 0, 0], [1, 1, 0], [0, 0, 0]]
    assert sorted(set(data.labelled.row)) == [0, 2] and data.multi_label


def test_no_label_at_all_is_told(tmp_path: Path, tables: Path) -> None:
    write(tmp_path / "g12ec", "E00001", "#Dx: Unknown\n")
    with pytest.raises(UserError, match=r"no recording carries a diagnosis of data\.task=scored2020"):
        _ = module(tmp_path / "g12ec", tables, tmp_path).labelled


@pytest.mark.parametrize(
    ("option", "said"),
    [
        ({"task": "scored"}, r"data\.task='scored' is not one of scored2020"),
        ({"sources": ["georgia"]}, r"data\.sources=.*georgia.*g12ec"),
        ({"sources": []}, r"data\.sources"),
        ({"sources": "g12ec"}, r"data\.sources"),
        ({"sources": ["g12ec", "ptb"]}, r"holds no recordings of ptb; fetch them with python -m \S+download ptb, or"),
    ],
)
def test_an_option_that_cannot_be_names_its_key(
    tmp_path: Path, tables: Path, option: dict[str, Any], said: str
) -> None:
    write(tmp_path, "E00001")
    with pytest.raises(UserError, match=said):
        module(tmp_path, tables, tmp_path, **option).records()


def test_nothing_at_all_is_told(tmp_path: Path, tables: Path) -> None:
    with pytest.raises(UserError, match=r"data\.root=\S+ holds no recordings of cpsc2018 or .*download .*g12ec"):
        module(tmp_path / "nowhere", tables, tmp_path).records()


def test_missing_tables_are_told_before_a_recording_is_prepared(tmp_path: Path) -> None:
    write(tmp_path / "g12ec", "E00001")
    with pytest.raises(UserError, match=r"dx_mapping_scored\.csv.*physionetchallenges/evaluation-2020"):
        _ = module(tmp_path / "g12ec", tmp_path / "no tables", tmp_path / "cache").classes
    assert not (tmp_path / "cache").exists()


def test_splits_hang_on_the_record_alone(tmp_path: Path, tables: Path) -> None:
    for number in range(60):
        write(tmp_path / "g12ec", f"E{number:05}", signal=digital(number, 100))
    data = module(tmp_path / "g12ec", tables, tmp_path)
    split = dict(zip(data.store.record_id.tolist(), data.split_of_records(data.store).tolist(), strict=True))
    assert len(set(split.values())) == 3
    for name in list(split)[::2]:
        (tmp_path / f"g12ec/{name}.mat").unlink()
        (tmp_path / f"g12ec/{name}.hea").unlink()
    fewer = module(tmp_path / "g12ec", tables, tmp_path)
    assert len(fewer.store) == 30
    for name, number in zip(fewer.store.record_id.tolist(), fewer.split_of_records(fewer.store).tolist(), strict=True):
        assert split[name] == number


def test_splits_have_their_shares() -> None:
    class Names:
        record_id = np.array([f"E{number:05}" for number in range(10344)])

    split = CinC.split_of_records(None, Names())  # type: ignore[arg-type]
    np.testing.assert_allclose(np.bincount(split) / len(split), [0.7, 0.1, 0.2], atol=0.015)


def test_any_rate_is_read(tmp_path: Path, tables: Path) -> None:
    write(tmp_path / "st_petersburg", "I0001", signal=digital(3, 514), fs=257)
    write(tmp_path / "ptb", "S0001", signal=digital(4, 3000), fs=1000)
    data = module(tmp_path, tables, tmp_path, spec=spec(1, 100))
    rates = dict(zip(data.store.record_id.tolist(), data.store.fs_source.tolist(), strict=True))
    assert rates == {"I0001": 257, "S0001": 1000} and sorted(data.store.length) == [200, 300]


# --- real recordings --------------------------------------------------------------------------------------------

REAL = [("g12ec", 34), ("cpsc2018", 151)]


@pytest.mark.realdata
@pytest.mark.parametrize(("source", "number"), REAL)
def test_real_samples_are_those_of_scipy_and_wfdb(data_root: Path, source: str, number: int) -> None:
    paths = find_records(data_root, SOURCES[source])
    assert len(paths) == number == len(list((data_root / source).glob("*.mat")))
    for path in paths:
        file = of(path, source)
        record, layout = file.read(), file.layout()
        by_scipy = scipy.io.loadmat(path.with_suffix(".mat"))["val"]
        np.testing.assert_allclose(record.signal, by_scipy / 1000, atol=1e-6)
        assert (layout.fs, layout.leads, layout.samples) == (500, TWELVE_LEADS, by_scipy.shape[1])
    for path in paths[::4]:
        np.testing.assert_allclose(of(path, source).read().signal.T, wfdb.rdrecord(path).p_signal, atol=1e-6)


@pytest.mark.realdata
@pytest.mark.parametrize(("source", "number"), REAL)
def test_real_comments_are_those_of_the_text(data_root: Path, source: str, number: int) -> None:
    ages = 0
    for path in find_records(data_root, SOURCES[source]):
        text = path.with_suffix(".hea").read_text()
        said = {key: re.search(rf"^# ?{key}: (.*)$", text, re.M)[1] for key in ("Age", "Sex", "Dx")}  # type: ignore[index]
        annotation = of(path, source).read().annotation
        assert annotation["dx"] == list(dict.fromkeys(said["Dx"].split(",")))
        assert annotation["sex"] == said["Sex"].lower()
        assert annotation["age"] == (None if said["Age"] == "NaN" else int(said["Age"]))
        ages += annotation["age"] is not None
    assert ages > number // 2


@pytest.fixture(scope="module")
def real(data_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., CinC]:
    cache = tmp_path_factory.mktemp("cache")

    def make(**options: Any) -> CinC:
        given = {"root": data_root, "spec": spec(10, 100), "cache_dir": cache, "long_records": "windows", **options}
        return module(tables=data_root / "cinc2020_meta", cache=cache, **given)

    return make


@pytest.mark.realdata
@pytest.mark.parametrize(("task", "scored"), [("scored2020", "dx_mapping_scored.csv"),
                                              ("scored2021", "dx_mapping_scored_2021.csv"),
                                              ("all", "dx_mapping_*scored*.csv")])  # fmt: skip
def test_real_classes_are_counted_as_their_lines_are(real: Callable[..., CinC], data_root: Path, task: str, scored: str,
                                                     ) -> None:  # fmt: skip
    text = "".join(path.read_text() for path in sorted((data_root / "cinc2020_meta").glob(scored)))
    abbreviation = {row.split(",")[1]: row.split(",")[2] for row in text.splitlines()}
    count: Counter[str] = Counter()
    for header in [*data_root.glob("g12ec/*.hea"), *data_root.glob("cpsc2018/*.hea")]:
        codes = re.search(r"^# ?Dx: (.*)$", header.read_text(), re.M)[1].split(",")  # type: ignore[index]
        names = {abbreviation[code] for code in codes if code in abbreviation}
        # Read off the notes by eye.
        pairs = {"CRBBB": "CRBBB|RBBB", "RBBB": "CRBBB|RBBB", "PAC": "PAC|SVPB", "SVPB": "PAC|SVPB", "PVC": "PVC|VPB",
                 "VPB": "PVC|VPB", **({} if task == "scored2020" else {"LBBB": "CLBBB|LBBB"})}  # fmt: skip
        count.update({pairs.get(name, name) for name in names})
    data = real(task=task)
    totals = data.record_labels(data.store).sum(axis=0).tolist()
    assert dict(zip(data.classes, totals, strict=True)) == dict(count)
    assert list(data.classes) == sorted(count)


@pytest.mark.realdata
def test_windows_cover_each_long_recording_and_are_judged_as_one(real: Callable[..., CinC]) -> None:
    data = real(sources=["cpsc2018"], task="all", spec=spec(15, 100))
    lengths, window = data.store.length, data.spec.samples
    assert lengths.min() < window < 3 * window < lengths.max()
    for row in range(len(lengths)):
        offsets = np.sort(data.labelled.offset[data.labelled.row == row])
        seen = np.zeros(max(lengths[row], window), bool)
        for offset in offsets:
            seen[max(offset, 0) : offset + window] = True
        assert seen[: lengths[row]].all() and len(offsets) == max(1, -(-lengths[row] // window))
    setting = Setting(None, data)  # type: ignore[arg-type]
    test = data.labelled.of("test")
    probability = np.random.default_rng(0).random((len(test.row), len(data.classes)))
    rows = np.unique(test.row)
    assert len(rows) < len(test.row)
    naive = np.stack([probability[test.row == row].mean(axis=0) for row in rows])
    np.testing.assert_allclose(setting.judged(probability), naive)
    np.testing.assert_array_equal(setting.truth, data.record_labels(data.store)[rows])


@pytest.mark.realdata
def test_georgia_alone_is_split_as_it_is_among_the_others(real: Callable[..., CinC], data_root: Path) -> None:
    alone, together = real(root=data_root / "g12ec", sources=["g12ec"], name="g12ec"), real()
    assert len(alone.store) == 34 and len(together.store) == 185
    for split in ("train", "val", "test"):
        assert set(alone.patients(split)) == {name for name in together.patients(split) if name.startswith("g12ec/")}


@pytest.mark.realdata
def test_a_georgia_record_in_its_first_header_is_the_same_recording(data_root: Path, tmp_path: Path) -> None:
    """E00001 as it was published in 2020: its file for a name, a gain of 4880, spaces in the comments."""
    path = data_root / "g12ec/E00001"
    shutil.copy(path.with_suffix(".mat"), tmp_path)
    text = path.with_suffix(".hea").read_text().replace("E00001 12", "E00001.mat 12").replace("1000/mV", "4880/mV")
    (tmp_path / "E00001.hea").write_text(re.sub(r"^#(?=\w)", "# ", text, flags=re.M))
    old, new = of(tmp_path / "E00001").read(), of(path).read()
    np.testing.assert_allclose(old.signal, new.signal, atol=1e-6)
    assert old.annotation == new.annotation
