"""Does a run learn: the spread of its features, the probes beside it, and the sentence at its end."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import Train
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score
from torch import Tensor

from ecg_lightning.data.mitbih import MITBIH
from ecg_lightning.data.ptbxl import PTBXL
from ecg_lightning.data.windows import Batch
from ecg_lightning.encoders.base import Encoder
from ecg_lightning.encoders.checkpoint import read_checkpoint
from ecg_lightning.encoders.vit import ViT
from ecg_lightning.errors import UserError
from ecg_lightning.evaluation.online import NEIGHBOURS, OnlineProbe
from ecg_lightning.evaluation.spread import measure_spread
from ecg_lightning.learning import judge
from ecg_lightning.objectives.base import Objective, Verdict
from ecg_lightning.signal import SignalSpec

SPEC = SignalSpec.of_seconds(100, ("II",), 2)


# The spread of features.


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 6), st.integers(0, 99), st.floats(0.1, 100))
def test_features_that_fill_k_directions_alike_have_rank_k(k: int, seed: int, scale: float) -> None:
    generator = np.random.default_rng(seed)
    directions, _ = np.linalg.qr(generator.normal(size=(8, 8)))
    corners = np.concatenate([np.eye(k), -np.eye(k)]) * scale
    features = torch.from_numpy(corners @ directions[:k] + generator.normal(size=8))
    assert measure_spread(features).effective_rank == pytest.approx(k, rel=1e-6)


def test_rank_is_the_published_formula_and_deviation_a_share() -> None:
    features = np.random.default_rng(0).normal(3, 1, size=(20, 5)).astype(np.float32)
    values = np.linalg.svd(features - features.mean(axis=0), compute_uv=False).astype(np.float64)
    share = values / values.sum()
    found = measure_spread(torch.from_numpy(features))
    assert found.effective_rank == pytest.approx(np.exp(-(share * np.log(share)).sum()), rel=1e-4)
    assert found.deviation == pytest.approx(np.sqrt(features.var(axis=0).mean() / (features**2).mean()), rel=1e-4)


def test_features_that_are_all_the_same_do_not_deviate() -> None:
    assert measure_spread(torch.ones(5, 4)).deviation == 0
    assert measure_spread(torch.zeros(5, 4)).deviation == 0
    line = torch.arange(5.0)[:, None] * torch.ones(4)
    assert measure_spread(line).effective_rank == pytest.approx(1, rel=1e-3)


# The probes.


class Oracle(Encoder):
    """Knows the answer, or anything else that is written into it."""

    def __init__(self, spec: SignalSpec, answer: Any) -> None:
        super().__init__(spec, 3)
        self.answer = answer

    def tokens(self, x_BLT: Tensor, valid_BT: Tensor | None = None) -> Tensor:
        return self.answer(x_BLT)[:, None]


@pytest.fixture(scope="module")
def beats(synthetic_root: Path, tmp_path_factory: pytest.TempPathFactory) -> MITBIH:
    return MITBIH(name="mitbih", root=synthetic_root / "mitdb", spec=SPEC, cache_dir=tmp_path_factory.mktemp("cache"),
                  split="intra_patient")  # fmt: skip


@pytest.fixture(scope="module")
def records(synthetic_root: Path, tmp_path_factory: pytest.TempPathFactory) -> PTBXL:
    cache = tmp_path_factory.mktemp("cache")
    return PTBXL(name="synthetic", root=synthetic_root / "ptbxl", spec=SPEC, cache_dir=cache)


def test_probes_see_as_many_examples_as_they_may_of_training_and_validation_alone(records: PTBXL) -> None:
    probe = OnlineProbe(records, size=20)
    split = records.labelled.split
    assert len(probe.train.which) == 20 and (split[probe.train.which] == 0).all()
    assert 0 < len(probe.val.which) <= 20 and (split[probe.val.which] == 1).all()


def test_features_that_tell_the_classes_score_1_and_noise_scores_about_a_half(records: PTBXL) -> None:
    probe = OnlineProbe(records)
    y = torch.from_numpy(records.labelled.y).float()
    asked = iter([y[part.which, :3] for part in (probe.train, probe.val)])  # each fits into one batch
    generator = torch.Generator().manual_seed(0)

    def noise(x: Tensor) -> Tensor:
        return torch.randn(len(x), 3, generator=generator)

    good = probe.measure(Oracle(SPEC, lambda x: next(asked) + 0.01 * noise(x)), torch.device("cpu"))
    poor = probe.measure(Oracle(SPEC, noise), torch.device("cpu"))
    assert set(good) == {"probe_auroc", "knn_auroc"} and min(good.values()) > 0.8
    assert all(0.2 < value < 0.75 for value in poor.values())


def test_neighbours_vote_as_in_a_loop(records: PTBXL) -> None:
    torch.manual_seed(0)
    encoder = ViT(SPEC, 8, 1, 2, 0.2).eval()
    probe = OnlineProbe(records)
    found = probe.measure(encoder, torch.device("cpu"))["knn_auroc"]
    with torch.no_grad():
        (train, y), (val, truth) = (
            probe._embed(encoder, part, torch.device("cpu")) for part in (probe.train, probe.val)
        )
    mean, deviation = train.mean(axis=0), train.std(axis=0) + 1e-6
    train, val = (train - mean) / deviation, (val - mean) / deviation
    votes = []
    for row in val:
        angle = [row @ other / np.linalg.norm(row) / np.linalg.norm(other) for other in train]
        votes.append(y[np.argsort(angle)[::-1][:NEIGHBOURS]].mean(axis=0))
    judged = [c for c in range(truth.shape[1]) if 0 < truth[:, c].sum() < len(truth)]
    naive = np.mean([roc_auc_score(truth[:, c], np.array(votes)[:, c]) for c in judged])
    assert found == pytest.approx(naive, abs=1e-6)


def test_beats_are_probed_too(beats: MITBIH) -> None:
    torch.manual_seed(0)
    found = OnlineProbe(beats).measure(ViT(SPEC, 8, 1, 2, 0.2).eval(), torch.device("cpu"))
    assert all(0 <= value <= 1 for value in found.values())


def test_data_of_one_class_are_not_probed(synthetic_root: Path, tmp_path: Path) -> None:
    data = PTBXL(name="synthetic", root=synthetic_root / "ptbxl", spec=SPEC, cache_dir=tmp_path)
    data.labelled.y[:] = 0
    with pytest.raises(UserError, match="the train split holds labels of 0 classes"):
        OnlineProbe(data)


# The sentence.


class Content(Objective):
    """Always says that it learned."""

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        return {"loss": self.encoder(batch.x).mean()}

    def verdict(self, metrics: Mapping[str, float]) -> Verdict:
        return Verdict(metrics["val/loss"] < 1, "It learned.")


FIGURES = {"val/loss": 0.5, "val/effective_rank": 20.0, "val/deviation": 0.3, "val/probe_auroc": 0.8,
           "val/knn_auroc": 0.7, "start/probe_auroc": 0.75, "start/knn_auroc": 0.6}  # fmt: skip


def said(**changed: float) -> Verdict:
    return judge(content(), FIGURES | {key.replace("_", "/", 1): value for key, value in changed.items()})


def content() -> Objective:
    return Content(ViT(SPEC, 32, 1, 2, 0.2), partial(torch.optim.SGD, lr=0.1))


def test_the_sentence_says_what_was_learned_how_wide_and_what_for() -> None:
    verdict = said()
    assert verdict.learned
    assert verdict.sentence == (
        "It learned. Its features differ in 20.0 directions of 32; probes read more from them than before training "
        "(macro AUROC: linear 0.800, before 0.750, nearest neighbours 0.700, before 0.600)."
    )
    assert "read about as much as before training" in said(val_probe_auroc=0.74).sentence
    assert "read no more from them than before" in said(val_probe_auroc=0.74, val_knn_auroc=0.6).sentence
    assert not said(val_loss=2).learned


@pytest.mark.parametrize("changed", [{"val_effective_rank": 1.2}, {"val_deviation": 1e-5}])
def test_a_collapsed_encoder_has_learned_nothing_whatever_its_objective_says(changed: dict[str, float]) -> None:
    verdict = said(**changed)
    assert not verdict.learned and "has collapsed" in verdict.sentence and "optimizer.lr" in verdict.sentence


def test_without_labels_only_the_features_are_told() -> None:
    unlabelled = {key: value for key, value in FIGURES.items() if "auroc" not in key}
    assert judge(content(), unlabelled).sentence == "It learned. Its features differ in 20.0 directions of 32."
    assert judge(content(), {"val/loss": 0.5}) == Verdict(True, "It learned.")


def test_a_run_measures_its_start_and_tells_it_at_the_end(finished_run: Path) -> None:
    training = read_checkpoint(finished_run / "encoder.pt").training
    assert {"start/effective_rank", "start/probe_auroc", "val/probe_auroc"} <= training["metrics"].keys()
    assert f"before {training['metrics']['start/probe_auroc']:.3f}" in training["verdict"]


def test_measuring_disturbs_neither_the_mode_nor_the_random_numbers_of_a_run(train: Train, tmp_path: Path) -> None:
    """The same run with and without labels to probe gives the same weights."""
    one, other = train(tmp_path / "a", "trainer.max_epochs=2"), tmp_path / "b"
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(OnlineProbe, "_choose", _no_labels)
        train(other, "trainer.max_epochs=2")
    assert read_checkpoint(one).digest == read_checkpoint(other / "encoder.pt").digest
    assert "probe_auroc" not in str(read_checkpoint(other / "encoder.pt").training["metrics"])


def _no_labels(self: OnlineProbe, split: str) -> Any:
    raise UserError("no labels")
