"""State spaces against their recurrence, step by step, and the encoders made of them."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from ecg_lightning.encoders.base import Encoder
from ecg_lightning.encoders.checkpoint import load_encoder, save_encoder
from ecg_lightning.encoders.s4 import S4, S4Causal
from ecg_lightning.encoders.state_space import StateSpace
from ecg_lightning.errors import UserError
from ecg_lightning.objectives.base import parameter_groups
from ecg_lightning.signal import SignalSpec

SPEC = SignalSpec.of_seconds(100, ("II", "V1"), 2)
SIZE = {"dim": 16, "depth": 2, "state": 4, "kernels": [5, 1], "strides": [4, 1]}


def encoder(kind: type[Encoder], **changed: object) -> Encoder:
    torch.manual_seed(0)
    made: Encoder = kind(SPEC, **(SIZE | changed)).eval()  # type: ignore[arg-type]
    for name, weight in made.named_parameters():  # norms that are not what they begin as
        if weight.ndim == 1 and "state_space.log_step" not in name:
            torch.nn.init.normal_(weight, 0.5, 0.5)
    return made


def recurrence(u_BHT: NDArray[np.float64], layer: StateSpace, direction: int) -> NDArray[np.float64]:
    """x_k = exp(A dt) x_{k-1} + (exp(A dt) - 1) / A u_k and y_k = Re(C x_k), over both states of each pair."""
    step, decay, frequency, readout = (
        p.detach().double().numpy() for p in (layer.log_step, layer.log_decay, layer.frequency, layer.readout)
    )
    B, H, T = u_BHT.shape
    y = np.zeros((B, H, T))
    for h in range(H):
        half = -np.exp(decay[h]) + 1j * frequency[h]
        weight = readout[direction, h, :, 0] + 1j * readout[direction, h, :, 1]
        A, C = np.concatenate([half, half.conj()]), np.concatenate([weight, weight.conj()])
        kept = np.exp(A * np.exp(step[h]))
        x = np.zeros((B, len(A)), complex)
        for k in range(T):
            x = kept * x + (kept - 1) / A * u_BHT[:, h, k, None]
            y[:, h, k] = (C * x).sum(axis=1).real
    return y


@settings(deadline=None, max_examples=25)
@given(st.integers(1, 2), st.integers(1, 3), st.integers(1, 90), st.sampled_from([2, 4, 8]), st.booleans())
def test_the_convolution_is_the_recurrence_of_the_same_system(B: int, H: int, T: int, state: int, both: bool) -> None:
    torch.manual_seed(T)
    layer = StateSpace(H, state, both)
    with torch.no_grad():
        layer.log_decay.add_(torch.randn_like(layer.log_decay))
        layer.log_step.add_(1.0)
    u = torch.randn(B, H, T)
    wave = u.double().numpy()
    expected = recurrence(wave, layer, 0) + wave * layer.skip.detach().double().numpy()[:, None]
    if both:
        expected += recurrence(wave[..., ::-1], layer, 1)[..., ::-1]
    np.testing.assert_allclose(layer(u).detach(), expected, rtol=1e-4, atol=2e-5 * (1 + np.abs(expected).max()))


def test_a_system_begins_as_s4d_lin_with_steps_between_a_thousandth_and_a_tenth() -> None:
    layer = StateSpace(500, 8, both=False)
    rates = torch.complex(-layer.log_decay.exp(), layer.frequency)
    torch.testing.assert_close(rates, torch.tensor([-0.5 + 1j * math.pi * n for n in range(4)]).expand(500, -1))
    steps = layer.log_step.exp()
    assert 0.001 <= steps.min() < 0.0015 and 0.07 < steps.max() <= 0.1
    assert 0.008 < steps.median() < 0.0125, "log-uniform: the middle is the geometric mean"


def test_causal_tokens_know_nothing_of_what_follows_their_share_and_the_others_do() -> None:
    for kind, blind in ((S4Causal, True), (S4, False)):
        x = torch.randn(1, 2, 200, requires_grad=True)
        tokens = encoder(kind).tokens(x)
        for n in (0, 7, 30):
            (gradient,) = torch.autograd.grad(tokens[0, n].square().sum(), x, retain_graph=True)
            seen = gradient.abs().amax(dim=(0, 1))
            assert seen[4 * n : 4 * n + 4].max() > 1e-3
            later = seen[4 * n + 4 :].max() / seen.max()
            assert later < 1e-5 if blind else later > 1e-3, "a Fourier transform rounds, and says no more than that"


@pytest.mark.parametrize("kind", [S4, S4Causal])
@torch.no_grad()
def test_tokens_of_a_padded_recording_are_those_without_its_padding(kind: type[Encoder]) -> None:
    model, x = encoder(kind), torch.randn(3, 2, 200)
    valid = torch.ones(3, 200, dtype=torch.bool)
    valid[0, 120:], valid[1, :80], valid[2, :40], valid[2, 160:] = False, False, False, False
    tokens = model.tokens(x * valid[:, None], valid)
    pooled = model(x * valid[:, None], valid)
    for b, (begin, end) in enumerate(((0, 120), (80, 200), (40, 160))):
        alone = model.tokens(x[b : b + 1, :, begin:end])
        torch.testing.assert_close(tokens[b, begin // 4 : end // 4], alone[0], rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(pooled[b], model.pool(alone)[0], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("kind", [S4, S4Causal])
def test_any_length_gives_a_token_for_each_share_and_every_weight_a_gradient(kind: type[Encoder]) -> None:
    model = encoder(kind)
    for samples in (1, 3, 4, 187, 200, 1001):
        assert model.tokens(torch.randn(2, 2, samples)).shape == (2, -(-samples // 4), 16)
        assert model.fit_length(samples) == max(4, samples - samples % 4)
    (model(torch.randn(4, 2, 187)) * torch.randn(4, 16)).sum().backward()
    assert not [name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()]


@pytest.mark.parametrize("kind", [S4, S4Causal])
def test_half_precision_changes_no_more_than_its_rounding(kind: type[Encoder]) -> None:
    model, x = encoder(kind), torch.randn(2, 2, 2000)
    exact = model.tokens(x)
    with torch.autocast("cpu", torch.bfloat16):
        rough = model.tokens(x)
    rough.float().square().mean().backward()
    assert ((rough - exact).square().mean() / exact.var()).sqrt() < 0.03
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


def test_what_says_how_fast_a_system_is_does_not_decay() -> None:
    model = encoder(S4)
    decayed, spared = ({id(p) for p in group["params"]} for group in parameter_groups(model))
    for block in model.state_spaces.blocks:  # type: ignore[union-attr]
        for name in ("log_step", "log_decay", "frequency", "skip"):
            assert id(getattr(block.state_space, name)) in spared, name
        assert id(block.state_space.readout) in decayed and id(block.mix.weight) in decayed
    assert len(decayed) + len(spared) == len(list(model.parameters()))


@torch.no_grad()
def test_an_encoder_comes_back_from_its_file(tmp_path) -> None:
    for kind in (S4, S4Causal):
        model, x = encoder(kind), torch.randn(1, 2, 200)
        save_encoder(tmp_path / "encoder.pt", model, {"_target_": f"{kind.__module__}.{kind.__name__}", **SIZE}, {})
        assert torch.equal(load_encoder(tmp_path / "encoder.pt")(x), model(x))


def test_the_weights_of_ecg_cpc_are_as_many_as_its_sizes_say() -> None:
    spec, D, pairs = SignalSpec.of_seconds(240, ("I",), 2.5), 512, 4
    with torch.device("meta"):
        model = S4Causal(spec, D, 4, 8, [3, 1, 1, 1], [2, 1, 1, 1])
    stem = 3 * D + 3 * D * D + 4 * 2 * D
    system = D * (1 + pairs + pairs + 2 * pairs + 1)
    block = system + 2 * D + (D + 1) * 2 * D
    assert sum(p.numel() for p in model.parameters()) == stem + 4 * block + 2 * D


def test_sizes_that_cannot_be_are_refused() -> None:
    refused = [
        ({"state": 3}, r"encoder\.state=3"),
        ({"depth": 0}, r"encoder\.depth=0"),
        ({"kernels": [3]}, r"encoder\.kernels=\[3\]"),
        ({"strides": [8, 1]}, r"encoder\.strides=\[8, 1\]"),
    ]
    for changed, words in refused:
        with pytest.raises(UserError, match=words):
            encoder(S4, **changed)
