"""One cell from its configuration to `result.json`, and the table that a sweep of cells leaves."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from conftest import NO_LEAKAGE
from omegaconf import DictConfig
from rich.console import Console
from scipy import stats

from ecg_lightning import assessment, question
from ecg_lightning.assessment import assess
from ecg_lightning.build import build_data, build_protocol, plain
from ecg_lightning.encoders.checkpoint import read_checkpoint
from ecg_lightning.errors import UserError
from ecg_lightning.evaluation.cell import Cell, Fitted, Part
from ecg_lightning.question import cell_folder, results_folder
from ecg_lightning.reporting import tables
from ecg_lightning.reporting.sweep import summarise_sweep
from ecg_lightning.reporting.tables import METRICS, budget_order, flatten, grid, method_name, summarise
from ecg_lightning.results import SCHEMA, collect, read_result, write_result

# ---------------------------------------------------------------- the file


def test_a_result_comes_back_as_it_was_written(tmp_path):
    content = {"status": "done", "metrics": {"accuracy": {"value": 0.5, "low": None, "high": None}}, "classes": ["N"]}
    write_result(tmp_path / "a" / "cell", content)
    assert read_result(tmp_path / "a" / "cell") == {"schema": SCHEMA, **content}
    assert [path.name for path in (tmp_path / "a" / "cell").iterdir()] == ["result.json"]
    assert read_result(tmp_path) is None


@pytest.mark.parametrize("unwritable", [float("nan"), np.float32(1), object()])
def test_what_cannot_be_written_leaves_the_earlier_result_whole(tmp_path, unwritable):
    write_result(tmp_path, {"status": "failed"})
    with pytest.raises((ValueError, TypeError)):
        write_result(tmp_path, {"status": "done", "details": unwritable})
    assert read_result(tmp_path) == {"schema": SCHEMA, "status": "failed"}


@pytest.mark.parametrize(
    ("text", "message"),
    [('{"schema": ', "not readable as JSON"), ("[]", "not a result"), ('{"schema": "other/1"}', "not a result")],
)
def test_a_file_that_is_no_result_is_named_with_the_remedy(tmp_path, text, message):
    (tmp_path / "result.json").write_text(text)
    with pytest.raises(UserError, match=rf"{tmp_path}/result.json: {message}.*delete it and run again"):
        read_result(tmp_path)


def test_results_are_collected_from_every_depth_in_order(tmp_path):
    for name in ("b", "a/deep/er", "c"):
        write_result(tmp_path / name, {"status": name})
    assert [result["status"] for result in collect(tmp_path)] == ["a/deep/er", "b", "c"]


# ---------------------------------------------------------------- one cell


@pytest.fixture(autouse=True)
def fresh_setting() -> Iterator[None]:
    question._setting.cache_clear()
    yield
    question._setting.cache_clear()


@pytest.fixture
def beats(evaluation: Callable[..., DictConfig], tmp_path: Path) -> Callable[..., DictConfig]:
    """The probe on ten beats, nothing beside it unless asked for."""

    def make(*overrides: str) -> DictConfig:
        fixed = ("data.task=binary", "budget.total=10", "resamples=50", f"results_dir={tmp_path}")
        config = evaluation("mitbih", *fixed, *overrides)
        if not any(override.startswith("protocol") for override in overrides):
            config.protocol.beside = []
        return config

    return make


@pytest.fixture
def predictions(monkeypatch: pytest.MonkeyPatch) -> list[Cell]:
    """The cells that were predicted since."""
    cells: list[Cell] = []

    def counting(config: DictConfig) -> Any:
        def fit(cell: Cell) -> Fitted:
            cells.append(cell)
            return build_protocol(config).fit(cell)

        return SimpleNamespace(fit=fit)

    monkeypatch.setattr(assessment, "build_protocol", counting)
    return cells


def test_a_result_says_all_there_is_to_know(evaluation, tmp_path):
    config = evaluation("mitbih", "data.task=binary", "budget=10", f"results_dir={tmp_path}", "seed=3")
    folder = assess(config)
    assert folder.parent == results_folder(config) == tmp_path / "mitbih-beats-binary-inter_patient"
    result = read_result(folder)
    data = build_data(config.data, read_checkpoint(config.checkpoint).encoder.spec)
    test = data.labelled.of("test")

    assert (result["status"], result["protocol"], result["budget"]) == ("done", "linear", "10")
    assert (result["seed"], result["model_seed"]) == (3, 3)
    assert result["classes"] == ["normal", "abnormal"]
    assert result["config"] == {key: value for key, value in plain(config).items() if key != "beside"}
    assert result["split"] == "inter-patient"
    assert result["data"] == {
        "name": "mitbih",
        "fingerprint": data.store.fingerprint,
        "recordings": 4,
        "test_examples": len(test.row),
        "test_patients": 2,
        "skipped": {},
        "missing": "replicate",
        "substituted_leads": dict(data.store.substituted),
    }
    assert result["labels"]["per_class"] == {"normal": 6, "abnormal": 4}
    assert (result["labels"]["allowed"], result["labels"]["read"], result["labels"]["patients"]) == (10, 10, 2)
    assert result["encoder"]["objective"] == "MAE"
    assert result["encoder"]["spec"] == data.spec.to_dict()
    assert result["leakage"] == NO_LEAKAGE
    assert result["seconds"] > 0 and result["peak_memory_mb"] > 0
    assert result["commit"] and result["device"]
    assert set(result["baselines"]) == {"random_encoder", "classical"}
    for metrics in (result["metrics"], *(beside["metrics"] for beside in result["baselines"].values())):
        for name in METRICS:
            assert metrics[name].keys() == {"value", "low", "high"}
            assert 0 <= metrics[name]["value"] <= 1
    assert {path.name.split("-")[0] for path in folder.parent.iterdir() if path.is_dir()} == {
        "linear",
        "random_encoder",
        "classical",
    }


def test_metrics_are_those_of_the_predictions_with_intervals_over_patients(evaluation, tmp_path, monkeypatch):
    """On a data set whose test split has many patients, against counts made by hand."""

    def half_right(part: Part) -> Any:
        y = part.data.labelled.of("test").y
        return np.where(np.arange(len(y))[:, None] % 2, y, 1 - y).astype(float)

    fitted = SimpleNamespace(predict=half_right, details={"by": "hand"})
    monkeypatch.setattr(assessment, "build_protocol", lambda config: SimpleNamespace(fit=lambda cell: fitted))
    monkeypatch.setattr(
        "ecg_lightning.data.ptbxl.PTBXL.split_of_records",
        lambda self, store: np.where(store.fold < 3, 0, 2).astype(np.int8),
    )
    config = evaluation("ptbxl", "budget=10", f"results_dir={tmp_path}", "resamples=200", "protocol.beside=[]")
    result = read_result(assess(config))
    n = result["data"]["test_examples"]
    accuracy = result["metrics"]["accuracy"]
    assert accuracy["value"] == pytest.approx((n // 2) / n)
    assert accuracy["low"] < accuracy["value"] < accuracy["high"]
    assert accuracy["high"] - accuracy["low"] == pytest.approx(2 * 1.96 * 0.5 / np.sqrt(n), rel=0.35)
    assert result["details"] == {"by": "hand"}
    assert result["labels"]["read"] == 0


def test_a_finished_cell_is_not_evaluated_again(beats, predictions):
    first = assess(beats())
    written = (first / "result.json").read_bytes()
    assert assess(beats()) == first
    assert assess(beats("data.batch_size=7", "data.residency=cpu", "allow_seen_patients=true")) == first
    assert len(predictions) == 1
    assert (first / "result.json").read_bytes() == written


def test_what_a_finished_cell_lacks_is_added(beats, predictions):
    folder = assess(beats())
    assert assess(beats("resamples=60")) == folder
    assert assess(beats("resamples=60", "protocol.beside=[classical]")) == folder
    assert [type(cell) for cell in predictions] == [Cell] * 4
    result = read_result(folder)
    assert result["config"]["resamples"] == 60
    assert set(result["baselines"]) == {"classical"}


@pytest.mark.parametrize(
    "override",
    [
        "seed=1",
        "model_seed=1",
        "budget.total=11",
        "budget.total=null",
        "protocol.method.features=random",
        "data.task=aami",
        "data.view=windows",
        "data.split=intra_patient",
    ],
)
def test_another_question_is_another_cell(beats, override):
    config, other = beats(), beats(override)
    checkpoint = read_checkpoint(config.checkpoint)
    folders = {
        cell_folder(each, checkpoint, build_data(each.data, checkpoint.encoder.spec)) for each in (config, other)
    }
    assert len(folders) == 2


def test_another_encoder_or_another_label_is_another_cell(beats, tmp_path):
    config = beats()
    content = torch.load(config.checkpoint, weights_only=True)
    content["weights"]["project.bias"][0] += 1
    torch.save(content, tmp_path / "other.pt")
    encoders = [read_checkpoint(path) for path in (config.checkpoint, tmp_path / "other.pt")]
    data, relabelled = (build_data(config.data, encoders[0].encoder.spec) for _ in range(2))
    y = relabelled.labelled.y.copy()
    y[0] = 1 - y[0]
    vars(relabelled)["labelled"] = replace(relabelled.labelled, y=y)
    pairs = [(encoders[0], data), (encoders[1], data), (encoders[0], relabelled)]
    assert len({cell_folder(config, *pair) for pair in pairs}) == 3


def test_the_cells_of_a_sweep_share_the_data(beats, predictions):
    for seed in range(3):
        assess(beats(f"seed={seed}"))
    assert len({id(cell.data) for cell in predictions}) == 1
    assert len({cell.budget.tobytes() for cell in predictions}) == 3


@pytest.mark.parametrize("broken", ["LinearProbe", "ExtraTrees"])
def test_a_failing_cell_is_written_down_and_tried_again(beats, monkeypatch, tmp_path, broken):
    config = beats("protocol.beside=[classical]")

    def build(method: DictConfig) -> Any:
        if method._target_.endswith(broken):
            raise RuntimeError("out of luck")
        return build_protocol(method)

    with monkeypatch.context() as patch:
        patch.setattr(assessment, "build_protocol", build)
        with pytest.raises(RuntimeError, match="out of luck"):
            assess(config)
    by_protocol = {result["protocol"]: result for result in collect(tmp_path)}
    assert by_protocol["linear"]["status"] == "failed"
    assert by_protocol["linear"]["error"] == "RuntimeError: out of luck"
    assert (by_protocol["linear"]["seed"], by_protocol["linear"]["budget"]) == (0, "10")
    assert by_protocol["classical"]["status"] == ("failed" if broken == "ExtraTrees" else "done")
    assert read_result(assess(config))["status"] == "done"
    assert {result["status"] for result in collect(tmp_path)} == {"done"}


def test_a_failure_does_not_replace_a_finished_result(beats, monkeypatch):
    def fail(method: DictConfig) -> Any:
        raise RuntimeError("out of luck")

    folder = assess(beats())
    written = (folder / "result.json").read_bytes()
    with monkeypatch.context() as patch, pytest.raises(RuntimeError, match="out of luck"):
        patch.setattr(assessment, "build_protocol", fail)
        assess(beats("resamples=60"))
    assert (folder / "result.json").read_bytes() == written


def test_a_folder_that_cannot_be_written_is_told_before_the_work(beats, predictions, tmp_path):
    (tmp_path / "taken").write_text("a file")
    with pytest.raises(OSError, match="taken"):
        assess(beats(f"results_dir={tmp_path / 'taken'}"))
    assert not predictions


def test_a_broken_table_of_labels_is_told_before_recordings_are_prepared(evaluation, tmp_path, synthetic_root):
    shutil.copytree(synthetic_root / "ptbxl", tmp_path / "ptbxl")
    (tmp_path / "ptbxl" / "scp_statements.csv").unlink()
    config = evaluation("ptbxl", f"results_dir={tmp_path}")
    config.data.root, config.cache_dir, config.data.cache_dir = str(tmp_path / "ptbxl"), *2 * [str(tmp_path / "cache")]
    with pytest.raises(UserError, match=r"scp_statements\.csv"):
        assess(config)
    assert not (tmp_path / "cache").exists()


def pretrained_on(patients: list[str], checkpoint: str, path: Path) -> Path:
    content = torch.load(checkpoint, weights_only=True)
    content["training"]["data"]["patients"] = patients
    torch.save(content, path)
    return path


def test_a_checkpoint_that_saw_test_patients_is_refused_unless_allowed(beats, tmp_path):
    path = pretrained_on(["mitbih/100", "mitbih/101", "ptbxl/100"], beats().checkpoint, tmp_path / "leaky.pt")
    with pytest.raises(UserError, match=r"saw 1 patient \(mitbih/100\) of .*allow_seen_patients"):
        assess(beats(f"checkpoint={path}"))
    result = read_result(assess(beats(f"checkpoint={path}", "allow_seen_patients=true")))
    assert (result["leakage"]["pretraining_patients"], result["leakage"]["allowed"]) == (1, True)
    with pytest.raises(UserError, match="allow_seen_patients"):
        assess(beats(f"checkpoint={path}"))


def test_training_patients_may_be_seen(beats, tmp_path):
    path = pretrained_on(["mitbih/101", "mitbih/106"], beats().checkpoint, tmp_path / "clean.pt")
    assert read_result(assess(beats(f"checkpoint={path}")))["leakage"]["pretraining_patients"] == 0


def test_a_split_within_patients_says_so(beats):
    config = beats("data.split=intra_patient")
    folder = assess(config)
    assert read_result(folder)["split"] == "intra-patient"
    assert folder.parent.name == "mitbih-beats-binary-intra_patient"


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["budget.total=100000"], "asks for more than"),
        (["data.task=aami"], "holds no example of class F, Q"),
        (["seed=-1"], "seed=-1 must be"),
    ],
)
def test_a_budget_that_does_not_fit_is_the_users_to_mend(beats, overrides, message):
    with pytest.raises(UserError, match=message):
        assess(beats(*overrides))


def test_results_lie_beside_the_checkpoint_by_default(evaluation, tiny_checkpoint):
    config = evaluation("ptbxl")
    assert results_folder(config) == tiny_checkpoint.parent / "evaluations" / "ptbxl-superdiagnostic"


# ---------------------------------------------------------------- the table of many


def flat(each: list[Any]) -> Any:
    """The table of results, whose cells lie anywhere."""
    return flatten(((Path(f"cell{i}"), one) for i, one in enumerate(each)), Path())


def result(protocol: str = "linear", budget: str = "10", seed: int = 0, value: float = 0.5, **other: Any) -> Any:
    metrics = {name: {"value": value + 0.01 * i, "low": None, "high": None} for i, name in enumerate(METRICS)}
    return {
        "status": "done",
        "multi_label": False,
        "protocol": protocol,
        "budget": budget,
        "seed": seed,
        "model_seed": seed,
        "truth": "t",
        "collapsed": False,
        "split": "inter-patient",
        "config": {"protocol": {"method": {"steps": 200}}},
        "encoder": {"objective": "MAE", "digest": "abcdef0123", "pretrained_on": "ptbxl", "learned": True},
        "data": {"fingerprint": "f" * 16, "test_examples": 70, "test_patients": 7, "substituted_leads": {}},
        "metrics": metrics,
        "leakage": NO_LEAKAGE,
        "commit": "0123456789ab",
        **other,
    }


VALUES = {
    ("linear", "10"): [0.50, 0.60, 0.55],
    ("linear", "100"): [0.80, 0.82, 0.81],
    ("linear", "25"): [0.60, 0.70, 0.62],
    ("linear", "full"): [0.90, 0.90, 0.91],
    ("classical", "10"): [0.40, 0.45, 0.41],
    ("classical", "100"): [0.95],
}


def results() -> list[Any]:
    return [
        result(protocol, budget, seed, value)
        for (protocol, budget), values in VALUES.items()
        for seed, value in enumerate(values)
    ]


def test_means_and_intervals_are_students_over_seeds():
    table = summarise(flat(results()), "accuracy").set_index(["method", "budget"])
    for (protocol, budget), values in VALUES.items():
        row = table.loc[{"linear": "MAE, linear probe", "classical": "classical (extra trees)"}[protocol], budget]
        assert row["seeds"] == len(values)
        assert row["mean"] == pytest.approx(np.mean(values))
        if len(values) > 1:
            expected = stats.t.interval(0.95, len(values) - 1, np.mean(values), stats.sem(values))
            assert (row["low"], row["high"]) == pytest.approx(expected)
        else:
            assert np.isnan(float(row["low"] or "nan"))


def test_a_line_for_each_method_best_first_and_a_column_for_each_budget_in_order():
    header, lines = grid(flat(results()), "accuracy")
    assert header == ["method", "10 labels", "25 labels", "100 labels", "full"]
    assert [line[0] for line in lines] == ["classical (extra trees)", "MAE, linear probe"]
    assert lines[0][1:] == ["0.420 [0.354, 0.486]", "", "0.950", ""]


def test_budgets_stand_in_order_of_size_within_their_kind():
    ordered = ["5", "10", "25", "100", "1000", "2-per-class", "10-per-class", "0.01-of-all", "0.1-of-all", "full"]
    assert sorted(set(ordered), key=budget_order) == ordered


@pytest.mark.parametrize(("protocol", "name"), [
    ("linear", "MAE, linear probe"),
    ("attentive", "MAE, attentive probe"),
    ("knn", "MAE, nearest neighbours"),
    ("prototype", "MAE, class prototypes"),
    ("semi_supervised", "MAE, semi-supervised"),
    ("finetune", "MAE, fine-tuned"),
    ("linear_classical", "classical features, linear probe"),
    ("knn_random", "random encoder, nearest neighbours"),
    ("prototype_classical", "classical features, class prototypes"),
    ("semi_supervised_random", "random encoder, semi-supervised"),
    ("random_encoder", "random encoder, linear probe"),
    ("classical", "classical (extra trees)"),
    ("scratch", "from scratch"),
    ("ensemble", "ensemble of 3 encoders"),
])  # fmt: skip
def test_a_method_is_named_by_whose_features_it_reads_and_how(protocol, name):
    assert method_name({**result(protocol), "details": {"members": [{}, {}, {}]}}) == name


def test_methods_that_were_run_in_several_ways_are_told_apart():
    longer = {"protocol": {"method": {"steps": 400}}}
    other = {"objective": "MAE", "digest": "999999aaaa", "pretrained_on": "ptbxl", "learned": True}
    rows = flat([result("finetune"), result("finetune", config=longer), result(), result(encoder=other)])
    assert rows["method"].tolist() == [
        "MAE, fine-tuned (steps 200)",
        "MAE, fine-tuned (steps 400)",
        "MAE, linear probe (encoder abcdef)",
        "MAE, linear probe (encoder 999999)",
    ]


def test_ways_that_share_a_word_with_a_digest_or_differ_in_the_windows_are_told_apart():
    def way(encoder: str, seconds: int) -> Any:
        return {"protocol": {"method": {"encoder": encoder}}, "data": {"window_seconds": seconds}}

    rows = flat([result(config=way("pretrained", 10)), result(config=way("random", 10))])
    assert rows["method"].tolist() == [f"MAE, linear probe (with encoder {name})" for name in ("pretrained", "random")]
    rows = flat([result(config=way("pretrained", seconds)) for seconds in (5, 10)])
    assert rows["method"].tolist() == [f"MAE, linear probe (data.window_seconds {seconds})" for seconds in (5, 10)]


def test_models_seeds_are_seeds_too():
    rows = flat([result(seed=0), result(seed=0, model_seed=1, value=0.7)])
    assert rows["seed"].tolist() == [0, "0/1"]
    assert summarise(rows, "accuracy")["seeds"].tolist() == [2]


def test_an_undefined_metric_is_left_out_of_its_mean():
    without = result(seed=1)
    without["metrics"]["macro_auroc"]["value"] = None
    rows = flat([result(value=0.5), without])
    assert summarise(rows, "macro_auroc")[["seeds", "mean"]].values.tolist() == [[1, pytest.approx(0.53)]]


@pytest.fixture
def swept(tmp_path: Path) -> Path:
    folder = tmp_path / "ptbxl-superdiagnostic"
    for i, each in enumerate(results()):
        write_result(folder / f"cell{i}", each)
    failed = {key: each[key] for key in ("protocol", "budget", "seed")} | {"budget": "50", "error": "ValueError: why"}
    write_result(folder / "failed", {"status": "failed", **failed})
    return folder


def test_a_sweep_leaves_table_figures_and_curve_and_names_what_failed(swept, capsys):
    curve = summarise_sweep(swept, "accuracy")
    printed = capsys.readouterr().out
    assert "failed: classical with 50 labels, seed 0: ValueError: why" in printed
    assert "accuracy on ptbxl-superdiagnostic" in printed
    assert "70 test examples of 7 patients; mean over 1 to 3 label seeds" in printed
    assert curve.read_bytes().startswith(b"\x89PNG")

    header, lines = grid(flat(results()), "accuracy")
    table = [line for line in (swept / "table.md").read_text().splitlines() if line.startswith("|")]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in table]
    assert cells == [header, ["---", *["---:"] * 4], *lines]
    for line in lines:
        assert all(entry in printed for entry in line)

    with (swept / "results.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == sum(map(len, VALUES.values()))
    found = {(row["budget"], int(row["seed"])): float(row["accuracy"]) for row in rows if "MAE" in row["method"]}
    assert found == {
        (budget, seed): pytest.approx(value)
        for (protocol, budget), values in VALUES.items()
        if protocol == "linear"
        for seed, value in enumerate(values)
    }


def test_a_narrow_terminal_crops_no_number(swept, capsys, monkeypatch):
    monkeypatch.setattr(tables, "Console", partial(Console, force_terminal=True, width=70))
    summarise_sweep(swept, "accuracy")
    printed = capsys.readouterr().out
    assert all(number in printed for number in ("0.420", "0.354,", "0.486]", "0.889,", "0.918]"))


def test_a_sweep_says_what_a_reader_must_know(tmp_path, capsys):
    encoder = {"objective": "MAE", "digest": "0" * 16, "pretrained_on": "elsewhere", "learned": False,
               "pretraining_folds": [1, 2, 8], "pretraining_labels": 734}  # fmt: skip
    data = {"fingerprint": "0" * 16, "test_examples": 3, "test_patients": 2, "substituted_leads": {"V1 from II": 4}}
    leakage = {**NO_LEAKAGE, "pretraining_patients": 2, "training_patients": 1, "training_copies": 3, "allowed": True}
    split = {"split": "intra-patient", "leakage": leakage}
    write_result(tmp_path / "cell", result(encoder=encoder, data=data, **split))
    summarise_sweep(tmp_path)
    for text in (capsys.readouterr().out, (tmp_path / "table.md").read_text()):
        assert "intra-patient" in text
        assert "pretrained on elsewhere (folds 1, 2, 8)" in text
        assert "had learned nothing" in text
        assert "V1 from II (4)" in text
        assert "pretraining learned from 734 labels" in text
        assert "saw 2 of the test patients, with labels" in text
        assert "3 of the test recordings are exact copies of recordings in the training split" in text


@pytest.mark.parametrize("budget", ["10-per-class", "0.1-of-all"])
def test_budgets_without_a_number_of_labels_have_a_table_and_no_curve(tmp_path, budget):
    write_result(tmp_path / "cell", result(budget=budget))
    assert summarise_sweep(tmp_path) is None
    assert budget in (tmp_path / "table.md").read_text()
    assert not (tmp_path / "label_efficiency.png").exists()


def test_a_sweep_of_failures_leaves_their_names_and_no_table(tmp_path, capsys):
    write_result(tmp_path / "cell", {**result(), "status": "failed", "error": "OSError: disk"})
    assert summarise_sweep(tmp_path) is None
    assert "failed: linear with 10 labels, seed 0: OSError: disk" in capsys.readouterr().out
    assert json.loads((tmp_path / "cell" / "result.json").read_text())["status"] == "failed"
    assert [path.name for path in tmp_path.iterdir()] == ["cell"]
