"""The ensemble: its members by themselves, their mean, what they learn together, and whom it refuses."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import save_random
from numpy.typing import NDArray
from omegaconf import DictConfig
from waves import waves

from ecg_lightning.assessment import assess
from ecg_lightning.encoders.checkpoint import read_checkpoint
from ecg_lightning.errors import UserError
from ecg_lightning.evaluation.cell import Cell
from ecg_lightning.evaluation.ensemble import Ensemble
from ecg_lightning.evaluation.finetune import FineTune
from ecg_lightning.results import read_predictions, read_result

TASKS = {"many labels": ("ptbxl",), "one label": ("mitbih", "data.task=binary")}


@pytest.fixture
def configured(evaluation: Callable[..., DictConfig], tmp_path: Path) -> Callable[..., DictConfig]:
    """A protocol's configuration on a task, cut short."""

    def make(protocol: str, task: tuple[str, ...], *overrides: str) -> DictConfig:
        short = ("budget.total=8", "resamples=0", "finetune_steps=3", "protocol.beside=[]")
        return evaluation(*task, f"protocol={protocol}", *short, f"results_dir={tmp_path}", *overrides)

    return make


def member(path: Path) -> str:
    return f"protocol.method.checkpoints=[{path}]"


# ---------------------------------------------------------------- the mean


@pytest.mark.parametrize("task", TASKS.values(), ids=TASKS)
def test_an_ensemble_says_the_mean_of_what_its_members_say_by_themselves(configured, convolutional_checkpoint, task):
    alone = [
        read_predictions(assess(configured("finetune", task, *file))).probability
        for file in ((), (f"checkpoint={convolutional_checkpoint}",))
    ]
    folder = assess(configured("ensemble", task, member(convolutional_checkpoint)))
    assert not np.allclose(*alone, atol=1e-3)
    np.testing.assert_allclose(read_predictions(folder).probability, np.mean(alone, axis=0), atol=1e-5)
    details = read_result(folder)["details"]
    digests = [
        read_checkpoint(path).digest for path in (configured("linear", task).checkpoint, convolutional_checkpoint)
    ]
    assert [each["encoder"] for each in details["members"]] == digests


def learner(retrain_steps: int, path: Path) -> Ensemble:
    return Ensemble([str(path)], retrain_steps, FineTune("pretrained", "full", 3, 8, lr=3e-3, weight_decay=0.05))


def test_members_that_learn_together_lower_the_loss_of_their_mean(
    tiny_checkpoint: Path, convolutional_checkpoint: Path, make_cell: Callable[..., Cell], tmp_path: Path
) -> None:
    checkpoint = read_checkpoint(tiny_checkpoint)
    cell = make_cell(checkpoint, waves(checkpoint.encoder.spec), tmp_path, 20)
    apart, together = (learner(steps, convolutional_checkpoint).fit(cell) for steps in (0, 40))

    def loss(fitted: Any) -> float:
        p = fitted.predict(cell.train)[cell.budget]
        return float(-np.log(p[np.arange(len(p)), cell.labels[cell.budget]]).mean())

    assert loss(together) < 0.5 * loss(apart)
    assert not np.allclose(*(each.predict(cell.part("test")) for each in (apart, together)), atol=1e-2)
    for one, other in zip(apart.model.members, together.model.members, strict=True):
        assert all(not torch.equal(*pair) for pair in zip(one.parameters(), other.parameters(), strict=True))


