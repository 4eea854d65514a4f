"""The synthetic recordings: physiology against closed forms, files against wfdb, tables against the published ones."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import wfdb
from hypothesis import given, settings
from hypothesis import strategies as st

from ecg_lightning.data.synthetic import holter as mitdb
from ecg_lightning.data.synthetic import ptbxl
from ecg_lightning.data.synthetic import write as writing
from ecg_lightning.data.synthetic.__main__ import main
from ecg_lightning.data.synthetic.format16 import write_record
from ecg_lightning.data.synthetic.heart import BeatTrain, normal_beat, twelve_leads, vectorcardiogram
from ecg_lightning.data.synthetic.noise import Noise, electrode_noise
from ecg_lightning.data.synthetic.patient import draw_patient
from ecg_lightning.data.synthetic.rhythm import Kind, Rhythm, beat_train
from ecg_lightning.data.synthetic.write import write_dataset
from ecg_lightning.errors import UserError

SUPERCLASSES = ("NORM", "MI", "STTC", "CD", "HYP")


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("synthetic")
    write_dataset(root, records=400, holter=4, holter_minutes=1.5, seed=3, workers=0)
    return root


@pytest.fixture(scope="module")
def database(cohort: Path) -> pd.DataFrame:
    return pd.read_csv(cohort / "ptbxl/ptbxl_database.csv", index_col="ecg_id")


@pytest.fixture(scope="module")
def labels(cohort: Path, database: pd.DataFrame) -> np.ndarray:
    """(N, 5) super-classes, read as PTB-XL's own example does."""
    statements = pd.read_csv(cohort / "ptbxl/scp_statements.csv", index_col=0)
    classes = statements[statements.diagnostic == 1].diagnostic_class
    found = [{classes[code] for code in ast.literal_eval(codes) if code in classes} for codes in database.scp_codes]
    return np.array([[name in record for name in SUPERCLASSES] for record in found])


@pytest.fixture(scope="module")
def signals(cohort: Path, database: pd.DataFrame) -> np.ndarray:
    """(N, T, 12) in uV at 100 Hz, past wfdb."""
    files = [cohort / "ptbxl" / f"{name}.dat" for name in database.filename_lr]
    return np.stack([np.fromfile(file, "<i2").reshape(-1, 12) for file in files]).astype(np.int64)


