"""The attentive probe: it finds what a mean drowns, knows where a beat lies, and leaves the encoder alone."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from waves import Windows, waves

from ecg_lightning.data.windows import Batch
from ecg_lightning.encoders.base import Encoder
from ecg_lightning.encoders.checkpoint import EncoderCheckpoint, read_checkpoint
from ecg_lightning.errors import UserError
from ecg_lightning.evaluation import tokens
from ecg_lightning.evaluation.attentive import AttentionPool, Attentive
from ecg_lightning.evaluation.cell import Cell
from ecg_lightning.evaluation.condition import Condition
from ecg_lightning.evaluation.features import describe
from ecg_lightning.evaluation.tokens import Tokens, describe_tokens
from ecg_lightning.signal import SignalSpec

TOKENS, SHARE = 20, 5
SPEC = SignalSpec(100, ("II", "V1"), TOKENS * SHARE, standardise="none")


class Shares(Encoder):
    """Tokens that are the means of equal shares of the window, lead by lead; it counts what it is asked."""

    def __init__(self) -> None:
        super().__init__(SPEC, dim=2)
        self.seen = 0

    def tokens(self, x_BLT: Tensor, valid_BT: Tensor | None = None) -> Tensor:
        self.seen += len(x_BLT)
        return x_BLT.unflatten(-1, (TOKENS, SHARE)).mean(dim=-1).transpose(1, 2)


def checkpoint_of(encoder: Encoder) -> EncoderCheckpoint:
    return EncoderCheckpoint(encoder.eval(), {}, {}, "0")


def probe(**changed: float) -> Attentive:
    return Attentive(**{"steps": 200, "batch_size": 32, "lr": 0.05, "weight_decay": 0.01, **changed})  # type: ignore[arg-type]


def needles(n: int = 600) -> tuple[NDArray[Any], NDArray[np.int64], NDArray[np.int64]]:
    """Signals (N, T, L) of which lead II is +-1 mV in every share, y (N,) its sign in one of them, and which one."""
    rng = np.random.default_rng(1)
    sign, needle = rng.choice([-1, 1], (n, TOKENS)), rng.integers(0, TOKENS, n)
    values = np.stack([sign, np.zeros_like(sign)], axis=2) * 1000
    y = (sign[np.arange(n), needle] > 0).astype(np.int64)
    return np.repeat(values, SHARE, axis=1).astype(np.int16), y, needle


MakeCell = Callable[..., Cell]


def accuracy(protocol: Any, cell: Cell) -> float:
    truth = cell.data.labelled.of("test").y
    return float((protocol.fit(cell).predict(cell.part("test")).argmax(axis=1) == truth).mean())


# ---------------------------------------------------------------- what it finds


def test_it_reads_the_one_token_that_matters_which_statistics_over_all_tokens_do_not_tell(
    make_cell: MakeCell, tmp_path: Path
) -> None:
    from sklearn.linear_model import LogisticRegression

    signals, y, needle = needles()
    signals.reshape(len(y), TOKENS, SHARE, 2)[np.arange(len(y)), needle, :, 1] = 1000  # V1 marks the share
    cell = make_cell(checkpoint_of(Shares()), Windows(SPEC, signals, y), tmp_path, 250)
    assert accuracy(probe(), cell) > 0.95
    train, test = (
        np.concatenate(describe(cell.checkpoint.encoder, part, ""), axis=1) for part in (cell.train, cell.part("test"))
    )
    labels = cell.data.labelled
    statistics = LogisticRegression(C=100).fit(train[cell.budget], labels.of("train").y[cell.budget])
    assert statistics.score(test, labels.of("test").y) < 0.7


def test_it_tells_a_beat_from_its_surroundings(make_cell: MakeCell, tmp_path: Path) -> None:
    """Nothing but its span says which share is the beat's."""
    signals, y, needle = needles()
    span = np.stack([needle * SHARE, (needle + 1) * SHARE], axis=1)
    cell = make_cell(checkpoint_of(Shares()), Windows(SPEC, signals, y, span), tmp_path, 250)
    assert accuracy(probe(lr=0.01), cell) > 0.95
    whole = make_cell(checkpoint_of(Shares()), Windows(SPEC, signals, y), tmp_path, 250)
    assert accuracy(probe(lr=0.01), whole) < 0.7


def test_it_begins_with_mean_and_spread_of_all_tokens_that_count() -> None:
    torch.manual_seed(0)
    usual, t = 3 + torch.randn(50, 2), 3 + torch.randn(3, TOKENS, 2)
    valid = torch.arange(TOKENS) < torch.tensor([[TOKENS], [7], [1]])
    pool = AttentionPool(Shares(), beats=False, classes=2, usual=usual)
    t_standard = (t - usual.mean(0)) / usual.std(0, unbiased=False)
    counted = [each[inside] for each, inside in zip(t_standard, valid, strict=True)]
    described = [torch.cat([each.mean(dim=0), each.std(dim=0, unbiased=False)]) for each in counted]
    expected = pool.head(torch.stack(described).repeat(1, len(pool.query)))
    torch.testing.assert_close(pool(Tokens(t, valid, t.new_zeros(3, 0, TOKENS))), expected, rtol=1e-2, atol=2e-3)


