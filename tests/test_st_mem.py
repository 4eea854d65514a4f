"""The lead-wise transformer and its masked autoencoder against versions that go lead by lead."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch
from conftest import PROJECT
from hydra import compose, initialize_config_dir
from torch import Tensor

from ecg_lightning.build import build_data, build_encoder, build_objective, build_optimizer
from ecg_lightning.data.windows import Batch
from ecg_lightning.encoders.st_mem import STMEM
from ecg_lightning.objectives.base import parameter_groups
from ecg_lightning.objectives.mae import MAE
from ecg_lightning.signal import SignalSpec

LEADS = ("II", "V1", "V5")
SPEC = SignalSpec.of_seconds(100, LEADS, 2)


def st_mem(spec: SignalSpec = SPEC, dim: int = 16) -> STMEM:
    torch.manual_seed(0)
    model = STMEM(spec, dim, depth=2, heads=2, patch_seconds=0.2).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return model


def mae(ratio: float = 0.75) -> MAE:
    return MAE(st_mem(), ratio, 16, 1, 2, optimizer=partial(torch.optim.AdamW, lr=1e-3))


def waves(count: int, dim: int = 16) -> Tensor:
    angle = torch.tensor([[n / 10_000 ** (2 * i / dim) for i in range(dim // 2)] for n in range(count)])
    return torch.cat([angle.sin(), angle.cos()], dim=1)


@torch.no_grad()
def test_each_patch_of_each_lead_is_embedded_alone() -> None:
    model, x = st_mem(), torch.randn(2, 3, 200)
    tokens = model.embed(x)
    before, linear, after = model.project  # type: ignore[misc]
    for b, lead, n in np.ndindex(2, 3, 10):
        patch = x[b, lead, 20 * n : 20 * n + 20]
        flat = (patch - patch.mean()) / (patch.var(unbiased=False) + 1e-5).sqrt() * before.weight + before.bias
        expected = after(linear.weight @ flat + linear.bias) + waves(10)[n] + model.leads[lead]
        torch.testing.assert_close(tokens[b, 10 * lead + n], expected, rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_every_lead_stands_between_two_separators_without_a_time() -> None:
    """In the published order, which attention does not feel."""
    model, x = st_mem(), torch.randn(2, 3, 200)
    embedded = model.embed(x)
    lanes = embedded.view(2, 3, 10, 16)
    ends = (model.separator + model.leads).expand(2, 3, 16)[:, :, None]
    line = torch.cat([ends, lanes, ends], dim=2)
    expected = model.transformer(line.flatten(1, 2)).view(2, 3, 12, 16)[:, :, 1:-1]
    torch.testing.assert_close(model.encode(embedded), expected.flatten(1, 2), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(model.tokens(x), expected.mean(dim=1), rtol=1e-4, atol=1e-4)
    order = torch.randperm(30)[:17]
    part = model.encode(embedded[:, order])
    torch.testing.assert_close(part.flip(1), model.encode(embedded[:, order.flip(0)]), rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_tokens_of_a_padded_recording_are_those_without_its_padding() -> None:
    model, valid = st_mem(), torch.ones(2, 200, dtype=torch.bool)
    valid[0, 120:], valid[1, :40], valid[1, 180:] = False, False, False
    x = torch.randn(2, 3, 200) * valid[:, None]
    noisy = torch.where(valid[:, None], x, 50 * torch.randn_like(x))
    tokens = model.tokens(noisy, valid)
    torch.testing.assert_close(tokens[0, :6], model.tokens(x[:1, :, :120])[0], rtol=1e-4, atol=1e-4)
    embedded = model.embed(x).view(2, 3, 10, 16)[1:, :, 2:9]
    alone = model.encode(embedded.reshape(1, 21, 16)).view(3, 7, 16).mean(dim=0)
    torch.testing.assert_close(tokens[1, 2:9], alone, rtol=1e-4, atol=1e-4)


@torch.no_grad()
@pytest.mark.parametrize("ratio", [0.3, 0.75])
def test_the_loss_is_that_of_a_loop_over_leads(ratio: float) -> None:
    model, x = mae(ratio), torch.randn(2, 3, 200)
    encoder = model.encoder
    assert isinstance(encoder, STMEM)
    torch.manual_seed(3)
    found = model.loss(Batch(x, torch.arange(2)))
    torch.manual_seed(3)
    noise = torch.rand(2, 30)
    errors = []
    for b in range(2):
        seen = [[n for n in range(10) if n in noise[b, 10 * lead : 10 * lead + 10].argsort()[: round(10 * (1 - ratio))]]
                for lead in range(3)]  # fmt: skip
        kept = [10 * lead + n for lead in range(3) for n in seen[lead]]
        encoded = dict(
            zip(kept, model.decoder.widen(encoder.encode(encoder.embed(x[b : b + 1])[:, kept]))[0], strict=True)
        )
        for lead in range(3):
            line = torch.stack([encoded.get(10 * lead + n, model.decoder.mask_token) for n in range(10)])
            guess = model.decoder.guess(model.decoder.transformer((line + waves(10))[None]))[0]
            for n in set(range(10)) - set(seen[lead]):
                target = x[b, lead, 20 * n : 20 * n + 20]
                target = (target - target.mean()) / (target.var(unbiased=False) + 1e-6).sqrt()
                errors.append((guess[n] - target).square().mean().item())
    assert len(errors) == 2 * 3 * (10 - round(10 * (1 - ratio)))
    assert found["loss"].item() == pytest.approx(np.mean(errors), rel=1e-4)


def test_a_reconstruction_hides_the_same_share_of_each_lead_and_others_of_each() -> None:
    model, x = mae(), 3 + torch.randn(4, 3, 200)
    signal, guess, masked = model.reconstruct(x)
    assert torch.equal(signal, x) and guess.shape == x.shape
    patches = masked.view(4, 3, 10, 20)
    assert torch.equal(patches.all(dim=3), patches.any(dim=3))
    assert (patches.any(dim=3).sum(dim=2) == 8).all()
    assert not torch.equal(masked[:, 0], masked[:, 1])


def test_padding_is_neither_seen_nor_scored_and_every_gradient_finite() -> None:
    model, valid = mae(0.5), torch.ones(3, 200, dtype=torch.bool)
    valid[0, 60:], valid[1, :120], valid[2, 20:] = False, False, False
    x = torch.randn(3, 3, 200)

    def loss(noise: float) -> Tensor:
        torch.manual_seed(0)
        filled = torch.where(valid[:, None], x, noise * torch.ones_like(x))
        return model.loss(Batch(filled, torch.arange(3), valid=valid))["loss"]

    torch.testing.assert_close(loss(0.0), loss(30.0))
    loss(0.0).backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())


def test_vectors_of_leads_do_not_decay() -> None:
    model = st_mem()
    decayed, spared = ({id(p) for p in group["params"]} for group in parameter_groups(model))
    assert id(model.leads) in spared and id(model.separator) in spared
    assert decayed == {id(m.weight) for m in model.modules() if isinstance(m, torch.nn.Linear)}


def test_the_recipe_has_the_published_sizes_and_settings() -> None:
    with initialize_config_dir(str(PROJECT / "conf"), version_base="1.3"):
        config = compose("train", ["+experiment=mae_st_mem"])
    spec = build_data(config.data).spec
    assert (spec.fs, spec.samples, spec.band, spec.standardise) == (250, 2250, (0.67, 40), "zscore")
    with torch.device("meta"):
        encoder = build_encoder(config.encoder, spec)
        objective = build_objective(config.objective, encoder, build_optimizer(config.optimizer))
    assert isinstance(encoder, STMEM) and isinstance(objective, MAE)
    assert (encoder.patch, encoder.lanes, encoder.dim, len(encoder.transformer.blocks)) == (75, 12, 768, 12)
    blocks = 12 * (12 * 768**2 + 13 * 768) + 2 * 768
    around = 2 * 75 + (75 + 1) * 768 + 2 * 768 + (12 + 1) * 768  # norm, linear, norm, leads and separator
    assert sum(p.numel() for p in encoder.parameters()) == blocks + around
    assert (objective.mask_ratio, objective.decoder.guess.out_features, objective.decoder.guess.in_features) == (
        0.75,
        75,
        256,
    )
    assert len(objective.decoder.transformer.blocks) == 4 and objective.normalise_targets
    optimizer = config.optimizer
    assert (optimizer.lr, optimizer.weight_decay, list(optimizer.betas)) == (1.5e-4, 0.01, [0.9, 0.95])
