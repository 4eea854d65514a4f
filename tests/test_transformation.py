"""Recognising transformations: what is dealt, what padding tells, the losses, the network, and that it learns."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import PROJECT, Train
from hydra import compose, initialize_config_dir
from hypothesis import given, settings
from hypothesis import strategies as st
from omegaconf import DictConfig
from torch import Tensor, nn

from ecg_lightning.augment.base import Augmentation
from ecg_lightning.augment.retiming import Permutation, PiecewiseTimeWarp, Stretch
from ecg_lightning.augment.transformations import NoiseAtSNR, Scaling, TimeReversal, Unchanged
from ecg_lightning.build import build_encoder, build_objective, build_optimizer
from ecg_lightning.data.windows import Batch
from ecg_lightning.encoders.checkpoint import read_checkpoint
from ecg_lightning.encoders.sarkar import SarkarCNN
from ecg_lightning.encoders.vit import ViT
from ecg_lightning.errors import UserError
from ecg_lightning.objectives.transformation import Hands, TransformationRecognition, recognition_loss
from ecg_lightning.signal import SignalSpec

SPEC = SignalSpec.of_seconds(100, ("II", "V1"), 2)
KINDS: tuple[Augmentation, ...] = (Unchanged(), Scaling(-1.0), TimeReversal(), Stretch(2.0), Stretch(0.5))


def recogniser(kinds: Any = KINDS, **options: Any) -> TransformationRecognition:
    torch.manual_seed(0)
    encoder = ViT(SPEC, dim=16, depth=1, heads=2, patch_seconds=0.2)
    return TransformationRecognition(encoder, kinds, **{"form": "softmax", "optimizer": torch.optim.AdamW, **options})


def batch(B: int, padded: bool = False, seed: int = 0) -> Batch:
    """Windows of ones and more: none of a recording's samples is 0."""
    x = 1 + torch.rand(B, 2, 200, generator=torch.Generator().manual_seed(seed))
    if not padded:
        return Batch(x, torch.arange(B))
    end = torch.randint(1, 201, (B, 1), generator=torch.Generator().manual_seed(seed))
    valid = torch.arange(200) < end
    return Batch(x * valid[:, None], torch.arange(B), valid=valid)