@torch.no_grad()
@pytest.mark.parametrize("beats", [False, True])
def test_padding_changes_nothing_whatever_stands_in_it(tiny_checkpoint: Path, beats: bool) -> None:
    encoder = read_checkpoint(tiny_checkpoint).encoder
    torch.manual_seed(0)
    x = torch.randn(2, 2, 200)
    span = torch.tensor([[20, 90], [110, 190]]) if beats else None
    pool = AttentionPool(encoder, beats, 3, encoder.tokens(x).flatten(0, 1))
    nn.init.normal_(pool.query)
    alone = pool(describe_tokens(encoder, Batch(x, torch.arange(2), span=span)))
    for beyond in (0.0, 100.0):
        padded = torch.cat([x, torch.full((2, 2, 200), beyond)], dim=2)
        valid = (torch.arange(400) < 200).expand(2, -1)
        found = pool(describe_tokens(encoder, Batch(padded, torch.arange(2), span=span, valid=valid)))
        torch.testing.assert_close(found, alone, rtol=1e-4, atol=1e-4)


# ---------------------------------------------------------------- what it costs, what it leaves alone


def test_the_encoder_sees_each_labelled_window_once_however_long_the_probe_learns(
    make_cell: MakeCell, tmp_path: Path
) -> None:
    signals, y, _ = needles(100)
    encoder = Shares()
    probe(steps=300).fit(make_cell(checkpoint_of(encoder), Windows(SPEC, signals, y), tmp_path, 30))
    assert encoder.seen == 30 + 1  # one tells how much memory all will take


def test_tokens_that_are_too_many_to_keep_are_computed_again(
    make_cell: MakeCell, tmp_path: Path, convolutional_checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint = read_checkpoint(convolutional_checkpoint)
    cell = make_cell(checkpoint, waves(checkpoint.encoder.spec), tmp_path, 20)
    kept = probe(steps=20).fit(cell).predict(cell.part("test"))
    monkeypatch.setattr(tokens, "KEPT_BYTES", 0)
    monkeypatch.setattr(tokens, "one_pass", None)
    np.testing.assert_allclose(probe(steps=20).fit(cell).predict(cell.part("test")), kept, atol=1e-4)


def test_the_encoder_is_left_alone(make_cell: MakeCell, tmp_path: Path, convolutional_checkpoint: Path) -> None:
    checkpoint = read_checkpoint(convolutional_checkpoint)
    checkpoint.encoder.train()  # its norms would count what they see
    before = deepcopy(checkpoint.encoder.state_dict())
    cell = make_cell(checkpoint, waves(checkpoint.encoder.spec), tmp_path, 20)
    probe(steps=5).fit(cell).predict(cell.part("test"))
    assert all(torch.equal(value, before[key]) for key, value in checkpoint.encoder.state_dict().items())
    assert all(parameter.grad is None for parameter in checkpoint.encoder.parameters())


def test_the_model_seed_alone_decides_the_outcome(make_cell: MakeCell, tmp_path: Path, tiny_checkpoint: Path) -> None:
    checkpoint = read_checkpoint(tiny_checkpoint)
    data = waves(checkpoint.encoder.spec)

    def predicted(seed: int) -> NDArray[Any]:
        cell = make_cell(checkpoint, data, tmp_path, 20, seed)
        return probe(steps=5).fit(cell).predict(cell.part("test"))

    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = predicted(0)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    np.testing.assert_array_equal(predicted(0), first)
    assert not np.allclose(predicted(1), first, atol=1e-4)


def test_it_learns_from_signals_in_the_cells_condition(
    make_cell: MakeCell, tmp_path: Path, tiny_checkpoint: Path
) -> None:
    class Silence(nn.Module):
        def forward(self, x_BLT: Tensor, valid_BT: Tensor | None) -> tuple[Tensor, Tensor | None]:
            return 0 * x_BLT, valid_BT

    checkpoint = read_checkpoint(tiny_checkpoint)
    cell = make_cell(checkpoint, waves(checkpoint.encoder.spec), tmp_path, 20)
    deaf = replace(cell, condition=Condition("silence", Silence()))
    heard, unheard = (probe(steps=100, lr=1e-3).fit(each).details["train_loss"] for each in (cell, deaf))
    assert heard < 0.3 and unheard == pytest.approx(np.log(2), abs=0.05)


@pytest.mark.parametrize("key", ["steps", "batch_size", "lr", "weight_decay"])
def test_a_number_out_of_range_is_told_by_its_key(key: str) -> None:
    with pytest.raises(UserError, match=rf"protocol\.method\.{key}=-1 must be"):
        probe(**{key: -1})
