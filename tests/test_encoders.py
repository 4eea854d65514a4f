"""The contract of every encoder of conf/encoder, and the transformer they are made of against published figures."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from omegaconf import DictConfig, OmegaConf
from torch import nn

from ecg_lightning.build import build_encoder
from ecg_lightning.encoders.base import Encoder, PatchEncoder, token_validity
from ecg_lightning.encoders.transformer import Block, sincos_positions
from ecg_lightning.encoders.vit import ViT
from ecg_lightning.errors import UserError
from ecg_lightning.signal import TWELVE_LEADS, SignalSpec

CONF = Path(__file__).parents[1] / "conf" / "encoder"
ENCODERS = sorted(path.stem for path in CONF.glob("*.yaml"))
PUBLISHED = {"vit_tiny": 5_717_416, "vit_small": 22_050_664, "vit_base": 86_567_656}
"""Parameters of DeiT-Ti, DeiT-S and DeiT-B at 224 pixels, patch 16, 1000 classes (Touvron et al. 2021)."""


def config(name: str) -> DictConfig:
    loaded = OmegaConf.load(CONF / f"{name}.yaml")
    assert isinstance(loaded, DictConfig)
    return loaded


def spec_of(leads: int, samples: int) -> SignalSpec:
    return SignalSpec(fs=100, leads=TWELVE_LEADS[:leads], samples=samples)


@pytest.fixture(scope="module", params=ENCODERS)
def encoder(request: pytest.FixtureRequest) -> Encoder:
    torch.manual_seed(0)
    return build_encoder(config(request.param), spec_of(2, 200)).eval()


@pytest.mark.parametrize("name", ENCODERS)
def test_any_number_of_leads_and_several_lengths_give_tokens_and_features(name: str) -> None:
    for leads, samples in ((1, 1000), (2, 100), (12, 500)):
        spec = spec_of(leads, samples)
        encoder = build_encoder(config(name), spec).eval()
        x = torch.randn(3, leads, samples)
        with torch.no_grad():
            tokens, features = encoder.tokens(x), encoder(x)
        assert (encoder.spec, encoder.dim) == (spec, config(name).dim)
        assert tokens.shape == (3, tokens.shape[1], encoder.dim) and samples % tokens.shape[1] == 0
        assert features.shape == (3, encoder.dim) and features.dtype == torch.float32
        assert torch.isfinite(tokens).all()
        torch.testing.assert_close(features, encoder.pool(tokens))


def test_gradient_reaches_every_parameter(encoder: Encoder) -> None:
    encoder.zero_grad()
    (encoder(torch.randn(4, 2, 200)) * torch.randn(4, encoder.dim)).sum().backward()
    silent = [name for name, p in encoder.named_parameters() if p.grad is None or not p.grad.any()]
    assert not silent


@torch.no_grad()
def test_features_of_a_window_depend_on_nothing_but_the_window(encoder: Encoder) -> None:
    x = torch.randn(3, 2, 200)
    first = encoder(x)
    torch.testing.assert_close(encoder(x), first, rtol=0, atol=0)
    torch.testing.assert_close(encoder(x[1:2]), first[1:2], rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_a_patch_encoder_lets_tokens_be_dropped_in_between(encoder: Encoder) -> None:
    """Each embedded token knows its own patch alone, and the second half cares for no order."""
    if not isinstance(encoder, PatchEncoder):
        assert "embed" not in dir(encoder), "an encoder with an embed of its own should be a PatchEncoder"
        return
    x = torch.randn(2, 2, 200)
    tokens = encoder.embed(x)
    assert tokens.shape == (2, 200 // encoder.patch, encoder.dim)
    for n in range(tokens.shape[1]):
        changed = x.clone()
        changed[..., n * encoder.patch : (n + 1) * encoder.patch] += 1.0
        differs = (encoder.embed(changed) != tokens).any(dim=2)
        assert differs.nonzero()[:, 1].unique().tolist() == [n]
    order = torch.randperm(tokens.shape[1])
    torch.testing.assert_close(encoder.encode(tokens[:, order]), encoder.encode(tokens)[:, order], rtol=1e-4, atol=1e-4)
    assert encoder.encode(tokens[:, :3]).shape == (2, 3, encoder.dim)


# --- padding ----------------------------------------------------------------------------------------------------


LIGHT = [name for name in ENCODERS if not name.endswith(("_small", "_base"))]
"""One size of each is enough here."""


@pytest.fixture(scope="module", params=LIGHT)
def light(request: pytest.FixtureRequest) -> Encoder:
    torch.manual_seed(0)
    return build_encoder(config(request.param), spec_of(2, 200)).eval()


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_a_token_is_valid_where_its_share_holds_a_sample_of_the_recording(data: st.DataObject) -> None:
    T = data.draw(st.integers(1, 60))
    N = data.draw(st.integers(1, T))
    begin = data.draw(st.integers(0, T - 1))
    end = data.draw(st.integers(begin + 1, T))
    valid = torch.zeros(2, T, dtype=torch.bool)
    valid[0, begin:end], valid[1, :] = True, True
    naive = [any(begin <= t < end and t * N < (n + 1) * T and (t + 1) * N > n * T for t in range(T)) for n in range(N)]
    found = token_validity(valid, N)
    assert found is not None and found.tolist() == [naive, [True] * N]
    assert token_validity(None, N) is None


@torch.no_grad()
def test_where_all_samples_are_valid_the_mask_changes_nothing(light: Encoder) -> None:
    x, valid = torch.randn(3, 2, 200), torch.ones(3, 200, dtype=torch.bool)
    torch.testing.assert_close(light.tokens(x, valid), light.tokens(x), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(light(x, valid), light(x), rtol=1e-4, atol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("samples", [1, 87, 100])
def test_features_do_not_depend_on_how_much_padding_there_is_or_what_stands_in_it(light: Encoder, samples: int) -> None:
    if not isinstance(light, PatchEncoder):
        return  # where tokens overlap, zeros beyond the end are the encoder's own affair
    held = -(-samples // light.patch)
    x = torch.randn(2, 2, samples)
    alone = torch.zeros(2, 2, held * light.patch)
    alone[..., :samples] = x
    truth, pooled = light.tokens(alone), light(alone)
    for T in (200, 200 + 6 * light.patch):
        for beyond in (0.0, 100.0):
            padded = torch.full((2, 2, T), beyond)
            padded[..., : held * light.patch] = alone
            valid = (torch.arange(T) < samples).expand(2, T)
            torch.testing.assert_close(light.tokens(padded, valid)[:, :held], truth, rtol=1e-4, atol=1e-4)
            torch.testing.assert_close(light(padded, valid), pooled, rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_padding_on_both_sides_and_of_different_lengths_is_seen_by_no_valid_token(light: Encoder) -> None:
    if not isinstance(light, PatchEncoder):
        return
    N = 200 // light.patch
    valid_BN = torch.ones(3, N, dtype=torch.bool)
    valid_BN[0, :2], valid_BN[1, N // 2 :], valid_BN[2, [0, -1]] = False, False, False
    valid = valid_BN.repeat_interleave(light.patch, dim=1)
    x = torch.randn(3, 2, 200) * valid[:, None]
    noisy = torch.where(valid[:, None], x, 50 * torch.randn(3, 2, 200))
    tokens = light.tokens(x, valid)
    torch.testing.assert_close(light.tokens(noisy, valid)[valid_BN], tokens[valid_BN], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(light(noisy, valid), light(x, valid), rtol=1e-4, atol=1e-4)
    embedded = light.embed(x)
    for b in range(3):
        alone = light.encode(embedded[b : b + 1, valid_BN[b]])[0]
        torch.testing.assert_close(tokens[b, valid_BN[b]], alone, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(light(x, valid)[b], light.pool(alone[None])[0], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", PUBLISHED)
def test_vit_has_the_published_number_of_weights(name: str) -> None:
    with torch.device("meta"):
        encoder = build_encoder(config(name), spec_of(12, 1000))
    assert isinstance(encoder, ViT)
    D, blocks = encoder.dim, config(name).depth
    count = sum(p.numel() for p in encoder.transformer.parameters())
    around = (16 * 16 * 3 + 1) * D + D + 197 * D + (D + 1) * 1000  # image patches, class token, positions, classes
    assert count == PUBLISHED[name] - around == blocks * (12 * D**2 + 13 * D) + 2 * D
    assert sum(p.numel() for p in encoder.parameters()) == count + (12 * 20 + 1) * D
    if name == "vit_tiny":
        assert sum(p.numel() for p in encoder.transformer.blocks.parameters()) == 12 * 444_864


def test_vit_takes_any_whole_number_of_patches_and_refuses_the_rest() -> None:
    encoder = ViT(spec_of(1, 100), dim=8, depth=1, heads=2, patch_seconds=0.2)
    assert encoder.tokens(torch.randn(1, 1, 260)).shape == (1, 13, 8)
    for wrong in (lambda: encoder(torch.randn(1, 1, 250)), lambda: ViT(spec_of(1, 110), 8, 1, 2, 0.2)):
        with pytest.raises(UserError, match=r"whole number of patches of 20 samples.*encoder\.patch_seconds"):
            wrong()
    with pytest.raises(UserError, match=r"encoder\.dim=9 .* encoder\.heads=2"):
        ViT(spec_of(1, 100), dim=9, depth=1, heads=2, patch_seconds=0.2)


@torch.no_grad()
def test_a_block_computes_what_torch_does_with_the_same_weights() -> None:
    block, reference = (
        Block(24, 3),
        nn.TransformerEncoderLayer(24, 3, 96, 0.0, "gelu", batch_first=True, norm_first=True),
    )
    for parameter in block.parameters():
        nn.init.normal_(parameter, std=0.3)
    names = {"norm_attention": "norm1", "qkv.weight": "self_attn.in_proj_weight", "qkv.bias": "self_attn.in_proj_bias",
             "project": "self_attn.out_proj", "norm_mlp": "norm2", "mlp.0": "linear1", "mlp.2": "linear2"}  # fmt: skip
    state = block.state_dict()
    renamed = {theirs + key.removeprefix(ours): value for ours, theirs in names.items()
               for key, value in state.items() if key.startswith(ours)}  # fmt: skip
    reference.load_state_dict(renamed, strict=True)
    t = torch.randn(2, 7, 24)
    torch.testing.assert_close(block(t), reference(t), rtol=1e-5, atol=1e-5)


@settings(deadline=None, max_examples=30)
@given(*(st.integers(1, 5) for _ in range(4)), st.booleans(), st.booleans())
def test_unpatchify_undoes_patchify(B: int, L: int, N: int, patch: int, strided: bool, by_lead: bool) -> None:
    encoder = ViT(spec_of(L, N * patch), dim=2, depth=1, heads=1, patch_seconds=patch / 100)
    encoder.lanes = L if by_lead else 1
    x = torch.randn(B, N * patch, L).transpose(1, 2) if strided else torch.randn(B, L, N * patch)
    patches = encoder.patchify(x)
    assert patches.shape == ((B, L * N, patch) if by_lead else (B, N, L * patch))
    for b, n in itertools.product(range(B), range(N)):
        cut = x[b, :, n * patch : (n + 1) * patch]
        found = patches[b, n::N].flatten() if by_lead else patches[b, n]
        assert found.tolist() == cut.flatten().tolist()
    assert torch.equal(encoder.unpatchify(patches), x)


@pytest.mark.parametrize("dim", [8, 9])
def test_positions_follow_the_formula(dim: int) -> None:
    half = (dim + 1) // 2
    expected = np.empty((50, 2 * half))
    for position, i in itertools.product(range(50), range(half)):
        angle = position / 10_000 ** (2 * i / dim)
        expected[position, [i, half + i]] = np.sin(angle), np.cos(angle)
    np.testing.assert_allclose(sincos_positions(50, dim).numpy(), expected[:, :dim], atol=2e-5)
