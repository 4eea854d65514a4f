"""Contrastive predictive coding against a loop over time, and its encoder against its definition."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from conftest import PROJECT
from hydra import compose, initialize_config_dir
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from ecg_lightning.build import build_data, build_encoder, build_objective, build_optimizer
from ecg_lightning.data.windows import Batch
from ecg_lightning.encoders.base import CausalEncoder, token_validity
from ecg_lightning.encoders.conv_lstm import ConvLSTM
from ecg_lightning.encoders.s4 import S4Causal
from ecg_lightning.encoders.vit import ViT
from ecg_lightning.errors import UserError
from ecg_lightning.objectives.cpc import CPC, info_nce, other_tokens
from ecg_lightning.signal import SignalSpec

SPEC = SignalSpec.of_seconds(100, ("II", "V1"), 1.6)
ADAMW = partial(torch.optim.AdamW, lr=1e-3)
STRIDED = {"dim": 12, "depth": 1, "kernels": [6, 4], "strides": [2, 2]}


def conv_lstm(spec: SignalSpec = SPEC, **changed: Any) -> ConvLSTM:
    torch.manual_seed(0)
    model = ConvLSTM(spec, **(STRIDED | changed)).eval()
    for layer in model.stem.layers:
        norm = layer[2]  # type: ignore[index]
        for statistic in (norm.weight, norm.bias, norm.running_mean, norm.running_var):
            statistic.data.uniform_(0.3, 1.0)
    return model


def cpc(encoder: CausalEncoder | None = None, **changed: Any) -> CPC:
    return CPC(encoder or conv_lstm(), **({"steps": [3], "negatives": 5} | changed), optimizer=ADAMW).eval()


# --- the encoder ------------------------------------------------------------------------------------------------


@torch.no_grad()
def test_4fc_is_one_perceptron_for_every_sample_and_the_lstm_its_cell_step_by_step() -> None:
    model, x = conv_lstm(kernels=[1, 1], strides=[1, 1]), torch.randn(2, 2, 15)
    samples = x.transpose(1, 2)
    for layer in model.stem.layers:
        _, convolution, norm, _ = layer  # type: ignore[misc]
        samples = samples @ convolution.weight[..., 0].T
        samples = (samples - norm.running_mean) / (norm.running_var + norm.eps).sqrt() * norm.weight + norm.bias
        samples = samples.clamp(min=0)
    torch.testing.assert_close(model.local(x), samples, rtol=1e-4, atol=1e-5)
    cell, state, expected = nn.LSTMCell(12, 12), None, []
    cell.load_state_dict({key.removesuffix("_l0"): value for key, value in model.lstm.state_dict().items()})
    for n in range(15):
        state = cell(samples[:, n], state)
        expected.append(state[0])
    torch.testing.assert_close(model.tokens(x), torch.stack(expected, dim=1), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("shape", [([1, 1], [1, 1]), ([6, 4], [2, 2]), ([10, 4, 4, 4], [2, 2, 2, 2])])
def test_a_token_knows_its_share_and_nothing_later(shape: tuple[list[int], list[int]]) -> None:
    model, x = conv_lstm(kernels=shape[0], strides=shape[1]), torch.randn(1, 2, 160, requires_grad=True)
    stride = math.prod(shape[1])
    assert model.stride == stride
    tokens = model.tokens(x)
    assert tokens.shape == (1, 160 // stride, 12)
    for n in range(0, 160 // stride, 3):
        (gradient,) = torch.autograd.grad(tokens[0, n].square().sum(), x, retain_graph=True)
        assert gradient[..., stride * (n + 1) - 1].any() and not gradient[..., stride * (n + 1) :].any()


@torch.no_grad()
@pytest.mark.parametrize("kernels", [[1, 1], [6, 4]])
def test_tokens_of_a_padded_recording_are_those_without_its_padding(kernels: list[int]) -> None:
    stride = 4 if kernels[0] > 1 else 1
    model = conv_lstm(kernels=kernels, strides=[2, 2] if stride > 1 else [1, 1])
    valid = torch.ones(3, 160, dtype=torch.bool)
    valid[0, 100:], valid[1, :60], valid[2, :20], valid[2, 140:] = False, False, False, False
    x = torch.randn(3, 2, 160) * valid[:, None]
    tokens, pooled = model.tokens(x, valid), model(x, valid)
    for b, (begin, end) in enumerate(((0, 100), (60, 160), (20, 140))):
        alone = model.tokens(x[b : b + 1, :, begin:end])
        torch.testing.assert_close(tokens[b, begin // stride : end // stride], alone[0], rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(pooled[b], model.pool(alone)[0], rtol=1e-4, atol=1e-5)


def test_any_length_gives_a_token_for_each_share_begun() -> None:
    model = conv_lstm()
    for samples in (1, 4, 5, 187):
        x = torch.randn(2, 2, samples)
        tokens, whole = model.tokens(x), torch.ones(2, samples, dtype=torch.bool)
        assert tokens.shape == (2, -(-samples // 4), 12)
        torch.testing.assert_close(model.tokens(x, whole), tokens)
        longer, begun = nn.functional.pad(x, (0, 40)), nn.functional.pad(whole, (0, 40))
        torch.testing.assert_close(model.tokens(longer, begun)[:, : tokens.shape[1]], tokens)
    with pytest.raises(UserError, match=r"encoder\.kernels=\[2, 2\] and encoder\.strides=\[2, 4\]"):
        conv_lstm(kernels=[2, 2], strides=[2, 4])


@pytest.mark.parametrize("name", ["cpc", "cpc_strided"])
def test_the_published_encoders_have_as_many_weights_as_their_sizes_say(name: str) -> None:
    kernels = {"cpc": [1, 1, 1, 1], "cpc_strided": [10, 4, 4, 4]}[name]
    with initialize_config_dir(str(PROJECT / "conf"), version_base="1.3"):
        config = compose("train", ["objective=cpc", f"encoder={name}"])
    with torch.device("meta"):
        model = build_encoder(config.encoder, build_data(config.data).spec)
    convolutions = 512 * (12 * kernels[0] + 512 * sum(kernels[1:])) + 4 * 2 * 512
    gates = 2 * (4 * 512 * (512 + 512) + 2 * 4 * 512)
    assert sum(p.numel() for p in model.parameters()) == convolutions + gates


# --- the loss ---------------------------------------------------------------------------------------------------


def naive(model: CPC, x: Tensor, spans: list[tuple[int, int]], draw: Any) -> tuple[Tensor, list[bool]]:
    """Window by window without its padding, token by token; `draw(b, target)` says with which tokens it competes."""
    encoder, losses, hits = model.encoder, [], []
    assert isinstance(encoder, CausalEncoder)
    local = [encoder.local(x[b : b + 1, :, begin:end])[0] for b, (begin, end) in enumerate(spans)]
    for b, (begin, _) in enumerate(spans):
        context = encoder.context(local[b][None])[0]
        for n in range(len(context)):
            for s, step in enumerate(model.steps):
                if n + step >= len(context):
                    continue
                guess = model.predict.weight[s * encoder.local_dim : (s + 1) * encoder.local_dim] @ context[n]
                first = begin // encoder.stride
                rivals = [local[w][m] for w, m in draw(b, n + first, n + step + first)]
                scores = torch.stack([guess @ token for token in [local[b][n + step], *rivals]])
                losses.append(-scores.log_softmax(0)[0])
                hits.append(bool(scores[0] > scores[1:].max()))
    return torch.stack(losses).mean(), hits


SPANS = [(0, 160), (0, 60), (40, 160), (20, 120), (0, 12), (156, 160)]
"""Where the recordings lie in their windows; the last two have too few tokens to predict any."""


@pytest.mark.parametrize("steps", [[3], [1, 2, 3], [4, 2]])
@pytest.mark.parametrize("padded", [False, True])
def test_loss_and_gradients_are_those_of_a_loop_over_time(steps: list[int], padded: bool) -> None:
    spans = SPANS if padded else [(0, 160)] * 3
    t = torch.arange(160)
    valid = torch.stack([(t >= begin) & (t < end) for begin, end in spans])
    model = cpc(steps=steps).double()
    x = torch.randn(len(spans), 2, 160, dtype=torch.float64) * valid[:, None]
    torch.manual_seed(7)
    found = model.loss(Batch(x, torch.arange(len(x)), valid=valid if padded else None))
    found["loss"].backward()
    gradients = [p.grad.clone() for p in model.parameters()]  # type: ignore[union-attr]
    model.zero_grad()

    torch.manual_seed(7)
    now = torch.arange(40 - min(steps))
    target = (now[:, None] + torch.tensor(steps)).flatten().clamp(max=39).expand(len(x), -1)
    begin, length = (torch.tensor(part) // 4 for part in zip(*((b, e - b) for b, e in spans), strict=True))
    drawn = other_tokens(target, begin, length, 5)

    def draw(b: int, n: int, target: int) -> list[tuple[int, int]]:
        row = n * len(steps) + steps.index(target - n)
        return [(b, int(token) - int(begin[b])) for token in drawn[b, row]]

    expected, hits = naive(model, x, spans, draw)
    expected.backward()
    assert len(hits) > 40
    assert found["loss"].item() == pytest.approx(expected.item(), rel=1e-6)
    assert found["accuracy"].item() == pytest.approx(np.mean(hits), abs=1e-6)
    for gradient, parameter in zip(gradients, model.parameters(), strict=True):
        torch.testing.assert_close(gradient, parameter.grad, rtol=1e-4, atol=1e-7)


def test_negatives_from_the_batch_are_those_of_other_windows() -> None:
    model = cpc(negatives_from="batch").double()
    x = torch.randn(3, 2, 160, dtype=torch.float64)
    torch.manual_seed(7)
    found = model.loss(Batch(x, torch.arange(3)))
    torch.manual_seed(7)
    window = (torch.arange(3)[:, None] + torch.randint(1, 3, (3, 5))) % 3
    token = (torch.rand(3, 5) * 40).long()
    assert not (window == torch.arange(3)[:, None]).any()
    expected, hits = naive(
        model, x, [(0, 160)] * 3, lambda b, n, target: list(zip(window[b].tolist(), token[b].tolist(), strict=True))
    )
    assert found["loss"].item() == pytest.approx(expected.item(), rel=1e-6)
    assert found["accuracy"].item() == pytest.approx(np.mean(hits), abs=1e-6)
    alone = model.loss(Batch(x[:1], torch.arange(1)))
    assert alone["loss"].isfinite(), "a window without company takes its own"


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_a_negative_is_another_token_of_the_recording(data: st.DataObject) -> None:
    N = data.draw(st.integers(2, 30))
    begin = data.draw(st.integers(0, N - 1))
    length = data.draw(st.integers(1, N - begin))
    torch.manual_seed(data.draw(st.integers(0, 99)))
    target = torch.arange(N)[None]
    drawn = other_tokens(target, torch.tensor([begin]), torch.tensor([length]), 400)
    assert drawn.min() >= begin and drawn.max() < begin + length
    for n in range(begin, begin + length if length > 1 else begin):
        rest = set(range(begin, begin + length)) - {n}
        found = drawn[0, n].tolist()
        assert set(found) <= rest
        if len(rest) <= 20:
            assert set(found) == rest, "each of them is drawn"


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 4), st.integers(1, 9), st.integers(1, 6), st.integers(0, 99))
def test_info_nce_is_cross_entropy_with_the_first_for_its_class(B: int, R: int, negatives: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    scores = torch.randn(B, R, 1 + negatives, generator=generator)
    counts = torch.rand(B, R, generator=generator) < 0.6
    loss, accuracy = info_nce(scores, counts)
    if not counts.any():
        assert loss == 0 and accuracy == 0
        return
    there = scores[counts]
    torch.testing.assert_close(loss, nn.functional.cross_entropy(there, torch.zeros(len(there), dtype=torch.long)))
    torch.testing.assert_close(accuracy, (there.argmax(dim=1) == 0).float().mean())


def test_who_says_nothing_picks_no_better_than_chance() -> None:
    model = cpc(negatives=9)
    x = torch.randn(8, 2, 160)
    noise = model.loss(Batch(x, torch.arange(8)))
    assert noise["accuracy"].item() == pytest.approx(0.1, abs=0.06) and abs(noise["skill"].item()) < 0.07
    nn.init.zeros_(model.predict.weight)
    silent = model.loss(Batch(x, torch.arange(8)))
    assert silent["loss"].item() == pytest.approx(math.log(10), rel=1e-6)
    assert silent["accuracy"].item() == 0 and silent["skill"].item() < 0, "a tie is no hit"


def test_gradients_are_finite_where_nothing_can_be_predicted() -> None:
    for encoder in (conv_lstm(), S4Causal(SPEC, 12, 1, 4, [4], [4])):
        for source in ("sequence", "batch"):
            model, valid = cpc(encoder, negatives_from=source).train(), torch.zeros(2, 160, dtype=torch.bool)
            valid[0, :3], valid[1, 158:] = True, True
            x = torch.randn(2, 2, 160) * valid[:, None]
            found = model.loss(Batch(x, torch.arange(2), valid=valid))
            found["loss"].backward()
            assert found["loss"] == 0 and found["skill"] < 0
            assert all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())


def test_training_learns_to_tell_the_future_of_a_rhythm_and_says_so() -> None:
    """A sine of its own rate and phase in each window, in noise; to tell its phases apart one must know its rate."""
    t = torch.arange(160) / 100

    def rhythms(count: int, seed: int) -> Batch:
        generator = torch.Generator().manual_seed(seed)
        rate, phase = torch.rand(2, count, 1, generator=generator)
        angle = 2 * math.pi * (t * (1.5 + rate) + phase)
        noise = torch.randn(count, 2, 160, generator=generator)
        return Batch(torch.stack([angle.sin(), angle.cos()], dim=1) + 0.05 * noise, torch.arange(count))

    model = cpc(conv_lstm(dim=24), steps=[5], negatives=7).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3)
    for step in range(80):
        torch.manual_seed(step)
        optimizer.zero_grad()
        model.loss(rhythms(16, step))["loss"].backward()
        optimizer.step()
    metrics = {f"val/{key}": value.item() for key, value in model.eval().loss(rhythms(64, 1000)).items()}
    assert metrics["val/skill"] > 0.3
    verdict = model.verdict(metrics)
    assert verdict.learned and "learned to predict" in verdict.sentence and "chance is 12.5%" in verdict.sentence
    for accuracy in (0.125, 0.0, math.nan):
        skill = (accuracy - 0.125) / 0.875
        verdict = model.verdict({"val/accuracy": accuracy, "val/skill": skill})
        assert not verdict.learned and "has learned nothing" in verdict.sentence and "optimizer.lr" in verdict.sentence


def test_what_cannot_be_predicted_is_refused_in_words() -> None:
    vit = ViT(SPEC, 8, 1, 2, 0.2)
    with pytest.raises(ValueError, match=r"objective=cpc .*ViT.*encoder=cpc_mini, s4_causal"):
        CPC(vit, [3], 5, optimizer=ADAMW)
    refused = [
        ({"steps": [40]}, r"objective\.steps=\[40\] reach beyond the 40 tokens.*data\.spec\.seconds"),
        ({"steps": []}, r"objective\.steps=\[\]"),
        ({"steps": [0]}, r"objective\.steps=\[0\]"),
        ({"steps": [2, 2]}, r"objective\.steps"),
        ({"negatives": 0}, r"objective\.negatives=0"),
    ]
    for changed, words in refused:
        with pytest.raises(UserError, match=words):
            cpc(**changed)
    assert cpc(steps=[39]).loss(Batch(torch.randn(2, 2, 160), torch.arange(2)))["loss"].isfinite()


@pytest.mark.parametrize(
    ("name", "kind", "fs", "samples", "steps"),
    [("cpc_mehari", ConvLSTM, 100, 1000, (12,)), ("ecg_cpc", S4Causal, 240, 600, (14,))],
)
def test_the_recipes_have_the_published_settings(
    name: str, kind: type[CausalEncoder], fs: int, samples: int, steps: tuple[int]
) -> None:
    with initialize_config_dir(str(PROJECT / "conf"), version_base="1.3"):
        config = compose("train", [f"+experiment={name}"])
    spec = build_data(config.data).spec
    with torch.device("meta"):
        encoder = build_encoder(config.encoder, spec)
        objective = build_objective(config.objective, encoder, build_optimizer(config.optimizer))
    assert isinstance(objective, CPC) and isinstance(encoder, kind) and encoder.dim == encoder.local_dim == 512
    assert (spec.fs, spec.samples, len(spec.leads)) == (fs, samples, 12)
    assert (objective.steps, objective.negatives, objective.negatives_from) == (steps, 128, "sequence")
    assert objective.predict.weight.shape == (512, 512) and objective.predict.bias is None
    assert (config.optimizer.lr, config.optimizer.weight_decay) == (1e-4, 1e-3)
    if name == "cpc_mehari":
        assert (config.data.batch_size, config.trainer.max_epochs, encoder.stride) == (32, 1000, 1)


def test_validity_of_tokens_is_that_of_their_shares() -> None:
    """Where windows are whole shares, as `fit_length` makes them."""
    model, valid = conv_lstm(), torch.zeros(1, 160, dtype=torch.bool)
    valid[0, 5:43] = True
    found = token_validity(valid, model.local(torch.zeros(1, 2, 160)).shape[1])
    assert found is not None and found[0].nonzero().flatten().tolist() == list(range(1, 11))
    assert model.fit_length(163) == 160 and model.fit_length(2) == 4
