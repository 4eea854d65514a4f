"""What is done to signals before they are read: the same, window by window, whoever reads them and in what batches."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from ecg_lightning.augment.gaussian_noise import GaussianNoise
from ecg_lightning.build import build_data
from ecg_lightning.encoders.checkpoint import EncoderCheckpoint, read_checkpoint
from ecg_lightning.evaluation.cell import Cell, Part
from ecg_lightning.evaluation.classical import hand_made, signals
from ecg_lightning.evaluation.condition import BLOCK, CLEAN, Condition
from ecg_lightning.evaluation.features import embed
from ecg_lightning.evaluation.finetune import FineTune

N = 3 * BLOCK + 5


class Shaken(nn.Module):
    """Noise that depends on a window's place in its batch, on its length and on what is drawn before it."""

    def forward(self, x_BLT: Tensor, valid_BT: Tensor | None = None) -> Any:
        noise = torch.randn_like(x_BLT) * torch.rand(len(x_BLT))[:, None, None]
        return x_BLT + noise if valid_BT is None else x_BLT + noise * valid_BT[:, None], valid_BT


@pytest.fixture
def windows() -> tuple[Tensor, Tensor]:
    """(N, 2, 50) in mV, and which samples are valid."""
    generator = torch.Generator().manual_seed(0)
    valid = torch.arange(50) >= torch.randint(0, 30, (N, 1), generator=generator)
    return torch.randn(N, 2, 50, generator=generator) * valid[:, None], valid


def read(condition: Condition, x: Tensor, valid: Tensor | None, batch: int) -> Tensor:
    """All windows, read in batches."""
    masks = [None] * N if valid is None else valid.split(batch)
    with condition.drawing():
        return torch.cat([condition(part, mask)[0] for part, mask in zip(x.split(batch), masks, strict=False)])


@pytest.mark.parametrize("padded", [False, True])
def test_noise_depends_on_the_window_and_not_on_the_batches(windows, padded):
    x, valid = windows[0], windows[1] if padded else None
    condition = Condition("shaken", Shaken())
    whole = read(condition, x, valid, N)
    assert not torch.allclose(whole, x)
    for batch in (7, BLOCK - 1, 100):
        assert torch.equal(read(condition, x, valid, batch), whole)
    noise = (whole - x).flatten(1)
    assert len(noise.unique(dim=0)) == N, "every window has its own"
    if padded:
        assert (whole[~windows[1][:, None].expand_as(whole)] == 0).all()


def test_a_pass_disturbs_nobodys_random_numbers_and_begins_anew_after_a_broken_one(windows):
    x, condition = windows[0], Condition("shaken", Shaken())
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    whole = read(condition, x, None, 10)
    assert torch.equal(torch.rand(2), expected)
    with pytest.raises(KeyboardInterrupt), condition.drawing():
        condition(x[:70], None)
        raise KeyboardInterrupt
    assert torch.equal(read(condition, x, None, 50), whole)


def test_training_meets_fresh_noise_in_every_batch(windows):
    condition = Condition("shaken", Shaken())
    first, second = (condition(windows[0], None)[0] for _ in range(2))
    assert not torch.allclose(first, second)


def test_a_clean_signal_is_the_very_same(windows):
    x, valid = windows
    assert CLEAN(x, valid) == (x, valid)


# --- every reader -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def checkpoint(tiny_checkpoint: Path) -> EncoderCheckpoint:
    return read_checkpoint(tiny_checkpoint)


@pytest.fixture
def noisy(
    evaluation: Callable[..., Any], checkpoint: EncoderCheckpoint, make_cell: Callable[..., Cell], tmp_path: Path
) -> Callable[..., tuple[Cell, Part]]:
    """A cell and its training split in noise, by data set and size of batches."""

    def make(data: str, batch_size: int) -> tuple[Cell, Part]:
        module = build_data(evaluation(data, f"data.batch_size={batch_size}").data, checkpoint.encoder.spec)
        cell = make_cell(checkpoint, module, tmp_path, 10)
        noise = GaussianNoise(0.3)
        noise.prepare(checkpoint.encoder.spec)
        return cell, cell.part("train", Condition("noise", noise))

    return make


def test_the_encoder_reads_the_same_in_batches_of_any_size(noisy, checkpoint):
    each = [embed(checkpoint.encoder, noisy("ptbxl", size)[1], "") for size in (5, 64)]
    np.testing.assert_allclose(*each, atol=1e-4)
    clean = embed(checkpoint.encoder, noisy("ptbxl", 64)[0].part("train"), "")
    assert np.abs(each[0] - clean).max() > 0.1


def test_fine_tuning_predicts_the_same_in_batches_of_any_size(noisy):
    method = FineTune("pretrained", "full", steps=1, batch_size=8, lr=1e-3, weight_decay=0.0)
    each = [method.fit(noisy("ptbxl", size)[0]).predict(noisy("ptbxl", size)[1]) for size in (5, 64)]
    np.testing.assert_allclose(*each, atol=1e-5)


def test_hand_made_features_are_those_of_the_signals_that_the_encoder_reads(noisy, monkeypatch):
    cell, part = noisy("ptbxl", 9)
    monkeypatch.setattr(hand_made, "record_features", lambda x_BLT, fs, leads: x_BLT.reshape(len(x_BLT), -1))
    monkeypatch.setattr(signals, "CHUNK", 7)
    (found,) = hand_made.HandMade().describe(cell.train, part)
    (clean,) = hand_made.HandMade().describe(cell.train, cell.train)
    read_by_encoder = torch.cat([
        part.condition(raw.steps.transpose(1, 2) / raw.scale[:, None, None], raw.valid)[0].flatten(1)
        for raw in within(part)
    ])  # fmt: skip
    np.testing.assert_allclose(found, read_by_encoder.numpy(), atol=1e-6)
    assert np.abs(found - clean).max() > 0.01


def within(part: Part) -> Any:
    """The part's batches as `embed` reads them."""
    with part.condition.drawing():
        yield from part.data.loader(part.data.windows(part.examples), shuffle=False)
