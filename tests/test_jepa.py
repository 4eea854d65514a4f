"""Joint-embedding prediction: masks and losses against naive versions, the teacher, and that it learns."""

from __future__ import annotations

import math
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import Train
from hypothesis import given, settings
from hypothesis import strategies as st
from lightning import Trainer
from torch import Tensor, nn
from torch.utils.data import DataLoader

from ecg_lightning.data.windows import Batch
from ecg_lightning.encoders.base import Encoder, PatchEncoder
from ecg_lightning.encoders.checkpoint import read_checkpoint
from ecg_lightning.encoders.vit import ViT
from ecg_lightning.errors import UserError
from ecg_lightning.objectives.base import parameter_groups
from ecg_lightning.objectives.decoder import MaskedDecoder
from ecg_lightning.objectives.ema import momentum_at
from ecg_lightning.objectives.jepa import JEPA, prediction_error, spread_between_windows
from ecg_lightning.objectives.masking import block_mask, over_lanes, visible_tokens
from ecg_lightning.signal import SignalSpec

SPEC = SignalSpec.of_seconds(100, ("II", "V1"), 2)
adamw = partial(torch.optim.AdamW, lr=1e-3)


class ByLead(ViT):
    """Patches of one lead each."""

    def __init__(self, spec: SignalSpec, *sizes: Any, **more: Any) -> None:
        super().__init__(spec, *sizes, **more)
        self.lanes = len(spec.leads)
        self.project = nn.Linear(self.patch, self.dim)


def jepa(spec: SignalSpec = SPEC, dim: int = 16, kind: type[ViT] = ViT, **changed: Any) -> JEPA:
    torch.manual_seed(0)
    arguments = {"visible": (0.3, 0.5), "block": 2, "predictor_dim": 8, "predictor_depth": 1, "predictor_heads": 2}
    encoder = kind(spec, dim, depth=1, heads=2, patch_seconds=0.2)
    return JEPA(encoder, optimizer=adamw, **(arguments | changed))


def loss(model: JEPA, x: Tensor, seed: int = 0, valid: Tensor | None = None) -> dict[str, Tensor]:
    torch.manual_seed(seed)
    return model.loss(Batch(x, torch.arange(len(x)), valid=valid))


# --- masks --------------------------------------------------------------------------------------------------------


def naive_blocks(hidden: int, noise: list[float], block: int) -> list[int]:
    """Sizes of blocks, drawn one after the other."""
    sizes, rest = [], hidden
    for u in noise:
        if not rest:
            break
        size = block + math.floor(np.float32(u) * np.float32(rest - block + 1))
        size = rest if rest - size < block else size
        sizes.append(size)
        rest -= size
    return sizes


def naive_mask(places: list[float], sizes: list[float], count: int, share: float, block: int | None) -> list[bool]:
    """Which of `count` tokens are hidden: tokens and blocks are thrown onto a line."""
    keep = max(1, min(math.ceil(share * count), count - 1))
    blocks = [1] * (count - keep) if block is None else naive_blocks(count - keep, sizes, block)
    things = [(places[i], False, 1) for i in range(keep)]
    things += [(places[keep + j], True, size) for j, size in enumerate(blocks)]
    return [hidden for _, hidden, size in sorted(things) for _ in range(size)]


shapes = st.tuples(st.integers(1, 5), st.integers(2, 40), st.one_of(st.none(), st.integers(1, 8)), st.integers(0, 999))


@settings(deadline=None, max_examples=150)
@given(shapes, st.floats(0.02, 0.98), st.booleans())
def test_a_mask_is_that_of_throwing_tokens_and_blocks_onto_a_line(
    shape: tuple[int, int, int | None, int], share: float, padded: bool
) -> None:
    B, N, block, seed = shape
    generator = np.random.default_rng(seed)
    noise = generator.random((B, 2, N), np.float32)
    begin = generator.integers(0, N, B) if padded else np.zeros(B, int)
    end = generator.integers(begin + 1, N + 1) if padded else np.full(B, N)
    inside = (np.arange(N) >= begin[:, None]) & (np.arange(N) < end[:, None])
    mask = block_mask(torch.from_numpy(noise), share, block, torch.from_numpy(inside) if padded else None)
    assert (mask.shown is not None) == padded
    for b in range(B):
        there = np.flatnonzero(inside[b])
        hidden = naive_mask(noise[b, 0].tolist(), noise[b, 1].tolist(), len(there), share, block)
        assert mask.masked[b].nonzero().flatten().tolist() == there[hidden].tolist()
        seen = mask.visible[b] if mask.shown is None else mask.visible[b, mask.shown[b]]
        assert seen.tolist() == there[~np.array(hidden)].tolist()
        assert len(set(mask.visible[b].tolist())) == mask.visible.shape[1], "no token is encoded twice"


