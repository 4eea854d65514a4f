"""Recordings as the unit of labels: their files, their windows, their budget, and how they are judged."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import h5py
import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from omegaconf import DictConfig
from sklearn.metrics import accuracy_score, balanced_accuracy_score, f1_score, roc_auc_score

from ecg_lightning import assessment, question
from ecg_lightning.assessment import assess
from ecg_lightning.data import ingest
from ecg_lightning.data.budget import BudgetExceeded, LabelBudget
from ecg_lightning.data.ingest import prepare
from ecg_lightning.data.ptbxl import PTBXL
from ecg_lightning.data.record import BadRecord, Layout, Record
from ecg_lightning.data.recordings import UNLABELLED, RecordDataModule
from ecg_lightning.data.store import Store
from ecg_lightning.data.writing import build_once
from ecg_lightning.encoders.checkpoint import read_checkpoint
from ecg_lightning.errors import UserError
from ecg_lightning.evaluation.cell import Cell
from ecg_lightning.evaluation.metrics import score
from ecg_lightning.evaluation.setting import Setting
from ecg_lightning.results import read_result
from ecg_lightning.signal import SignalSpec, window_offsets

SPEC = SignalSpec(100, ("II", "V1"), 400)
LENGTHS = [1000, 250, 400, 401, 799, 800, 801, 2345]


@dataclass(frozen=True)
class Drawn:
    """A recording out of thin air (a `RecordFile`); `told` is what its header says where that is not so."""

    record_id: str
    samples: int
    patient: str = "nowhere/1"
    fold: int | None = None
    annotation: Mapping[str, Any] = field(default_factory=dict)
    fs: float = 100.0
    leads: tuple[str, ...] = ("II", "V1")
    told: Layout | None = None
    flat: tuple[int, ...] = ()

    def paths(self) -> list[Path]:
        return [Path("nowhere") / self.record_id]

    def layout(self) -> Layout:
        return self.told or Layout(self.fs, self.leads, self.samples)

    def read(self) -> Record:
        generator = np.random.default_rng(int(self.record_id))
        signal = generator.normal(size=(len(self.leads), self.samples)).astype(np.float32)
        signal[list(self.flat)] = 1.0
        return Record(signal, self.fs, self.leads, self.annotation)


class Waves(RecordDataModule):
    """Recordings of several lengths; every fourth carries no label, every third is a test recording."""

    def __init__(self, lengths: Sequence[int], several: bool, **base: Any) -> None:
        super().__init__(name="waves", root=Path("nowhere"), **base)
        self.lengths, self.several = lengths, several
        self.classes = ("one", "two", "three")

    def records(self) -> Sequence[Drawn]:
        return [Drawn(str(i), samples, f"nowhere/{i // 2}") for i, samples in enumerate(self.lengths)]

    def split_of_records(self, store: Store) -> NDArray[np.int8]:
        return np.where(np.arange(len(store)) % 3 == 2, 2, 0).astype(np.int8)

    def record_labels(self, store: Store) -> NDArray[np.integer[Any]]:
        number = np.arange(len(store))
        labelled = number % 4 != 3
        if self.several:
            y = np.stack([number % 2, number % 3 > 0, number % 5 == 0], axis=1) | (number % 2 == 0)[:, None]
            return (y * labelled[:, None]).astype(np.uint8)
        return np.where(labelled, number % 5 % 3, UNLABELLED)


@pytest.fixture
def waves(tmp_path: Path) -> Callable[..., Waves]:
    def make(lengths: Sequence[int] = LENGTHS, several: bool = False, **options: Any) -> Waves:
        return Waves(lengths, several, spec=SPEC, cache_dir=tmp_path / "waves", **options)

    return make


# --- windows of recordings --------------------------------------------------------------------------------------


@pytest.mark.parametrize("several", [False, True])
@pytest.mark.parametrize("fit", ["crop", "windows"])
def test_every_labelled_recording_gives_its_windows_each_with_its_label(
    waves: Callable[..., Waves], fit: Any, several: bool
) -> None:
    data = waves(several=several, long_records=fit)
    y = data.record_labels(data.store)
    expected = []
    for row, length in enumerate(LENGTHS):
        if row % 4 == 3:
            continue
        for offset in window_offsets(length, 400, fit):
            expected.append((row, int(offset), y[row].tolist(), 2 if row % 3 == 2 else 0, row))
    examples = data.labelled
    assert examples.unit is not None and data.multi_label == several
    found = zip(examples.row, examples.offset, examples.y.tolist(), examples.split, examples.unit, strict=True)
    assert [tuple(each) for each in found] == expected
    assert len(expected) == (6 if fit == "crop" else 3 + 1 + 1 + 2 + 2 + 3)
    steps, _, valid = data.windows(examples).windows.gather(np.arange(len(expected)))
    assert valid is not None
    for window, inside, (row, offset, *_) in zip(steps.numpy(), valid.numpy(), expected, strict=True):
        signal = data.store.signal(row)
        np.testing.assert_array_equal(window[inside].T, signal[:, max(offset, 0) : offset + 400])


def test_unlabelled_recordings_are_pretrained_on_all_the_same(waves: Callable[..., Waves]) -> None:
    data = waves()
    seen = set(data.train_dataloader().dataset.row.tolist())
    assert seen == {row for row in range(8) if row % 3 != 2}
    assert 3 in seen and 3 not in data.labelled.row


@pytest.mark.parametrize(("key", "value"), [("long_records", "all"), ("aggregate", "median")])
def test_another_way_is_refused_by_name(waves: Callable[..., Waves], key: str, value: str) -> None:
    with pytest.raises(UserError, match=rf"data\.{key}='{value}' is not one of"):
        waves(**{key: value})


# --- how they are judged ----------------------------------------------------------------------------------------


def setting(checkpoint: Path, data: RecordDataModule, order: NDArray[np.int64] | None = None) -> Setting:
    """With the examples in another order, if one is given."""
    if order is not None:
        vars(data)["labelled"] = data.labelled.take(order)
    return Setting(read_checkpoint(checkpoint), data)


def random_probability(n: int, several: bool) -> NDArray[np.float64]:
    p = np.random.default_rng(0).random((n, 3))
    return p if several else p / p.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("shuffled", [False, True])
@pytest.mark.parametrize("several", [False, True])
@pytest.mark.parametrize("aggregate", ["mean", "max"])
@pytest.mark.parametrize("fit", ["windows", "crop"])
def test_windows_of_one_recording_are_judged_as_one(
    waves: Callable[..., Waves], tiny_checkpoint: Path, aggregate: Any, several: bool, shuffled: bool, fit: Any
) -> None:
    data = waves(several=several, long_records=fit, aggregate=aggregate)
    order = np.random.default_rng(1).permutation(len(data.labelled.row)) if shuffled else None
    judge = setting(tiny_checkpoint, data, order)
    p = random_probability(len(judge.test.row), several)
    naive = pd.DataFrame(p).groupby(judge.test.row).agg(aggregate)
    expected = naive.to_numpy()
    if not several:
        expected = expected / expected.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(judge.judged(p), expected)
    np.testing.assert_array_equal(judge.truth, data.record_labels(data.store)[naive.index])
    names = [data.store.patient[row] for row in naive.index]
    assert (
        np.unique(judge.test_patient, return_inverse=True)[1].tolist()
        == np.unique(names, return_inverse=True)[1].tolist()
    )


@pytest.mark.parametrize("several", [False, True])
@pytest.mark.parametrize("budget", [LabelBudget(9), LabelBudget(per_class=2), LabelBudget(fraction=0.3), LabelBudget()])
def test_a_budget_counts_recordings_and_brings_all_their_windows(
    waves: Callable[..., Waves], tiny_checkpoint: Path, tmp_path: Path, several: bool, budget: LabelBudget
) -> None:
    lengths = [250 + 137 * i for i in range(30)]
    cells: dict[str, Cell] = {}
    for fit in ("crop", "windows"):
        judge = setting(tiny_checkpoint, waves(lengths, several, long_records=fit))
        cells[fit] = judge.cell(budget, seed=3, model_seed=0, cache_dir=tmp_path)
    crop, windows = cells["crop"], cells["windows"]
    chosen = crop.train.examples.row[crop.budget]
    assert len(set(chosen)) == len(chosen) == len(crop.budget)
    if budget.total:
        assert len(chosen) == budget.total
    assert windows.budget.tolist() == [i for i, row in enumerate(windows.train.examples.row) if row in set(chosen)]
    labels = windows.labels[windows.budget]
    np.testing.assert_array_equal(
        labels, windows.data.record_labels(windows.data.store)[windows.train.examples.row[windows.budget]]
    )
    outside = np.setdiff1d(np.arange(len(windows.train)), windows.budget)
    if len(outside):
        with pytest.raises(BudgetExceeded):
            windows.labels[outside[:1]]


@pytest.fixture
def half_blind(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Cell, NDArray[np.float64]]]:
    """A protocol that sees the truth through noise, and reads two of its labels; what it predicted."""
    told: list[tuple[Cell, NDArray[np.float64]]] = []

    def fit(cell: Cell) -> Any:
        _ = cell.labels[cell.budget[:2]]
        y = cell.data.labelled.of("test").y
        y = y if y.ndim == 2 else np.eye(len(cell.data.classes))[y]
        p = 0.3 * y + 0.7 * np.random.default_rng(0).random(y.shape)
        if not cell.data.multi_label:
            p = p / p.sum(axis=1, keepdims=True)
        told.append((cell, p))
        return SimpleNamespace(predict=lambda part: p, details={})

    monkeypatch.setattr(assessment, "build_protocol", lambda config: SimpleNamespace(fit=fit))
    question._setting.cache_clear()
    yield told
    question._setting.cache_clear()


@pytest.mark.parametrize("aggregate", ["mean", "max"])
def test_a_result_counts_recordings_and_scores_them_as_a_naive_computation_does(
    evaluation: Callable[..., DictConfig], tmp_path: Path, half_blind: Any, aggregate: str, monkeypatch: Any
) -> None:
    monkeypatch.setattr(PTBXL, "split_of_records", lambda self, store: np.where(store.fold < 5, 0, 2).astype(np.int8))
    config = evaluation("ptbxl", "data.long_records=windows", f"data.aggregate={aggregate}", "budget=10",
                        f"results_dir={tmp_path}", "protocol.beside=[]", "resamples=0")  # fmt: skip
    result = read_result(assess(config))
    cell, p = half_blind[0]
    test = cell.part("test").examples
    assert len(p) == len(test.row) == 3 * len(set(test.row)), "ten seconds are three windows of four"
    p_record = pd.DataFrame(p).groupby(test.row).agg(aggregate)
    y = cell.data.record_labels(cell.data.store)[p_record.index]
    assert result["data"]["test_examples"] == len(y)
    assert result["data"]["test_patients"] == len(set(cell.data.store.patient[p_record.index]))
    present = [c for c in range(y.shape[1]) if 0 < y[:, c].sum() < len(y)]
    auroc = np.mean([roc_auc_score(y[:, c], p_record[c]) for c in present])
    assert result["metrics"]["macro_auroc"]["value"] == pytest.approx(auroc)
    hard = p_record.to_numpy() >= 0.5
    print(
        present, p_record, y.sum(0), hard.sum(0), [f1_score(y[:, c], hard[:, c]) for c in range(5)], result["metrics"]
    )
    assert result["metrics"]["macro_f1"]["value"] == pytest.approx(
        f1_score(y[:, present], hard[:, present], average="macro", zero_division=0), abs=1e-9
    )

    labelled = np.unique(cell.train.examples.row[cell.budget])
    counts = cell.data.record_labels(cell.data.store)[labelled].sum(axis=0)
    assert result["labels"] == {
        "allowed": 10,
        "read": 1,  # two windows of the same recording
        "per_class": dict(zip(cell.data.classes, counts.tolist(), strict=True)),
        "patients": len(set(cell.data.store.patient[labelled])),
    }
    assert len(cell.budget) == 30


def test_single_label_recordings_are_scored_by_their_joint_prediction(
    waves: Callable[..., Waves], tiny_checkpoint: Path
) -> None:
    judge = setting(tiny_checkpoint, waves([500 + 90 * i for i in range(60)], long_records="windows"))
    p = random_probability(len(judge.test.row), several=False)
    found = score(judge.truth, judge.judged(p), judge.data.classes, judge.test_patient, resamples=0)
    joined = pd.DataFrame(p).groupby(judge.test.row).mean()
    y = judge.data.record_labels(judge.data.store)[joined.index]
    guess = joined.to_numpy().argmax(axis=1)
    assert found["accuracy"]["value"] == pytest.approx(accuracy_score(y, guess))
    assert found["balanced_accuracy"]["value"] == pytest.approx(balanced_accuracy_score(y, guess))
    assert found["macro_f1"]["value"] == pytest.approx(f1_score(y, guess, average="macro"))


# --- their files and the store ----------------------------------------------------------------------------------


DISAGREEING = {
    "shorter than its header": Drawn("7", 299, told=Layout(100, ("II", "V1"), 300)),
    "longer than its header": Drawn("7", 400, told=Layout(100, ("II", "V1"), 300)),
    "of another rate": Drawn("7", 300, fs=50, told=Layout(100, ("II", "V1"), 300)),
    "empty": Drawn("7", 0, told=Layout(100, ("II", "V1"), 300)),
    "empty, as its header says": Drawn("7", 0),
}


@pytest.mark.parametrize("fault", DISAGREEING)
def test_a_recording_that_is_not_what_its_header_said_is_bad(tmp_path: Path, fault: str) -> None:
    files = [Drawn("1", 300), DISAGREEING[fault], Drawn("2", 200)]
    said = r"nowhere/7: (holds \d+ samples at .*header|too short).*data\.on_bad_record=skip"
    with pytest.raises(BadRecord, match=said):
        prepare("set", files, SPEC, tmp_path)
    assert not list(tmp_path.glob("*.h5"))
    store = prepare("set", files, SPEC, tmp_path, on_bad_record="skip")
    assert list(store.skipped) == ["7"] and "nowhere/7" in store.skipped["7"]
    assert store.record_id.tolist() == ["1", "2"]
    for row, file in enumerate((files[0], files[2])):
        np.testing.assert_allclose(store.signal(row), 1000 * file.read().signal, atol=0.51)


def test_only_the_leads_that_are_used_must_hold_a_signal(tmp_path: Path) -> None:
    """The second of two names of one lead is not used, nor is what the spec does not ask for."""
    twice = Drawn("1", 300, leads=("MLII", "V1", "II", "V5"), flat=(2, 3))
    store = prepare("set", [twice], SPEC, tmp_path)
    np.testing.assert_allclose(store.signal(0), 1000 * twice.read().signal[:2], atol=0.51)
    with pytest.raises(BadRecord, match="lead II is flat"):
        prepare("set", [Drawn("1", 300, leads=("MLII", "V1", "II"), flat=(0,))], SPEC, tmp_path / "other")


def test_a_band_and_a_derived_lead_are_part_of_the_store_and_of_its_name(tmp_path: Path) -> None:
    files = [Drawn("1", 900, leads=("I", "II"), fs=360.0)]
    plain, banded, derived = (
        prepare("set", files, replace(SPEC, leads=("II", "III"), **change), tmp_path)
        for change in ({}, {"band": (0.5, 40.0)}, {"missing": "derive"})
    )
    assert len({plain.path, banded.path, derived.path}) == len({plain.fingerprint, banded.fingerprint}) + 1 == 3
    assert plain.substituted == {"III <- II": 1} and derived.substituted == {"III <- -I + II": 1}
    assert len(plain.signal(0).T) == 250


def test_a_stores_scale_is_kept(tmp_path: Path) -> None:
    store = prepare("set", [Drawn("1", 300)], SPEC, tmp_path)
    assert store.scale == 1000
    other = tmp_path / "other.h5"

    def build(partial: Path) -> None:
        partial.write_bytes(store.path.read_bytes())
        with h5py.File(partial, "r+") as file:
            file.attrs["scale"] = 30000.0

    assert build_once(other, build).scale == 30000
    assert Store.open(other).scale == 30000
    assert build_once(other, lambda partial: pytest.fail("it is there")).scale == 30000


def test_a_builder_that_fails_leaves_no_store(tmp_path: Path) -> None:
    def build(partial: Path) -> None:
        partial.write_bytes(b"half")
        raise RuntimeError("broken off")

    with pytest.raises(RuntimeError, match="broken off"):
        build_once(tmp_path / "set.h5", build)
    assert {path.suffix for path in tmp_path.iterdir()} <= {".lock"}


def test_a_store_of_an_earlier_version_is_built_anew_beside_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = [Drawn("1", 300)]
    with monkeypatch.context() as earlier:
        earlier.setattr(ingest, "STORE_VERSION", ingest.STORE_VERSION - 1)
        earlier.setattr("ecg_lightning.data.store.STORE_VERSION", ingest.STORE_VERSION)
        earlier.setattr("ecg_lightning.data.writing.STORE_VERSION", ingest.STORE_VERSION)
        old = prepare("set", files, SPEC, tmp_path)
    new = prepare("set", files, SPEC, tmp_path)
    assert new.path != old.path and new.fingerprint == old.fingerprint
    with pytest.raises(UserError, match=f"{old.path}: not a store of version .*delete it and run again"):
        Store.open(old.path)


def test_memory_does_not_grow_with_the_number_of_recordings(tmp_path: Path) -> None:
    def peak(count: int) -> int:
        files = [Drawn(str(i), 40_000) for i in range(count)]
        tracemalloc.start()
        prepare("set", files, SPEC, tmp_path / str(count))
        try:
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    peak(1)  # what is loaded at first use
    few, many = peak(3), peak(60)
    assert many < few + 1_000_000, "57 more recordings of 320 kB"