# --- what is dealt ----------------------------------------------------------------------------------------------


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 100), st.lists(st.sampled_from([1.0, 0.5, 0.25]), min_size=2, max_size=6), st.integers(0, 99))
def test_every_hand_is_dealt_as_often_as_any_other(B: int, kept: list[float], seed: int) -> None:
    torch.manual_seed(seed)
    hands = Hands.of(kept)
    expected = {(k, cut) for cut in set(kept) for k, own in enumerate(kept) if own >= cut}
    assert {(int(k), float(s)) for k, s in zip(*hands, strict=True)} == expected
    dealt = Counter((int(k), float(s)) for k, s in zip(*hands.deal(B), strict=True))
    assert dealt.total() == B and dealt.keys() <= expected
    assert all(dealt[hand] in (B // len(expected), -(-B // len(expected))) for hand in expected)


def test_padding_tells_nothing_more_than_always_guessing_the_same() -> None:
    """The best guess by the length of what is shown is right no more often than chance, on full and padded windows."""
    model = recogniser()
    assert model.hands.chance == pytest.approx(2 / 9)  # five kinds shown to a half, four of them also whole
    torch.manual_seed(0)
    for padded in (False, True):
        windows = batch(9 * 60, padded)
        length = windows.valid.sum(dim=1) if windows.valid is not None else torch.full((540,), 200)
        seen: dict[float, Counter[int]] = {}
        shown, kind = model.transform(windows)
        assert shown.valid is not None
        whole = shown.valid.sum(dim=1) == length
        half = shown.valid.sum(dim=1) == (length // 2).clamp(min=1)
        assert (whole | half).all(), "no other lengths"
        for k, share in zip(kind.tolist(), whole.tolist(), strict=True):
            seen.setdefault(share, Counter())[k] += 1
        if not padded:
            assert seen == {True: Counter({0: 60, 1: 60, 2: 60, 3: 60}), False: Counter(dict.fromkeys(range(5), 60))}
            assert sum(max(counts.values()) for counts in seen.values()) / 540 == pytest.approx(model.hands.chance)


def test_each_window_is_changed_by_the_kind_that_it_was_dealt_and_cut_to_its_share() -> None:
    model, windows = recogniser(), batch(30, padded=True)
    torch.manual_seed(1)
    shown, kinds = model.transform(windows)
    assert windows.valid is not None and shown.valid is not None
    for b, k in enumerate(kinds.tolist()):
        n = int(windows.valid[b].sum())
        alone, _ = KINDS[k].change(windows.x[b : b + 1], {}, windows.valid[b : b + 1])
        seen = int(shown.valid[b].sum())
        assert shown.valid[b, :seen].all() and seen in (n, max(1, n // 2))
        torch.testing.assert_close(shown.x[b, :, :seen], alone[0, :, :seen])
        assert not shown.x[b, :, seen:].any() and (shown.x[b, :, :seen] != 0).all(), "padding, and nothing else, is 0"


def test_kinds_that_keep_the_length_are_shown_whole_and_leave_no_padding() -> None:
    model = recogniser((Unchanged(), Permutation(4), Scaling(0.1)))
    shown, kinds = model.transform(batch(9))
    assert shown.valid is None and sorted(kinds.tolist()) == [0] * 3 + [1] * 3 + [2] * 3
    assert model.hands.chance == pytest.approx(1 / 3)


# --- the losses -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("padded", [False, True])
def test_a_batch_of_fewer_windows_than_kinds_is_no_trouble(padded: bool) -> None:
    model = recogniser((*KINDS, Permutation(4), PiecewiseTimeWarp(9, 1.05), NoiseAtSNR(15.0)))
    for B in (1, 2, 3):
        assert all(value.isfinite() for value in model.loss(batch(B, padded)).values())


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 6), st.integers(2, 5), st.booleans(), st.integers(0, 99))
def test_the_binary_loss_is_a_sum_over_tasks_of_means_over_windows(B: int, K: int, weighted: bool, seed: int) -> None:
    rng = np.random.default_rng(seed)
    logits, kinds, weights = rng.normal(scale=3, size=(B, K)), rng.integers(0, K, B), rng.random(K)
    naive = 0.0
    for k in range(K):
        right = [1 / (1 + np.exp(-logits[b, k] if kinds[b] == k else logits[b, k])) for b in range(B)]
        naive += (weights[k] if weighted else 1 / K) * -np.mean(np.log(right))
    found = recognition_loss(torch.tensor(logits), torch.tensor(kinds), torch.tensor(weights) if weighted else None)
    assert found.item() == pytest.approx(naive, rel=1e-9)


@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize("form", ["softmax", "binary"])
def test_the_loss_is_that_of_its_heads_and_its_gradient_is_finite(form: str, padded: bool) -> None:
    model, windows = recogniser(form=form, hidden=[8]), batch(18, padded)
    torch.manual_seed(3)
    found = model.loss(windows)
    torch.manual_seed(3)
    shown, kinds = model.transform(windows)
    feature = model.encoder(shown.x, shown.valid)
    assert len(model.heads) == {"softmax": 1, "binary": 5}[form]
    logits = torch.cat([head(feature) for head in model.heads], dim=1).detach().double()
    rows = range(len(kinds))
    if form == "softmax":
        expected = -logits.log_softmax(dim=1)[rows, kinds].mean()
    else:
        expected = -torch.where(nn.functional.one_hot(kinds, 5) == 1, logits, -logits).sigmoid().log().mean()
    assert found["loss"].item() == pytest.approx(expected.item(), rel=1e-5)
    assert found["accuracy"].item() == pytest.approx((logits.argmax(dim=1) == kinds).double().mean().item())
    found["loss"].backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all() and parameter.grad.any(), name


def test_a_task_without_weight_teaches_nothing() -> None:
    model = recogniser(form="binary", weights=[1.0, 0.0, 1.0, 1.0, 1.0])
    model.loss(batch(18))["loss"].backward()
    moved = [any(bool(p.grad is not None and p.grad.any()) for p in head.parameters()) for head in model.heads]
    assert moved == [True, False, True, True, True]


def test_the_verdict_is_against_chance() -> None:
    model = recogniser()
    good, bad, diverged = (model.verdict({"val/accuracy": value}) for value in (0.6, 0.25, float("nan")))
    assert good.learned and "5 transformations" in good.sentence and "0.600, where chance scores 0.222" in good.sentence
    for verdict in (bad, diverged):
        assert not verdict.learned and "has learned nothing" in verdict.sentence and "optimizer.lr" in verdict.sentence


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"kinds": KINDS[:1]}, r"objective\.kinds names 1; there must be two"),
        ({"kinds": [Unchanged(), TimeReversal(p=0.5)]}, r"objective\.kinds: TimeReversal with p=0\.5"),
        ({"hidden": [8, 0]}, r"objective\.hidden=\[8, 0\] must be sizes"),
        ({"dropout": 1.0}, r"objective\.dropout=1\.0 must lie between 0 and 1"),
        ({"weights": [1.0] * 5}, r"objective\.weights .*objective\.form=binary; with form=softmax"),
        ({"form": "binary", "weights": [1.0]}, r"objective\.weights=\[1\.0\] must be a number for each of the 5"),
        ({"form": "binary", "weights": [0.0] * 5}, r"objective\.weights=.* not all 0"),
    ],
)
def test_what_cannot_be_recognised_is_refused_in_words(options: Any, words: str) -> None:
    with pytest.raises(UserError, match=words):
        recogniser(**options)


# --- learning ---------------------------------------------------------------------------------------------------


