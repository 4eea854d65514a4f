"""Learning from labels: the loss against numpy, what is served and what never is, and runs on synthetic recordings."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import torch
from conftest import PROJECT, Train, build_training
from hydra import compose, initialize_config_dir
from hypothesis import given, settings
from hypothesis import strategies as st
from omegaconf import DictConfig

from ecg_lightning import question
from ecg_lightning.assessment import assess
from ecg_lightning.data.module import SPLITS, ECGDataModule
from ecg_lightning.data.ptbxl import PTBXL
from ecg_lightning.data.taught import Task, Taught
from ecg_lightning.data.windows import Batch, to_signal
from ecg_lightning.encoders.checkpoint import read_checkpoint
from ecg_lightning.encoders.vit import ViT
from ecg_lightning.errors import UserError
from ecg_lightning.objectives.supervised import Supervised
from ecg_lightning.readout import read_out
from ecg_lightning.results import read_result
from ecg_lightning.signal import SignalSpec

SPEC = SignalSpec.of_seconds(100, ("II", "V1"), 2)


def supervised(task: Task, spec: SignalSpec = SPEC, **base: Any) -> Supervised:
    torch.manual_seed(0)
    encoder = ViT(spec, dim=16, depth=1, heads=2, patch_seconds=0.2)
    data = cast(Taught, SimpleNamespace(task=task))
    return Supervised(encoder, data, **{"optimizer": torch.optim.AdamW, **base})


def task(multi_label: bool = False, beats: bool = False, counts: Any = (30, 9, 0), examples: int = 39) -> Task:
    return Task(("N", "S", "V"), multi_label, beats, np.array(counts), examples)


def windows(y: torch.Tensor, beats: bool = False, seed: int = 0) -> Batch:
    """Windows of which the first is padded."""
    generator = torch.Generator().manual_seed(seed)
    valid = torch.ones(len(y), 200, dtype=torch.bool)
    valid[0, 130:] = False
    x = torch.randn(len(y), 2, 200, generator=generator) * valid[:, None]
    span = torch.tensor([[40, 110]]).expand(len(y), 2) if beats else None
    return Batch(x, torch.arange(len(y)), y, span, valid)


# --- the loss ---------------------------------------------------------------------------------------------------


@settings(deadline=None, max_examples=20)
@given(st.lists(st.integers(0, 2), min_size=1, max_size=5), st.booleans(), st.integers(0, 99))
def test_the_loss_of_exclusive_classes_is_the_mean_of_minus_the_log_of_what_was_right(
    labels: list[int], beats: bool, seed: int
) -> None:
    model, batch = supervised(task(beats=beats)), windows(torch.tensor(labels), beats, seed)
    found = model.loss(batch)
    logits = model.head(read_out(model.encoder, batch)).detach().double().numpy()
    chosen = [np.exp(row[y]) / sum(np.exp(c) for c in row) for row, y in zip(logits, labels, strict=True)]
    assert found["loss"].item() == pytest.approx(-np.mean(np.log(chosen)), rel=1e-5)
    assert found["accuracy"].item() == pytest.approx(np.mean([row.argmax() for row in logits] == np.array(labels)))
    prior = np.array([31, 10, 1]) / 42
    assert found["prior_loss"].item() == pytest.approx(-np.mean([np.log(prior[y]) for y in labels]), rel=1e-5)


@settings(deadline=None, max_examples=20)
@given(st.lists(st.tuples(*[st.integers(0, 1)] * 3), min_size=1, max_size=5), st.integers(0, 99))
def test_the_loss_of_several_labels_is_the_mean_over_examples_and_classes(labels: Any, seed: int) -> None:
    model, batch = supervised(task(multi_label=True)), windows(torch.tensor(labels).float(), seed=seed)
    found = model.loss(batch)
    assert found.keys() == {"loss", "prior_loss"}
    logits = model.head(read_out(model.encoder, batch)).detach().double().numpy()
    right = [
        1 / (1 + np.exp(-logit if y else logit))
        for row, ys in zip(logits, labels, strict=True)
        for logit, y in zip(row, ys, strict=True)
    ]
    assert found["loss"].item() == pytest.approx(-np.mean(np.log(right)), rel=1e-5)
    prior = np.array([31, 10, 1]) / 41
    naive = [np.log(p if y else 1 - p) for ys in labels for p, y in zip(prior, ys, strict=True)]
    assert found["prior_loss"].item() == pytest.approx(-np.mean(naive), rel=1e-5)


@pytest.mark.parametrize("multi_label", [False, True])
@pytest.mark.parametrize("beats", [False, True])
def test_gradient_reaches_every_parameter_and_is_finite_in_spite_of_padding(multi_label: bool, beats: bool) -> None:
    y = torch.tensor([0, 1, 2, 0])
    model = supervised(task(multi_label, beats))
    model.loss(windows(torch.eye(3)[y] if multi_label else y, beats))["loss"].backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all() and parameter.grad.any(), name


def test_the_verdict_compares_with_always_predicting_the_frequencies() -> None:
    model = supervised(task())
    verdicts = [model.verdict({"val/loss": loss, "val/prior_loss": 0.5}) for loss in (0.2, 0.499, 0.9, float("nan"))]
    assert [verdict.learned for verdict in verdicts] == [True, False, False, False]
    assert "0.400 of what" in verdicts[0].sentence and "learned nothing" in verdicts[2].sentence
    assert "1.800 of what" in verdicts[2].sentence and "optimizer.lr" in verdicts[2].sentence


# --- the data ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def ptbxl(synthetic_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[], ECGDataModule]:
    cache = tmp_path_factory.mktemp("cache")
    spec = SignalSpec.of_seconds(100, ("II", "V1"), 2.5)
    return lambda: PTBXL(
        name="synthetic", root=synthetic_root / "ptbxl", spec=spec, cache_dir=cache, batch_size=7,
        long_records="windows",
    )  # fmt: skip


def test_every_training_example_is_served_once_a_pass_with_its_own_label_and_no_other(ptbxl: Any) -> None:
    data = ptbxl()
    taught, labelled = Taught(data), data.labelled
    for loader, split in ((taught.train_dataloader(), "train"), (taught.val_dataloader(), "val")):
        own = labelled.of(split)
        served = [(raw, to_signal(raw, data.spec)) for raw in loader]
        which = torch.cat([batch.which for _, batch in served]).numpy()
        assert set(which) == set(range(len(own.row)))
        for raw, batch in served[:3]:
            assert batch.y is not None and batch.y.dtype == torch.float32
            np.testing.assert_array_equal(batch.y.numpy(), own.y[batch.which.numpy()])
            n = int(batch.which[0])
            begin = data.store.start[own.row[n]] + own.offset[n]
            np.testing.assert_array_equal(raw.steps[0].numpy(), data.store.signals[begin : begin + data.spec.samples])


def test_what_was_seen_are_the_labelled_training_recordings_and_how_many_labels(ptbxl: Any) -> None:
    data = ptbxl()
    taught, train = Taught(data), data.labelled.of("train")
    assert len(train.row) > len(set(train.row)), "windows share their recording's label"
    seen = taught.seen()
    assert seen["labels"] == len(set(train.row))
    assert seen["patients"] == sorted({str(data.store.patient[row]) for row in train.row})
    assert taught.patients("train").tolist() == seen["patients"]
    test_people = {str(data.store.patient[row]) for row in data.labelled.of("test").row}
    assert test_people and not test_people & set(seen["patients"])
    assert {key: value for key, value in seen.items() if key != "labels"} == data.seen_of(np.unique(train.row))


def test_the_task_counts_training_labels_alone(ptbxl: Any) -> None:
    data = ptbxl()
    found, train = Taught(data).task, data.labelled.y[data.labelled.split == SPLITS.index("train")]
    assert (found.classes, found.multi_label, found.beats, found.examples) == (data.classes, True, False, len(train))
    assert found.counts.tolist() == [sum(int(y[c]) for y in train) for c in range(len(data.classes))]


def test_a_class_without_training_examples_is_remarked_and_an_empty_split_refused(ptbxl: Any) -> None:
    data = ptbxl()
    examples = data.labelled
    examples.y[examples.split == 0, 2] = 0
    assert f"no training example of {data.classes[2]}: it cannot be learned" in Taught(data).remarks()
    assert not [remark for remark in Taught(ptbxl()).remarks() if "cannot be learned" in remark]
    for split in ("train", "val"):
        data = ptbxl()
        data.labelled.split[data.labelled.split == SPLITS.index(split)] = -1
        with pytest.raises(UserError, match=f"data=synthetic: no labelled example belongs to the {split} split"):
            supervised_on(data)


def supervised_on(data: ECGDataModule) -> Supervised:
    return Supervised(ViT(data.spec, 16, 1, 2, 0.1), Taught(data), optimizer=torch.optim.AdamW)


def test_a_mix_has_no_labels_and_a_wrong_number_is_told_before_the_recordings_are_prepared(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"Supervised learns from labels.*data=mix.*one of its members.*ptbxl"):
        build_training(composed("data=mix"))
    with pytest.raises(UserError, match=r"objective\.warmup=2 must lie between"):
        build_training(composed(f"data.root={tmp_path}/nowhere", "objective.warmup=2"))


def composed(*overrides: str) -> DictConfig:
    with initialize_config_dir(str(PROJECT / "conf"), version_base="1.3"):
        return compose("train", ["objective=supervised", *overrides])


# --- a run ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def trained(train: Train, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """A run of one epoch."""
    folder = tmp_path_factory.mktemp("run")
    return lambda data: train(folder / data, "trainer.max_epochs=1", data=data, objective="supervised")


@pytest.mark.parametrize("data", ["synthetic", "mitbih"])
def test_a_run_writes_an_encoder_that_knows_how_many_labels_made_it(data: str, trained: Any) -> None:
    training = read_checkpoint(trained(data)).training
    assert training["objective"] == "Supervised" and training["data"]["labels"] > 10
    assert training["metrics"].keys() >= {"val/loss", "val/prior_loss"}
    assert ("val/accuracy" in training["metrics"]) == (data == "mitbih")
    assert "frequencies" in training["verdict"]


def test_a_result_says_how_many_labels_pretraining_learned_from(
    trained: Any, evaluation: Callable[..., DictConfig], tmp_path: Path
) -> None:
    checkpoint = trained("synthetic")
    names = ("data.name=synthetic", "data.population=synthetic", f"checkpoint={checkpoint}", f"results_dir={tmp_path}")
    config = evaluation("ptbxl", *names, "budget=10", "resamples=10")
    config.protocol.beside = []
    question._setting.cache_clear()
    result = read_result(assess(config))
    question._setting.cache_clear()
    assert result is not None and result["leakage"]["pretraining_patients"] == 0
    assert result["encoder"]["pretraining_labels"] == read_checkpoint(checkpoint).training["data"]["labels"]


def test_single_beats_of_all_lengths_in_their_padding_are_trained_on(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for name, rows in (("mitbih_train.csv", 60), ("mitbih_test.csv", 5)):
        table = rng.random((rows, 188))
        table[:, :187] *= np.arange(187) < rng.integers(20, 188, (rows, 1))
        table[:, 187] = np.arange(rows) % 5
        np.savetxt(tmp_path / name, table, delimiter=",", fmt="%.4f")
    config = composed(
        "data=heartbeat", f"data.root={tmp_path}", f"cache_dir={tmp_path / 'cache'}", "data.batch_size=60"
    )
    data, model = build_training(config)
    batch = next(iter(data.train_dataloader()))
    signal = to_signal(batch, data.spec)
    assert signal.valid is not None and len(set(signal.valid.sum(dim=1).tolist())) > 10
    losses = model.loss(signal)
    losses["loss"].backward()
    assert losses["loss"].isfinite() and losses["prior_loss"].item() == pytest.approx(np.log(5), rel=0.1)
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


def test_a_label_alone_tells_two_identical_groups_of_windows_apart() -> None:
    """The head, the encoder and the optimiser learn what only labels say: which of two waves is which."""
    model = supervised(Task(("slow", "fast"), False, False, np.array([16, 16]), 32))
    t = torch.arange(200) / 100
    y = torch.arange(32) % 2
    phase = torch.rand(32, 1, 1, generator=torch.Generator().manual_seed(0)) * 6.28
    x = torch.sin(6.28 * torch.where(y == 1, 7.0, 2.0)[:, None, None] * t + phase).expand(-1, 2, -1)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for _ in range(60):
        optimizer.zero_grad()
        losses = model.loss(Batch(x, torch.arange(32), y))
        losses["loss"].backward()
        optimizer.step()
    assert losses["loss"] < 0.2 * losses["prior_loss"] and losses["accuracy"] == 1
