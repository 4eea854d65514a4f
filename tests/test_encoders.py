"""The contract of every encoder of conf/encoder, and the transformer they are made of against published figures."""

from __future__ import annotations

import itertools
from copy import deepcopy
from pathlib import Path

import numpy as np
import pytest
import torch
from hydra.utils import get_class
from hypothesis import given, settings
from hypothesis import strategies as st
from omegaconf import DictConfig, OmegaConf
from torch import nn

from ecg_lightning.build import build_encoder
from ecg_lightning.encoders.base import CausalEncoder, Encoder, PatchEncoder, token_validity
from ecg_lightning.encoders.checkpoint import load_encoder, save_encoder
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


def of_kind(kind: type[Encoder], names: list[str]) -> list[str]:
    """Those of the encoders that are of a kind."""
    return [name for name in names if issubclass(get_class(config(name)._target_), kind)]


def spec_of(leads: int, samples: int) -> SignalSpec:
    return SignalSpec(fs=100, leads=TWELVE_LEADS[:leads], samples=samples)


SAMPLES = 300
"""Samples that are whole patches of every encoder of conf/encoder, at 100 Hz."""

SHAPES = ((3, SAMPLES), (1, 4 * SAMPLES), (12, 2 * SAMPLES))

LARGE = [name for name in ENCODERS if name == "cpc" or name.endswith(("_small", "_base"))]
LIGHT = [name for name in ENCODERS if name not in LARGE]
"""One size of each is enough for most tests."""

only_patches = pytest.mark.parametrize("light", of_kind(PatchEncoder, LIGHT), indirect=True)
only_causal = pytest.mark.parametrize("light", of_kind(CausalEncoder, LIGHT), indirect=True)
all_but_causal = pytest.mark.parametrize(
    "light", [name for name in LIGHT if name not in of_kind(CausalEncoder, LIGHT)], indirect=True
)
"""A causal encoder's tokens look back from the end of their share."""


def build(name: str, leads: int = 2, samples: int = SAMPLES) -> Encoder:
    """In evaluation mode, and nothing in it so set that it begins as no part of the network at all."""
    torch.manual_seed(0)
    encoder = build_encoder(config(name), spec_of(leads, samples)).eval()
    for parameter in encoder.parameters():
        if not parameter.any():
            nn.init.normal_(parameter, std=0.1)
    return encoder


@pytest.fixture(scope="module", params=ENCODERS)
def encoder(request: pytest.FixtureRequest) -> Encoder:
    return build(request.param)


@pytest.fixture(scope="module", params=LIGHT)
def light(request: pytest.FixtureRequest) -> Encoder:
    return build(request.param)


@torch.no_grad()
@pytest.mark.parametrize("name", ENCODERS)
def test_any_number_of_leads_and_several_lengths_give_tokens_and_features(name: str) -> None:
    for leads, samples in SHAPES[: 1 if name in LARGE else 3]:
        encoder, x = build(name, leads, samples), torch.randn(3, leads, samples)
        tokens, features = encoder.tokens(x), encoder(x)
        assert encoder.spec == spec_of(leads, samples)
        assert encoder.dim == config(name).get("dim", encoder.dim)
        assert tokens.ndim == 3 and tokens.shape[::2] == (3, encoder.dim) and 1 <= tokens.shape[1] <= samples
        assert features.shape == (3, encoder.dim) and features.dtype == tokens.dtype == torch.float32
        assert torch.isfinite(tokens).all()
        torch.testing.assert_close(features, encoder.pool(tokens))


def test_gradient_reaches_every_parameter(encoder: Encoder) -> None:
    encoder.zero_grad()
    (encoder(torch.randn(4, 2, SAMPLES)) * torch.randn(4, encoder.dim)).sum().backward()
    silent = [name for name, p in encoder.named_parameters() if p.grad is None or not p.grad.any()]
    assert not silent