@settings(deadline=None, max_examples=100)
@given(st.integers(1, 6), st.integers(20, 200), st.integers(1, 12), st.floats(0.15, 0.25), st.integers(0, 999))
def test_blocks_are_as_long_as_claimed_and_a_published_share_stays_visible(
    B: int, N: int, block: int, share: float, seed: int
) -> None:
    torch.manual_seed(seed)
    mask = block_mask(torch.rand(B, 2, N), share, block)
    assert mask.shown is None and mask.visible.shape == (B, math.ceil(share * N))
    assert 0.15 <= mask.visible.shape[1] / N < 0.25 + 1 / N
    for row in mask.masked.tolist():
        runs = [len(list(run)) for hidden, run in groupby(row) if hidden]
        assert min(runs) >= block and sum(runs) == N - mask.visible.shape[1]


def test_every_token_comes_to_be_seen_and_hidden_and_blocks_differ_in_size() -> None:
    torch.manual_seed(0)
    masked = block_mask(torch.rand(4000, 2, 50), 0.2, 3).masked
    often = masked.float().mean(dim=0)
    assert often.min() > 0.2 and often.max() < 0.95 and abs(often.mean().item() - 0.8) < 1e-6
    runs = [sum(hidden for hidden, _ in groupby(row)) for row in masked[:500].tolist()]
    assert set(range(1, 6)) <= set(runs)
    alone = block_mask(torch.rand(4000, 2, 50), 0.2).masked.float().mean(dim=0)
    assert alone.min() > 0.77 and alone.max() < 0.83


def test_lanes_share_the_times_that_are_hidden() -> None:
    torch.manual_seed(0)
    valid = torch.arange(10) < torch.tensor([[10], [6]])
    for inside in (None, valid):
        one = block_mask(torch.rand(2, 2, 10), 0.4, 2, inside)
        three = over_lanes(one, 3)
        assert torch.equal(three.masked.view(2, 3, 10), one.masked[:, None].expand(-1, 3, -1))
        assert torch.equal(three.visible.view(2, 3, -1), one.visible[:, None] + 10 * torch.arange(3)[:, None])
        if one.shown is not None:
            assert three.shown is not None
            assert torch.equal(three.shown.view(2, 3, -1), one.shown[:, None].expand(-1, 3, -1))


# --- the loss -----------------------------------------------------------------------------------------------------

PADDED = [(0, 200), (40, 200), (0, 95), (60, 140), (0, 20), (0, 7)]
"""First and one-past-last sample of six recordings in windows of 200; patches have 20."""