@pytest.mark.parametrize("multi_label", [False, True])
def test_the_loss_is_that_of_the_mean_probability(multi_label: bool) -> None:
    """Also where members are so sure that a probability is 0 in single precision."""
    from scipy.special import expit, softmax

    from ecg_lightning.evaluation.ensemble import Average
    from ecg_lightning.readout import classification_loss

    logits = np.array([[[30.0, -30.0, 4.0], [1.0, 2.0, 3.0]], [[2.0, 1.0, 0.5], [-1.0, 5.0, 0.0]]])
    mean = (expit(logits) if multi_label else softmax(logits, axis=2)).mean(axis=0)
    y = np.array([[1, 0, 0], [0, 1, 1]]) if multi_label else np.array([2, 0])
    chosen = y * np.log(mean) + (1 - y) * np.log1p(-mean) if multi_label else np.log(mean[np.arange(2), y])

    class Fixed(torch.nn.Module):
        def __init__(self, said: NDArray[Any]) -> None:
            super().__init__()
            self.said, self.data, self.multi_label = torch.tensor(said).float(), None, multi_label

        def forward(self, batch: Any) -> torch.Tensor:
            return self.said

    average = Average([Fixed(each) for each in logits])  # type: ignore[arg-type]
    np.testing.assert_allclose(average.probability(None), mean, atol=1e-6)  # type: ignore[arg-type]
    target = torch.tensor(y).float() if multi_label else torch.tensor(y)
    assert float(classification_loss(average(None), target)) == pytest.approx(-chosen.mean(), rel=1e-5)


# ---------------------------------------------------------------- whom it refuses


def test_members_of_another_signal_are_refused_before_any_work(
    configured, tiny_checkpoint, convolutional_checkpoint, tmp_path
):
    content = torch.load(convolutional_checkpoint, weights_only=True)
    content["spec"] |= {"fs": 250.0, "standardise": "zscore"}
    torch.save(content, tmp_path / "other.pt")
    config = configured("ensemble", TASKS["one label"], member(tmp_path / "other.pt"), "data.root=nowhere")
    with pytest.raises(UserError) as refused:
        assess(config)
    for said in (
        str(tmp_path / "other.pt"),
        str(tiny_checkpoint),
        "fs 250.0 and 100.0",
        "standardise zscore and scale",
    ):
        assert said in str(refused.value)
    assert "samples" not in str(refused.value)


def test_an_ensemble_of_one_is_none(configured, tiny_checkpoint, tmp_path):
    with pytest.raises(UserError, match=r"protocol\.method\.checkpoints=\[\] names nobody beside checkpoint="):
        assess(configured("ensemble", TASKS["one label"]))
    shutil.copy(tiny_checkpoint, tmp_path / "copy.pt")
    with pytest.raises(UserError, match=r"copy\.pt and checkpoint=.* are the same encoder"):
        assess(configured("ensemble", TASKS["one label"], member(tmp_path / "copy.pt")))


def test_a_member_that_saw_the_test_splits_people_is_refused_by_name(configured, convolutional_checkpoint, tmp_path):
    content = torch.load(convolutional_checkpoint, weights_only=True)
    content["training"]["data"]["patients"] = ["mitbih/100"]
    torch.save(content, tmp_path / "seen.pt")
    chosen = (*TASKS["one label"], member(tmp_path / "seen.pt"))
    with pytest.raises(UserError, match=r"^protocol\.method\.checkpoints=.*seen\.pt: pretraining saw 1 patient \(mitb"):
        assess(configured("ensemble", chosen))
    found = read_result(assess(configured("ensemble", chosen, "allow_seen_patients=true")))
    assert found["leakage"]["pretraining_patients"] == 1 and found["leakage"]["allowed"] is True
    with pytest.raises(UserError, match=r"seen\.pt"):  # also when it is done
        assess(configured("ensemble", chosen))


# ---------------------------------------------------------------- its identity


def test_a_cell_is_known_by_what_its_members_are_and_not_by_where_they_lie(
    configured, convolutional_checkpoint, tmp_path
):
    task = TASKS["one label"]
    first = assess(configured("ensemble", task, member(convolutional_checkpoint)))
    shutil.copy(convolutional_checkpoint, tmp_path / "moved.pt")
    assert assess(configured("ensemble", task, member(tmp_path / "moved.pt"))) == first
    other = save_random(tmp_path / "other.pt", "ecg1dcnn.ECG1DCNN", seed=9, width=4)
    assert assess(configured("ensemble", task, member(other))) != first