def contents(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


# --- physiology -------------------------------------------------------------------------------------------------


def constant_train(seconds: float, rr: float) -> BeatTrain:
    time = np.arange(-rr, seconds + 2, rr)
    ones = np.ones(len(time))
    return BeatTrain(time=time, rr=rr * ones, kind=np.zeros(len(time), dtype=np.int64), gain=ones)


def test_the_vectorcardiogram_is_the_plain_sum_of_its_gaussians() -> None:
    train, beat, fs, samples = constant_train(3, 0.8), normal_beat(), 250.0, 750
    stretch = np.array([1.0] * 6 + [np.cbrt(0.8)] * 3)
    t = np.arange(samples) / fs
    naive = np.zeros((3, samples))
    for peak in train.time:
        for w in range(9):
            z = (t - peak - beat.centre[w] * stretch[w]) / (beat.width[w] * stretch[w])
            naive += beat.vector[w][:, None] * np.exp(-0.5 * z**2)
    np.testing.assert_allclose(vectorcardiogram(train, [beat], fs, samples), naive, atol=5e-4)


@pytest.mark.parametrize("rate", [45, 60, 75, 100, 140])
def test_the_interval_from_r_to_t_follows_fridericia(rate: float) -> None:
    rr, fs = 60 / rate, 1000
    vcg = vectorcardiogram(constant_train(3, rr), [normal_beat()], fs, 3000)
    t_peaks = []
    for r in np.arange(rr, 2, rr):
        start = round((r + 0.14) * fs)
        t_peaks.append((start + np.argmax(vcg[0, start : round((r + 0.6 * rr) * fs)])) / fs - r)
    at_sixty = vectorcardiogram(constant_train(3, 1.0), [normal_beat()], fs, 3000)
    reference = (1140 + np.argmax(at_sixty[0, 1140:1600])) / fs - 1
    np.testing.assert_allclose(t_peaks, reference * np.cbrt(rr), atol=0.006)


@given(
    eight=st.lists(st.lists(st.integers(-10_000, 10_000), min_size=8, max_size=8), min_size=1, max_size=5),
)
def test_the_limb_leads_obey_einthoven_and_goldberger(eight: list[list[int]]) -> None:
    one, two, three, avr, avl, avf, *_ = twelve_leads(np.array(eight).T)
    assert (three == two - one).all()
    for lead, exact in ((avr, -(one + two) / 2), (avl, one - two / 2), (avf, two - one / 2)):
        assert (np.abs(lead - exact) <= 0.5).all()


def test_the_written_limb_leads_obey_einthoven_and_goldberger(signals: np.ndarray) -> None:
    one, two, three, avr, avl, avf = (signals[..., i] for i in range(6))
    assert signals.std(axis=1).min() > 5
    assert (three == two - one).all()
    assert np.abs(2 * avr + one + two).max() <= 1
    assert np.abs(2 * avl - 2 * one + two).max() <= 1
    assert np.abs(2 * avf - 2 * two + one).max() <= 1


@settings(max_examples=25, deadline=None)
@given(rate=st.floats(45, 150), seed=st.integers(0, 2**32))
def test_pauses_after_premature_beats(rate: float, seed: int) -> None:
    steady = Rhythm(rate=rate, variability=0.0, respiration=0.25, atrial=0.1, ventricular=0.1)
    train = beat_train(steady, 120, np.random.default_rng(seed))
    mean_rr = 60 / rate
    around = train.time[2:] - train.time[:-2]
    kind = train.kind[1:-1]
    ventricular = around[np.isin(kind, (Kind.VENTRICULAR, Kind.FUSION))]
    np.testing.assert_allclose(ventricular, 2 * mean_rr, rtol=1e-9)
    assert (around[kind == Kind.ATRIAL] < 1.96 * mean_rr).all()
    assert (train.rr[train.kind != Kind.SINUS] < 0.98 * mean_rr).all()
    assert not ((train.kind[1:] != Kind.SINUS) & (train.kind[:-1] != Kind.SINUS)).any()
    assert train.time[0] < 0 and train.time[-1] > 120


@settings(max_examples=25, deadline=None)
@given(
    rate=st.floats(50, 140), variability=st.floats(0.01, 0.08), fibrillating=st.booleans(), seed=st.integers(0, 2**32)
)
def test_rate_and_variability_are_those_asked_for(
    rate: float, variability: float, fibrillating: bool, seed: int
) -> None:
    variability = variability if not fibrillating else 0.2
    rhythm = Rhythm(rate=rate, variability=variability, respiration=0.25, fibrillating=fibrillating)
    train = beat_train(rhythm, 900, np.random.default_rng(seed))
    assert 60 / train.rr.mean() == pytest.approx(rate, rel=0.05)
    assert train.rr.std() / train.rr.mean() == pytest.approx(variability, rel=0.35)


def test_sinus_rhythm_breathes_and_fibrillation_has_no_memory() -> None:
    def memory(fibrillating: bool) -> float:
        rhythm = Rhythm(rate=70, variability=0.1, respiration=0.2, fibrillating=fibrillating)
        rr = beat_train(rhythm, 1800, np.random.default_rng(0)).rr
        return float(np.corrcoef(rr[1:], rr[:-1])[0, 1])

    assert memory(fibrillating=False) > 0.3
    assert abs(memory(fibrillating=True)) < 0.1


def test_records_of_one_patient_look_alike(database: pd.DataFrame, signals: np.ndarray) -> None:
    shape = np.stack(
        [np.corrcoef(record[:, [0, 1, 6, 7, 8, 9, 10, 11]].T)[np.triu_indices(8, 1)] for record in signals]
    )
    shape -= shape.mean(axis=0)
    likeness = np.corrcoef(shape)
    patient = database.patient_id.to_numpy()
    same = (patient[:, None] == patient) & ~np.eye(len(patient), dtype=bool)
    assert same.sum() > 40
    assert np.median(likeness[same]) > np.median(likeness[~same]) + 0.4


def test_noise_has_the_size_and_the_frequency_it_is_given() -> None:
    def electrodes(**sizes: float) -> np.ndarray:
        silent = {"wander": 0.0, "muscle": 0.0, "powerline": 0.0, "white": 0.0}
        draws = [electrode_noise(Noise(**silent | sizes), 500, 5000, np.random.default_rng(i)) for i in range(60)]
        return np.stack(draws)

    frequency = np.fft.rfftfreq(5000, 1 / 500)
    for kind, low, high in (("wander", 0, 0.7), ("powerline", 49.8, 50.2), ("muscle", 60, 250), ("white", 0, 250)):
        noise = electrodes(**{kind: 0.02})
        power = (np.abs(np.fft.rfft(noise)) ** 2).mean(axis=(0, 1))
        assert np.sqrt((noise**2).mean()) == pytest.approx(0.02, rel=0.15), kind
        assert power[(frequency >= low) & (frequency <= high)].sum() > 0.8 * power.sum(), kind


# --- files ------------------------------------------------------------------------------------------------------


def test_format_16_is_what_wfdb_writes(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    signal = rng.integers(-32_767, 32_768, (12, 700)).astype(np.int16)
    write_record(tmp_path / "00001_lr", 100, ptbxl.HEADER_LEADS, signal)
    theirs = tmp_path / "wfdb"
    theirs.mkdir()
    wfdb.wrsamp(
        "00001_lr", 100, ["mV"] * 12, list(ptbxl.HEADER_LEADS), d_signal=signal.T.astype(np.int64), fmt=["16"] * 12,
        adc_gain=[1000.0] * 12, baseline=[0] * 12, write_dir=str(theirs),
    )  # fmt: skip
    for name in ("00001_lr.hea", "00001_lr.dat"):
        assert (tmp_path / name).read_bytes() == (theirs / name).read_bytes()


@pytest.mark.parametrize(("column", "fs"), [("filename_lr", 100), ("filename_hr", 500)])
def test_wfdb_reads_both_rates(cohort: Path, database: pd.DataFrame, column: str, fs: int) -> None:
    for name in database[column].iloc[[0, 123, 399]]:
        record = wfdb.rdrecord(str(cohort / "ptbxl" / name), physical=False)
        raw = np.fromfile(cohort / "ptbxl" / f"{name}.dat", "<i2").reshape(-1, 12)
        assert (record.fs, record.sig_len, tuple(record.sig_name)) == (fs, 10 * fs, ptbxl.HEADER_LEADS)
        assert set(record.adc_gain) == {1000.0} and set(record.units) == {"mV"}
        assert record.checksum == record.calc_checksum()
        np.testing.assert_array_equal(record.d_signal, raw)
        assert 0.3 < np.ptp(record.dac(), axis=0).max() < 12


def test_both_rates_show_the_same_heart(cohort: Path, database: pd.DataFrame, signals: np.ndarray) -> None:
    for i in (0, 50, 200):
        high = np.fromfile(cohort / "ptbxl" / f"{database.filename_hr.iloc[i]}.dat", "<i2").reshape(-1, 12)
        smooth = np.stack([np.convolve(lead, np.ones(5) / 5, "same")[::5] for lead in high.T], axis=1)
        together = [np.corrcoef(smooth[20:-20, lead], signals[i, 20:-20, lead])[0, 1] for lead in range(12)]
        assert np.median(together) > 0.95


def test_wfdb_reads_the_holter_records(cohort: Path) -> None:
    assert (cohort / "mitdb/RECORDS").read_text().split() == ["100", "101", "103", "106"]
    symbols: set[str] = set()
    for number in mitdb.RECORDS[:4]:
        path = str(cohort / "mitdb" / str(number))
        record, notes = wfdb.rdrecord(path), wfdb.rdann(path, "atr")
        raw = wfdb.rdrecord(path, physical=False)
        assert (record.fs, record.sig_len, record.fmt, record.adc_res) == (360, 90 * 360, ["212"] * 2, [11, 11])
        assert raw.checksum == raw.calc_checksum()
        assert raw.d_signal.min() >= 0 and raw.d_signal.max() < 2048
        assert record.sig_name[0] == "MLII" and record.sig_name[1] in {"V1", "V5"}
        assert record.comments[0].split()[1] in {"F", "M"} and 18 <= int(record.comments[0].split()[0]) < 90
        assert (notes.symbol[0], notes.aux_note[0]) == ("+", "(N") and not any(notes.aux_note[1:])
        beats = notes.sample[1:]
        assert (np.diff(beats) > 0.2 * 360).all() and 40 < len(beats) / 1.5 < 180
        assert np.diff(beats).std() > 0
        symbols |= set(notes.symbol)
        conducted = np.isin(notes.symbol[1:], list("NLR"))
        slope = np.abs(np.diff(record.p_signal, axis=0)).sum(axis=1)
        at_beats = [slope[max(s - 30, 0) : s + 30].max() for s in beats[conducted]]
        assert np.median(at_beats) > np.quantile(slope, 0.95)
    assert {"+", "N", "L", "V", "A"} <= symbols


def test_holter_halves_are_balanced_and_one_person_is_one_person(tmp_path: Path) -> None:
    first = mitdb.RECORDS[:12]
    assert len(set(mitdb.RECORDS)) == 44
    assert len(set(first) & set(mitdb.DS1)) == len(set(first) & set(mitdb.DS2)) == 6
    for number in (201, 202):
        mitdb.write_holter(mitdb.Job(tmp_path, 0, number, 0.2))
    one, other = (wfdb.rdrecord(str(tmp_path / str(number))) for number in (201, 202))
    assert one.comments[0] == other.comments[0]
    assert not np.array_equal(one.p_signal, other.p_signal)


@pytest.mark.realdata
def test_tables_and_headers_have_the_published_form(cohort: Path, data_root: Path) -> None:
    for table in ("ptbxl_database.csv", "scp_statements.csv"):
        ours, theirs = (pd.read_csv(root / "ptbxl" / table) for root in (cohort, data_root))
        assert list(ours.columns) == list(theirs.columns)
    ours, theirs = (pd.read_csv(root / "ptbxl/scp_statements.csv", index_col=0) for root in (cohort, data_root))
    facts = ["description", "diagnostic", "form", "rhythm", "diagnostic_class", "diagnostic_subclass"]
    pd.testing.assert_frame_equal(ours[facts], theirs.loc[ours.index, facts])
    name = "records100/00000/00001_lr.hea"
    ours_head, theirs_head = (wfdb.rdheader(str(root / "ptbxl" / name[:-4])) for root in (cohort, data_root))
    for field in ("record_name", "n_sig", "fs", "sig_len", "file_name", "fmt", "adc_gain", "baseline", "units",
                  "adc_res", "adc_zero", "block_size", "sig_name"):  # fmt: skip
        assert getattr(ours_head, field) == getattr(theirs_head, field), field
    ours_head, theirs_head = (wfdb.rdheader(str(root / "mitdb/101")) for root in (cohort, data_root))
    for field in ("n_sig", "fs", "file_name", "fmt", "adc_gain", "baseline", "units", "adc_res", "adc_zero"):
        assert getattr(ours_head, field) == getattr(theirs_head, field), field


# --- labels -----------------------------------------------------------------------------------------------------


def test_folds_are_patient_disjoint_and_stratified(database: pd.DataFrame, labels: np.ndarray) -> None:
    assert (database.groupby("patient_id").strat_fold.nunique() == 1).all()
    assert database.patient_id.nunique() < len(database)
    assert set(database.strat_fold) == set(range(1, 11))
    normal = pd.Series(labels[:, 0]).groupby(database.strat_fold.to_numpy()).agg(["mean", "size"])
    assert normal["size"].between(25, 60).all()
    assert normal["mean"].between(0.22, 0.62).all()


def test_the_mix_of_labels(database: pd.DataFrame, labels: np.ndarray) -> None:
    share = dict(zip(SUPERCLASSES, labels.mean(axis=0), strict=True))
    assert 0.3 < share.pop("NORM") < 0.55
    assert all(0.07 < each < 0.35 for each in share.values())
    assert labels.any(axis=1).all() and not (labels[:, 0] & labels[:, 1:].any(axis=1)).any()
    assert 0.08 < (labels.sum(axis=1) > 1).mean() < 0.35
    rhythm = database.scp_codes.str.extract(r"'(SR|SBRAD|STACH|AFIB)'")[0]
    assert rhythm.notna().all()
    assert 0.75 < (rhythm == "SR").mean() < 0.95 and rhythm.nunique() == 4
    assert 0.02 < database.scp_codes.str.contains("'PVC'").mean() < 0.15


def test_a_probe_is_neither_perfect_nor_at_chance(
    database: pd.DataFrame, labels: np.ndarray, signals: np.ndarray
) -> None:
    from sklearn.decomposition import PCA
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import roc_auc_score
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    features = np.stack([median_beat(record / 1000) for record in signals])
    train = database.strat_fold.to_numpy() <= 6
    components = make_pipeline(StandardScaler(), PCA(20), StandardScaler()).fit(features[train]).transform(features)
    probe = LogisticRegression(C=0.1)
    scores = [probe.fit(components[train], y[train]).predict_proba(components[~train])[:, 1] for y in labels.T]
    areas = [roc_auc_score(y[~train], score) for y, score in zip(labels.T, scores, strict=True)]
    assert 0.65 < np.mean(areas) < 0.95


def median_beat(record: np.ndarray) -> np.ndarray:
    """All leads around the steepest moments of a 100 Hz record (T, 12), flattened."""
    from scipy.signal import find_peaks

    steepness = np.abs(np.diff(record, axis=0)).sum(axis=1)
    peaks, _ = find_peaks(steepness, distance=35, height=0.5 * np.quantile(steepness, 0.99))
    inside = peaks[(peaks >= 30) & (peaks < len(record) - 50)]
    return np.median([record[p - 30 : p + 50] - record[p - 30 : p - 20].mean(axis=0) for p in inside], axis=0).ravel()


# --- the writer -------------------------------------------------------------------------------------------------


def test_the_same_seed_gives_the_same_bytes_whatever_the_workers(tmp_path: Path) -> None:
    write_dataset(tmp_path / "alone", records=52, holter=0, seed=5, workers=0)
    write_dataset(tmp_path / "together", records=52, holter=0, seed=5, workers=2)
    alone, together = contents(tmp_path / "alone"), contents(tmp_path / "together")
    assert len(alone) == 2 * 2 * 52 + 3 + 1
    assert alone == together


def test_the_seed_alone_decides_the_bytes(tmp_path: Path) -> None:
    for name, seed in (("one", 5), ("same", 5), ("other", 6)):
        write_dataset(tmp_path / name, records=3, holter=2, holter_minutes=0.2, seed=seed)
    one, same, other = (contents(tmp_path / name) for name in ("one", "same", "other"))
    assert one == same
    assert all(one[name] != other[name] for name in one if name.endswith(".dat"))


def test_a_patient_depends_on_their_own_seed_alone() -> None:
    one, same, other = (draw_patient(np.random.default_rng(seed)) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one.beats[0].vector, same.beats[0].vector)
    assert not np.array_equal(one.beats[0].vector, other.beats[0].vector)


def test_a_finished_set_is_left_alone_and_another_one_replaces_it(tmp_path: Path) -> None:
    stamp = tmp_path / "ptbxl" / writing.STAMP
    write_dataset(tmp_path, records=3, holter=0)
    before = stamp.stat().st_mtime_ns
    write_dataset(tmp_path, records=3, holter=0)
    assert stamp.stat().st_mtime_ns == before
    write_dataset(tmp_path, records=2, holter=0)
    assert len(list(tmp_path.rglob("*_lr.dat"))) == 2
    assert not (tmp_path / "mitdb").exists()


def test_a_killed_run_leaves_nothing_that_looks_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(ptbxl, "write_tables", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            write_dataset(tmp_path, records=3, holter=0)
    assert not (tmp_path / "ptbxl").exists()
    write_dataset(tmp_path, records=3, holter=0)
    assert len(pd.read_csv(tmp_path / "ptbxl/ptbxl_database.csv")) == 3
    assert [path.name for path in tmp_path.iterdir() if path.is_dir()] == ["ptbxl"]


def test_a_foreign_data_set_is_refused_and_kept(tmp_path: Path) -> None:
    foreign = tmp_path / "ptbxl/ptbxl_database.csv"
    foreign.parent.mkdir()
    foreign.write_text("the real one")
    with pytest.raises(UserError, match="did not write"):
        write_dataset(tmp_path, records=2, holter=0)
    assert foreign.read_text() == "the real one"


@pytest.mark.parametrize("wrong", [{"holter": 45}, {"records": -1}, {"holter_minutes": 0.0}, {"seed": -1}])
def test_numbers_out_of_range_are_named(tmp_path: Path, wrong: dict[str, int]) -> None:
    with pytest.raises(UserError, match=f"{next(iter(wrong))}={next(iter(wrong.values()))}"):
        write_dataset(tmp_path, **wrong)
    assert not list(tmp_path.iterdir())


def test_the_command_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    command = [sys.executable, "-m", "ecg_lightning.data.synthetic", "--root", str(tmp_path), "--holter", "0"]
    subprocess.run([*command, "--records", "2"], check=True, capture_output=True)
    assert len(list(tmp_path.rglob("*_hr.hea"))) == 2
    monkeypatch.setattr(sys, "argv", [*command[2:], "--records", "-1"])
    assert main() == 2
    assert "records=-1" in capsys.readouterr().err