def windows(padded: bool, leads: int = 2) -> tuple[Tensor, Tensor | None]:
    x = torch.randn(len(PADDED), leads, 200, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    if not padded:
        return x, None
    valid = torch.stack([(torch.arange(200) >= begin) & (torch.arange(200) < end) for begin, end in PADDED])
    return x * valid[:, None], valid


def normal(t: np.ndarray) -> np.ndarray:
    return (t - t.mean()) / np.sqrt(t.var() + 1e-5)


MEASURES = {
    "l1": lambda d: np.abs(d).mean(),
    "l2": lambda d: (d**2).mean(),
    "smooth_l1": lambda d: np.where(np.abs(d) < 1, d**2 / 2, np.abs(d) - 0.5).mean(),
}


@torch.no_grad()
@pytest.mark.parametrize("kind", [ViT, ByLead])
@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize("error", MEASURES)
def test_the_loss_is_that_of_a_loop_over_windows_without_their_padding(
    kind: type[ViT], padded: bool, error: Any
) -> None:
    model = jepa(kind=kind, error=error).double()
    for parameter in model.teacher.parameters():  # another network than the encoder
        parameter.add_(0.1 * torch.randn_like(parameter))
    x, valid = windows(padded)
    found = loss(model, x, seed=3, valid=valid)

    torch.manual_seed(3)
    share = 0.3 + 0.2 * float(torch.rand(()))
    noise = torch.rand(len(x), 2, 10).tolist()
    student, teacher, predictor = model.patches, model.exported, model.predictor
    assert isinstance(teacher, PatchEncoder)
    lanes = student.lanes
    wave = torch.tensor([[n / 10_000 ** (2 * i / 8) for i in range(4)] for n in range(10)])
    places = torch.cat([wave.sin(), wave.cos()], dim=1)
    tokens: dict[tuple[int, int], np.ndarray] = {}
    guesses: dict[tuple[int, int], np.ndarray] = {}
    for b, (begin, end) in enumerate(PADDED if padded else [(0, 200)] * len(x)):
        times = [n for n in range(10) if 20 * n < end and 20 * (n + 1) > begin]
        hidden = naive_mask(*noise[b], len(times), share, 2)
        there = [lane * 10 + n for lane in range(lanes) for n in times]
        told = teacher.encode(teacher.embed(x[b : b + 1])[:, there])[0]
        tokens |= {(m, b): normal(token.numpy()) for m, token in zip(there, told, strict=True)}
        seen = [m for m, hide in zip(there, hidden * lanes, strict=True) if not hide]
        known = dict(zip(seen, predictor.widen(student.encode(student.embed(x[b : b + 1])[:, seen])[0]), strict=True))
        for lane in range(lanes):
            line = [known.get(lane * 10 + n, predictor.mask_token) + places[n] for n in times]
            guess = predictor.guess(predictor.transformer(torch.stack(line)[None]))[0]
            guesses |= {(lane * 10 + n, b): g.numpy() for n, g, hide in zip(times, guess, hidden, strict=True) if hide}
    errors = [MEASURES[error](guesses[key] - tokens[key]) for key in guesses]
    squares = [((guesses[key] - tokens[key]) ** 2).mean() for key in guesses]
    spreads = []
    for m, _ in guesses:
        alike = np.array([tokens[key] for key in tokens if key[0] == m])
        spreads.append(alike.var(axis=0, ddof=1).mean() if len(alike) > 1 else 0.0)
    assert len(errors) >= 15
    assert found["loss"].item() == pytest.approx(np.mean(errors), rel=1e-6)
    assert found["spread"].item() == pytest.approx(np.mean(spreads), rel=1e-6)
    assert found["relative_error"].item() == pytest.approx(np.mean(squares) / np.mean(spreads), rel=1e-6)


def test_predicting_the_true_mean_of_each_place_scores_1() -> None:
    torch.manual_seed(0)
    mean, noise = torch.randn(12, 8), torch.randn(4000, 12, 8)
    hidden = torch.rand(4000, 12) < 0.7
    target = mean + noise
    error = prediction_error(mean.expand_as(target), target, hidden, "l2")
    spread = spread_between_windows(target, hidden)
    assert (error / spread).item() == pytest.approx(1, abs=0.01) and spread.item() == pytest.approx(1, abs=0.01)
    few = [spread_between_windows(target[i : i + 3], hidden[i : i + 3]).item() for i in range(0, 3000, 3)]
    assert np.mean(few) == pytest.approx(1, abs=0.02), "also in small batches"


def test_where_nothing_is_to_be_told_apart_there_is_no_merit() -> None:
    model, x = jepa(), torch.randn(1, 2, 200).expand(4, -1, -1)
    same = loss(model, x)
    assert same["spread"].item() == pytest.approx(0, abs=1e-9)
    assert loss(model, x[:1])["relative_error"].item() == 1, "a window alone"
    valid = (torch.arange(200) < 20).expand(4, -1)
    nothing = loss(model, x * valid[:, None], valid=valid)
    assert (nothing["loss"].item(), nothing["relative_error"].item()) == (0, 1)


def test_the_prediction_is_blind_to_hidden_patches_and_sees_the_others() -> None:
    model, x = jepa(), torch.randn(3, 2, 200)
    torch.manual_seed(4)
    mask = model._mask(torch.empty(3, 10, 1), None)

    def predict(x: Tensor) -> Tensor:
        student = model.patches
        tokens = student.embed(x).gather(1, mask.visible[..., None].expand(-1, -1, 16))
        return model.predictor(student.encode(tokens, mask.shown), mask, 1)

    x.requires_grad_(True)
    prediction = predict(x)
    (gradient,) = torch.autograd.grad((prediction * torch.randn_like(prediction)).sum(), x)
    reached = gradient.abs().sum(dim=1).view(3, 10, 20).sum(dim=2) > 0
    assert torch.equal(reached, ~mask.masked)
    hidden = mask.masked.repeat_interleave(20, dim=1)[:, None]
    torch.manual_seed(4)
    first = model.loss(Batch(x.detach(), torch.arange(3)))["loss"]
    torch.manual_seed(4)
    other = model.loss(Batch(torch.where(hidden, torch.randn_like(x), x.detach()), torch.arange(3)))["loss"]
    assert first != other, "but the teacher's tokens are of what was hidden"


def test_what_stands_in_the_padding_is_neither_seen_nor_scored() -> None:
    model, (x, valid) = jepa(), windows(padded=True)
    assert valid is not None
    x = x.float()
    beyond = valid.view(-1, 10, 20).any(dim=2).repeat_interleave(20, dim=1)
    noisy = torch.where(beyond[:, None], x, 30 * torch.randn_like(x))
    for seed in range(5):
        torch.testing.assert_close(loss(model, noisy, seed, valid), loss(model, x, seed, valid))
        whole = torch.ones_like(valid)
        torch.testing.assert_close(loss(model, x, seed, whole), loss(model, x, seed))


@pytest.mark.parametrize("only", [[5], [4, 5], [3], list(range(len(PADDED)))])
def test_gradients_are_finite_however_little_of_a_window_is_there(only: list[int]) -> None:
    model, (x, valid) = jepa(), windows(padded=True)
    assert valid is not None
    loss(model, x[only].float(), 0, valid[only])["loss"].backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is None or parameter.grad.isfinite().all(), name


# --- the teacher --------------------------------------------------------------------------------------------------


class Normed(ViT):
    """With a norm that keeps buffers."""

    def __init__(self, *sizes: Any, **more: Any) -> None:
        super().__init__(*sizes, **more)
        self.norm = nn.BatchNorm1d(self.dim)

    def embed(self, x_BLT: Tensor) -> Tensor:
        return self.norm(super().embed(x_BLT).transpose(1, 2)).transpose(1, 2)


def test_the_teacher_is_moved_once_a_step_of_the_optimiser_and_by_nothing_else() -> None:
    """Six batches in three steps, against an average kept beside it of every weight, bias and buffer."""
    model = jepa(kind=Normed, momentum=(0.5, 0.9))
    average = {key: value.clone() for key, value in model.teacher.state_dict().items()}
    moved: list[float] = []
    after_step = model.after_step

    def watch(progress: float) -> None:
        student = model.encoder.state_dict()
        m = momentum_at(progress, 0.5, 0.9)
        before = {key: value.clone() for key, value in model.teacher.state_dict().items()}
        after_step(progress)
        for key, value in model.teacher.state_dict().items():
            if value.is_floating_point():
                torch.testing.assert_close(value, m * before[key] + (1 - m) * student[key])
            else:
                assert torch.equal(value, student[key])
        moved.append(progress)

    model.after_step = watch  # type: ignore[method-assign]
    batches = DataLoader([Batch(torch.randn(4, 2, 200), torch.arange(4)) for _ in range(6)], batch_size=None)
    silent = dict.fromkeys(("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False)
    Trainer(max_epochs=1, accumulate_grad_batches=2, accelerator="cpu", **silent).fit(model, batches)
    assert moved == pytest.approx([1 / 3, 2 / 3, 1])
    state = model.teacher.state_dict()
    assert {"norm.running_mean", "norm.num_batches_tracked", "project.bias"} <= state.keys()
    for key in ("norm.running_mean", "project.bias", "project.weight"):
        assert not torch.equal(state[key], average[key]), key


def test_the_teacher_gets_no_gradient_and_is_the_encoder_that_is_kept() -> None:
    model = jepa()
    losses = loss(model, torch.randn(4, 2, 200))
    assert [key for key, value in losses.items() if value.requires_grad] == ["loss"]
    losses["loss"].backward()
    assert all(p.grad is None and not p.requires_grad for p in model.teacher.parameters())
    trained = {id(p) for group in parameter_groups(model) for p in group["params"]}
    assert not trained & {id(p) for p in model.teacher.parameters()}
    assert trained == {id(p) for part in (model.encoder, model.predictor) for p in part.parameters()}
    assert model.exported is model.teacher and model.exported is not model.encoder
    assert any(key.startswith("teacher.") for key in model.state_dict()), "a continued run goes on with it"


# --- as a whole ---------------------------------------------------------------------------------------------------


def test_training_comes_to_beat_the_mean_of_each_place() -> None:
    """Windows that differ in what any patch of them tells: which of two leads is the larger, and its sign."""
    spec = SignalSpec.of_seconds(100, ("II", "V1"), 2)
    model, generator = jepa(spec, dim=32, predictor_dim=32, momentum=(0.9, 1.0)), torch.Generator().manual_seed(0)
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=3e-3)

    def draw() -> Tensor:
        beat = torch.sin(torch.arange(200) * 2 * torch.pi / 20)
        return 2 * torch.randn(32, 2, 1, generator=generator) * beat + 0.1 * torch.randn(
            32, 2, 200, generator=generator
        )

    before = loss(model, draw(), seed=-1)
    for step in range(80):
        optimizer.zero_grad()
        loss(model, draw(), seed=step)["loss"].backward()
        optimizer.step()
        model.after_step((step + 1) / 80)
    after = loss(model, draw(), seed=-1)
    assert before["relative_error"] > 1 and after["relative_error"] < 0.5 and after["spread"] > 0.1
    assert model.verdict({f"val/{key}": value.item() for key, value in after.items()}).learned


def test_a_run_writes_the_teacher_of_the_epoch_that_predicts_best(train: Train, tmp_path: Path) -> None:
    words = ["objective.predictor_dim=16", "objective.momentum=[0.9,1.0]", "optimizer.lr=0.01", "trainer.max_epochs=2"]
    written = read_checkpoint(train(tmp_path, *words, objective="jepa"))
    best = torch.load(tmp_path / "checkpoints" / "best.ckpt", weights_only=True)
    kept = written.encoder.state_dict()
    assert all(torch.equal(value, best["state_dict"][f"teacher.{key}"]) for key, value in kept.items())
    assert not all(torch.equal(value, best["state_dict"][f"encoder.{key}"]) for key, value in kept.items())
    (monitored,) = (state for key, state in best["callbacks"].items() if "best_model_score" in state
                    and state["monitor"] is not None)  # fmt: skip
    assert monitored["monitor"] == "val/relative_error"
    assert monitored["best_model_score"].item() == pytest.approx(written.training["metrics"]["val/relative_error"])


def test_the_verdict_is_a_sentence_of_three() -> None:
    def said(error: float, spread: float) -> tuple[bool, str]:
        return jepa().verdict({"val/relative_error": error, "val/spread": spread})

    learned, sentence = said(0.4, 0.3)
    assert learned and "learned to predict" in sentence and "0.400" in sentence and "0.30" in sentence
    for error, spread, why, remedy in (
        (0.99, 0.3, "0.990", "Train longer"),
        (0.1, 0.001, "collapsed", "momentum"),
        (math.nan, 0.3, "nan", "optimizer.lr"),
        (0.1, math.nan, "collapsed", "optimizer.lr"),
    ):
        learned, sentence = said(error, spread)
        assert not learned and "has learned nothing" in sentence and why in sentence and remedy in sentence


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"visible": (0.0, 0.5)}, r"objective\.visible=\[0\.0, 0\.5\]"),
        ({"visible": (0.5, 0.2)}, r"objective\.visible"),
        ({"visible": (0.5, 1.0)}, r"objective\.visible"),
        ({"block": 0}, r"objective\.block=0 must be at least 1, or null"),
        ({"momentum": (0.9, 1.1)}, r"objective\.momentum"),
        ({"momentum": (0.9, 0.8)}, r"objective\.momentum"),
        ({"predictor_heads": 3}, r"objective\.predictor_dim=8 is no multiple of objective\.predictor_heads=3"),
        ({"predictor_depth": 0}, r"objective\.predictor_depth=0 must be at least 1"),
        ({"spec": SignalSpec.of_seconds(100, ("II",), 0.2)}, r"two patches.*encoder\.patch_seconds"),
    ],
)
def test_a_number_that_cannot_be_is_refused_by_its_key(changed: dict[str, Any], named: str) -> None:
    with pytest.raises(UserError, match=named):
        jepa(**changed)


class WholeWindow(Encoder):
    def tokens(self, x_BLT: Tensor, valid_BT: Tensor | None = None) -> Tensor:
        return x_BLT.mean(dim=(1, 2), keepdim=True).expand(-1, 1, self.dim)


def test_an_encoder_without_patches_is_refused_with_the_remedy() -> None:
    with pytest.raises(ValueError, match=r"objective=jepa.*WholeWindow.*encoder=vit_tiny"):
        JEPA(WholeWindow(SPEC, 4), (0.2, 0.3), 2, 8, 1, 2, optimizer=adamw)


def test_a_decoder_that_sees_no_other_lane_says_of_a_lane_what_it_says_of_it_alone() -> None:
    torch.manual_seed(0)
    decoder, mask = MaskedDecoder("decoder", 4, 3, 8, 1, 2), block_mask(torch.rand(2, 2, 6), 0.5, 1)
    seen = torch.randn(2, 2 * visible_tokens(6, 0.5), 4)
    both = decoder(seen, over_lanes(mask, 2), 2)
    for lane, part in enumerate(seen.chunk(2, dim=1)):
        torch.testing.assert_close(both[:, lane * 6 : (lane + 1) * 6], decoder(part, mask, 1))