@torch.no_grad()
def test_features_of_a_window_depend_on_nothing_but_the_window(encoder: Encoder) -> None:
    x = torch.randn(3, 2, SAMPLES)
    first = encoder(x)
    torch.testing.assert_close(encoder(x), first, rtol=0, atol=0)
    torch.testing.assert_close(encoder(x[1:2]), first[1:2], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(encoder(x.transpose(1, 2).contiguous().transpose(1, 2)), first, rtol=1e-4, atol=1e-5)
    assert (first[0] != first[1]).any()


@torch.no_grad()
def test_an_encoder_says_which_lengths_it_takes(light: Encoder) -> None:
    """What `fit_length` answers is taken; a length that it would not answer is taken or refused in words."""
    whole = light.fit_length(SAMPLES)
    assert SAMPLES - 16 < whole <= SAMPLES and light.fit_length(whole) == whole
    for asked in (SAMPLES - 1, SAMPLES // 2 + 1, 3 * SAMPLES // 2):
        fit = light.fit_length(asked)
        assert fit <= asked or fit == light.spec.samples
        assert torch.isfinite(light(torch.randn(2, 2, fit))).all()
        try:
            assert torch.isfinite(light(torch.randn(2, 2, asked))).all()
        except UserError as error:
            assert fit != asked and str(asked) in str(error)


@torch.no_grad()
def test_an_encoder_comes_back_from_its_file(light: Encoder, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    arguments = OmegaConf.to_container(config(request.node.callspec.params["light"]))
    assert isinstance(arguments, dict)
    save_encoder(tmp_path / "encoder.pt", light, {str(key): value for key, value in arguments.items()}, {})
    x = torch.randn(2, 2, SAMPLES)
    torch.testing.assert_close(load_encoder(tmp_path / "encoder.pt")(x), light(x), rtol=0, atol=0)


@all_but_causal
def test_a_token_sits_over_its_share_of_the_window(light: Encoder) -> None:
    """The sample that changes a token most lies in the token's share or near it, for most of the tokens."""
    x = torch.randn(4, 2, SAMPLES, requires_grad=True)
    tokens = light.tokens(x)
    N = tokens.shape[1]
    off = []
    for n in range(0, N, -(-N // 30)):
        (slope,) = torch.autograd.grad((tokens[:, n] * torch.randn(4, light.dim)).sum(), x, retain_graph=True)
        seen = slope.square().sum(dim=(0, 1))
        assert seen.any()
        off.append(abs(seen.argmax().item() + 0.5 - (n + 0.5) * SAMPLES / N))
    assert np.median(off) <= max(SAMPLES / N, 16)  # half of the longest kernel


@pytest.mark.parametrize("name", ENCODERS)
def test_an_encoder_with_a_middle_says_of_which_kind_it_is(name: str) -> None:
    kind = get_class(config(name)._target_)
    assert ("embed" in dir(kind)) == issubclass(kind, PatchEncoder)
    assert ("context" in dir(kind)) == issubclass(kind, CausalEncoder)


@torch.no_grad()
@pytest.mark.parametrize("encoder", of_kind(PatchEncoder, ENCODERS), indirect=True)
def test_a_patch_encoder_lets_tokens_be_dropped_in_between(encoder: PatchEncoder) -> None:
    """Each embedded token knows its own patch alone, and the second half cares for no order."""
    x = torch.randn(2, 2, SAMPLES)
    tokens, N = encoder.embed(x), SAMPLES // encoder.patch
    M = encoder.lanes * N
    assert encoder.lanes in (1, 2) and tokens.shape == (2, M, encoder.dim)
    for m in range(M):
        lane, n = divmod(m, N)
        changed = x.clone().view(2, encoder.lanes, -1, N, encoder.patch)
        changed[:, lane, :, n] = torch.randn_like(changed[:, lane, :, n])
        differs = (encoder.embed(changed.view_as(x)) != tokens).any(dim=2)
        assert differs.nonzero()[:, 1].unique().tolist() == [m]
    order = torch.randperm(M)
    torch.testing.assert_close(encoder.encode(tokens[:, order]), encoder.encode(tokens)[:, order], rtol=1e-4, atol=1e-4)
    assert encoder.encode(tokens[:, :3]).shape == (2, 3, encoder.dim)


@torch.no_grad()
@only_causal
def test_a_causal_encoder_looks_back_alone(light: CausalEncoder) -> None:
    x = torch.randn(2, 2, SAMPLES)
    local = light.local(x)
    context = light.context(local)
    N = local.shape[1]
    assert local.shape == (2, N, light.local_dim) and context.shape == (2, N, light.dim)
    torch.testing.assert_close(light.tokens(x), context)
    for n in (0, 1, N // 2, N - 1):
        changed = local.clone()
        changed[:, n:] = torch.randn_like(changed[:, n:])
        found = light.context(changed)
        torch.testing.assert_close(found[:, :n], context[:, :n], rtol=1e-3, atol=1e-4)
        assert (found[:, n] - context[:, n]).abs().amax() > 1e-3


# --- padding ----------------------------------------------------------------------------------------------------


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
    x, valid = torch.randn(3, 2, SAMPLES), torch.ones(3, SAMPLES, dtype=torch.bool)
    torch.testing.assert_close(light.tokens(x, valid), light.tokens(x), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(light(x, valid), light(x), rtol=1e-4, atol=1e-5)


@torch.no_grad()
@only_patches  # where tokens overlap, zeros beyond the end are the encoder's own affair
@pytest.mark.parametrize("samples", [1, 87, 100])
def test_features_do_not_depend_on_how_much_padding_there_is_or_what_stands_in_it(
    light: PatchEncoder, samples: int
) -> None:
    held = -(-samples // light.patch)
    x = torch.randn(2, 2, samples)
    alone = torch.zeros(2, 2, held * light.patch)
    alone[..., :samples] = x
    truth, pooled = light.tokens(alone), light(alone)
    for length in (SAMPLES, SAMPLES + 6 * light.patch):
        for beyond in (0.0, 100.0):
            padded = torch.full((2, 2, length), beyond)
            padded[..., : held * light.patch] = alone
            valid = (torch.arange(length) < samples).expand(2, length)
            torch.testing.assert_close(light.tokens(padded, valid)[:, :held], truth, rtol=1e-4, atol=1e-4)
            torch.testing.assert_close(light(padded, valid), pooled, rtol=1e-4, atol=1e-4)


@torch.no_grad()
@only_patches
def test_padding_on_both_sides_and_of_different_lengths_is_seen_by_no_valid_token(light: PatchEncoder) -> None:
    N = SAMPLES // light.patch
    valid_BN = torch.ones(3, N, dtype=torch.bool)
    valid_BN[0, :2], valid_BN[1, N // 2 :], valid_BN[2, [0, -1]] = False, False, False
    valid = valid_BN.repeat_interleave(light.patch, dim=1)
    x = torch.randn(3, 2, SAMPLES) * valid[:, None]
    noisy = torch.where(valid[:, None], x, 50 * torch.randn(3, 2, SAMPLES))
    tokens = light.tokens(x, valid)
    torch.testing.assert_close(light.tokens(noisy, valid)[valid_BN], tokens[valid_BN], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(light(noisy, valid), light(x, valid), rtol=1e-4, atol=1e-4)
    embedded = light.embed(x)
    for b in range(3):
        inside = embedded[b].view(light.lanes, N, -1)[:, valid_BN[b]]
        alone = light.encode(inside.flatten(0, 1)[None]).view_as(inside).mean(dim=0)
        torch.testing.assert_close(tokens[b, valid_BN[b]], alone, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(light(x, valid)[b], light.pool(alone[None])[0], rtol=1e-4, atol=1e-4)


def test_padded_windows_train(light: Encoder) -> None:
    """In training mode, where batches are normalised: whole windows beside such as hold a beat or a single sample."""
    spans = torch.tensor([[0, SAMPLES], [0, SAMPLES // 3], [SAMPLES // 2, SAMPLES // 2 + 80], [SAMPLES - 1, SAMPLES]])
    valid = (torch.arange(SAMPLES) >= spans[:, :1]) & (torch.arange(SAMPLES) < spans[:, 1:])
    encoder = deepcopy(light).train()
    features = encoder(torch.randn(4, 2, SAMPLES) * valid[:, None], valid)
    (features * torch.randn(4, encoder.dim)).sum().backward()
    assert torch.isfinite(features).all()
    for name, parameter in encoder.named_parameters():
        assert parameter.grad is not None and torch.isfinite(parameter.grad).all(), name
    for name, value in encoder.state_dict().items():
        assert torch.isfinite(value).all(), name


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