def beats(B: int) -> Tensor:
    """Spikes with a slow wave behind them, at random places: they have an up, a before and a pace."""
    t = torch.arange(200)[None] - torch.randint(20, 60, (B, 1))
    return sum(
        (torch.exp(-(((t - 60 * k) / 2.0) ** 2)) * 3 + torch.exp(-(((t - 60 * k - 15) / 6.0) ** 2)) for k in range(4)),
        torch.zeros(()),
    )[:, None].expand(-1, 2, -1)


@pytest.mark.parametrize("form", ["softmax", "binary"])
def test_training_comes_to_beat_chance_on_fresh_windows(form: str) -> None:
    model = recogniser(form=form)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    torch.manual_seed(0)
    for _ in range(150):
        optimizer.zero_grad()
        model.loss(Batch(beats(45), torch.arange(45)))["loss"].backward()
        optimizer.step()
    found = model.loss(Batch(beats(450), torch.arange(450)))
    assert model.verdict({"val/accuracy": found["accuracy"].item()}).learned and found["accuracy"] > 0.5


@pytest.mark.parametrize("data", ["synthetic", "mitbih"])
def test_a_run_writes_an_encoder_and_a_verdict(data: str, train: Train, tmp_path: Path) -> None:
    written = train(tmp_path, "trainer.max_epochs=1", data=data, objective="transformation")
    training = read_checkpoint(written).training
    assert training["objective"] == "TransformationRecognition" and "chance scores 0.133" in training["verdict"]


def test_sarkars_experiment_is_what_was_published() -> None:
    config = composed("+experiment=transformation_sarkar")
    spec = SignalSpec.of_seconds(config.data.spec.fs, config.data.spec.leads, config.data.spec.seconds)
    model = build_objective(config.objective, build_encoder(config.encoder, spec), build_optimizer(config.optimizer))
    assert isinstance(model, TransformationRecognition) and spec.samples == 2560
    assert len(model.heads) == len(model.kinds) == 7 and model.hands.share.tolist() == [1.0] * 7
    first = [tuple(part.weight.shape) for part in model.heads[0] if isinstance(part, nn.Linear)]  # type: ignore[union-attr]
    assert first == [(128, 128), (128, 128), (1, 128)]
    assert model.weights is not None and float(model.weights.sum()) == pytest.approx(1)


def composed(*overrides: str) -> DictConfig:
    with initialize_config_dir(str(PROJECT / "conf"), version_base="1.3"):
        return compose("train", list(overrides))


# --- the network ------------------------------------------------------------------------------------------------


def test_sarkars_network_has_the_weights_of_its_table() -> None:
    encoder = SarkarCNN(SignalSpec.of_seconds(256, ("II",), 10), dim=128)
    widths, kernels = (1, 32, 64, 128), (32, 16, 8)
    expected = sum(k * o * (i + o) + 2 * o for i, o, k in zip(widths[:-1], widths[1:], kernels, strict=True))
    assert sum(p.numel() for p in encoder.parameters()) == expected
    assert encoder.tokens(torch.randn(2, 1, 2560)).shape == (2, 640, 128)


@torch.no_grad()
def test_a_recording_looks_the_same_however_much_padding_follows_it_and_whatever_stands_in_it() -> None:
    torch.manual_seed(0)
    encoder = SarkarCNN(SPEC, dim=16).eval()
    for samples in (4, 80, 196):
        x = torch.randn(3, 2, samples)
        padded = 50 * torch.randn(3, 2, 200)
        padded[..., :samples] = x
        valid = (torch.arange(200) < samples).expand(3, 200)
        torch.testing.assert_close(encoder(padded, valid), encoder(x), rtol=1e-4, atol=1e-5)
        tokens = encoder.tokens(padded, valid)
        torch.testing.assert_close(tokens[:, : samples // 4], encoder.tokens(x), rtol=1e-4, atol=1e-5)
        assert not tokens[:, samples // 4 :].any()


def test_a_token_sees_its_own_share_and_gradients_pass_through_padding() -> None:
    torch.manual_seed(0)
    encoder = SarkarCNN(SPEC, dim=16)
    x = torch.randn(1, 2, 200, requires_grad=True)
    assert x.grad is None
    encoder.tokens(x)[0, 25].sum().backward()
    assert x.grad is not None
    reach = x.grad[0].abs().sum(dim=0).nonzero()[:, 0]
    assert reach.min() < 100 <= reach.max() and abs(float(reach.float().mean()) - 101.5) < 8, "around its share"
    valid = torch.ones(2, 200, dtype=torch.bool)
    valid[0, 1:] = False
    encoder(torch.randn(2, 2, 200), valid).sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in encoder.parameters())


def test_a_size_that_cannot_be_is_refused_in_words() -> None:
    with pytest.raises(UserError, match=r"encoder\.dim=10 must be a multiple of 4"):
        SarkarCNN(SPEC, dim=10)
    with pytest.raises(UserError, match=r"windows of 4 samples or more; raise data\.spec\.seconds"):
        SarkarCNN(SignalSpec.of_seconds(100, ("II",), 0.03), dim=8)
