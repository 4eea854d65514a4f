"""The masked autoencoder: its parts against naive versions, and the whole on synthetic recordings."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from ecg_lightning.data.ptbxl import PTBXL
from ecg_lightning.data.windows import Batch, to_signal
from ecg_lightning.encoders.base import Encoder
from ecg_lightning.encoders.vit import ViT
from ecg_lightning.errors import UserError
from ecg_lightning.objectives.mae import MAE, normalise_patches, reconstruction_error
from ecg_lightning.objectives.masking import mask_lanes, random_mask
from ecg_lightning.signal import SignalSpec

SPEC = SignalSpec.of_seconds(100, ("II", "V1"), 2)
adamw = partial(torch.optim.AdamW, lr=1e-3)


def mae(spec: SignalSpec = SPEC, dim: int = 16, **changed: Any) -> MAE:
    torch.manual_seed(0)
    arguments = {"mask_ratio": 0.75, "decoder_dim": dim, "decoder_depth": 1, "decoder_heads": 2} | changed
    return MAE(ViT(spec, dim, depth=1, heads=2, patch_seconds=0.2), optimizer=adamw, **arguments)


def loss(model: MAE, x: Tensor, seed: int = 0, valid: Tensor | None = None) -> dict[str, Tensor]:
    torch.manual_seed(seed)
    return model.loss(Batch(x, torch.arange(len(x)), valid=valid))


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 4), st.integers(2, 40), st.floats(0.01, 0.99), st.integers(0, 99))
def test_mask_hides_the_noisiest_tokens_and_divides_them_exactly(B: int, N: int, ratio: float, seed: int) -> None:
    noise = np.random.default_rng(seed).random((B, N)).astype(np.float32)
    visible, shown, masked = random_mask(torch.from_numpy(noise), ratio)
    assert shown is None
    hidden = min(max(N - round(N * (1 - ratio)), 1), N - 1)
    for b in range(B):
        loudest = set(np.argsort(noise[b])[N - hidden :].tolist())
        assert set(masked[b].nonzero().flatten().tolist()) == loudest
        assert visible[b].tolist() == sorted(set(range(N)) - loudest)


@settings(deadline=None, max_examples=200)
@given(st.integers(1, 5), st.integers(2, 40), st.integers(1, 99), st.integers(0, 999), st.floats(0, 1))
def test_a_mask_of_padded_windows_is_that_of_each_windows_valid_tokens_alone(
    B: int, N: int, percent: int, seed: int, share: float
) -> None:
    generator, ratio = np.random.default_rng(seed), percent / 100
    noise = generator.random((B, N)).astype(np.float32)
    valid = generator.random((B, N)) < share
    valid[np.arange(B), generator.integers(0, N, B)] = True
    visible, shown, masked = random_mask(torch.from_numpy(noise), ratio, torch.from_numpy(valid))
    assert shown is not None
    for b in range(B):
        inside = np.flatnonzero(valid[b])
        seen = visible[b, shown[b]].tolist()
        assert sorted(visible[b].tolist()) == sorted(set(visible[b].tolist())), "no token is encoded twice"
        if len(inside) == 1:
            assert seen == inside.tolist() and not masked[b].any()
            continue
        alone = random_mask(torch.from_numpy(noise[b : b + 1, inside]), ratio)
        assert sorted(seen) == inside[alone.visible[0].numpy()].tolist()
        assert masked[b].nonzero().flatten().tolist() == inside[alone.masked[0].numpy()].tolist()


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 3), st.integers(1, 4), st.integers(2, 12), st.integers(1, 99), st.integers(0, 99), st.booleans())
def test_lanes_are_masked_one_by_one(B: int, lanes: int, N: int, percent: int, seed: int, padded: bool) -> None:
    generator, ratio = torch.Generator().manual_seed(seed), percent / 100
    noise = torch.rand(B, lanes * N, generator=generator)
    valid = None
    if padded:
        valid = (torch.arange(N) < torch.randint(1, N + 1, (B, 1), generator=generator)).repeat(1, lanes)
    visible, shown, masked = mask_lanes(noise, lanes, ratio, valid)
    assert visible.shape[1] % lanes == 0 and masked.shape == (B, lanes * N)
    for b, lane in np.ndindex(B, lanes):
        part = slice(lane * N, (lane + 1) * N)
        alone = random_mask(noise[b : b + 1, part], ratio, None if valid is None else valid[b : b + 1, part])
        assert torch.equal(masked[b, part], alone.masked[0])
        seen = visible[b] if shown is None else visible[b][shown[b]]
        there = sorted(int(m) - lane * N for m in seen if lane * N <= m < (lane + 1) * N)
        expected = alone.visible[0] if alone.shown is None else alone.visible[0][alone.shown[0]]
        assert there == sorted(expected.tolist())


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 4), st.integers(2, 8), st.integers(1, 6), st.integers(0, 99))
def test_error_is_that_of_a_loop_over_hidden_patches(B: int, N: int, P: int, seed: int) -> None:
    generator = np.random.default_rng(seed)
    prediction, target = generator.normal(size=(2, B, N, P))
    masked = generator.random((B, N)) < 0.5
    masked[0, 0] = True
    squares = [(prediction[b, n] - target[b, n]) ** 2 for b, n in zip(*masked.nonzero(), strict=True)]
    spreads = [np.var(target[b, n]) for b, n in zip(*masked.nonzero(), strict=True)]
    found = reconstruction_error(*map(torch.from_numpy, (prediction, target, masked)))
    np.testing.assert_allclose(found, [np.mean(squares), np.mean(spreads)], rtol=1e-6, atol=1e-12)


def test_normalised_patches_have_mean_0_and_deviation_1_and_come_back() -> None:
    patches = 5 + 3 * torch.randn(2, 4, 20)
    normal, mean, deviation = normalise_patches(patches)
    np.testing.assert_allclose(normal.mean(-1), 0, atol=1e-5)
    np.testing.assert_allclose(normal.numpy().std(-1), 1, rtol=1e-4)
    torch.testing.assert_close(normal * deviation + mean, patches)
    assert not normalise_patches(torch.full((1, 1, 20), 7.0))[0].any(), "a flat patch stays flat"


class MeanPredictor(MAE):
    """Guesses each patch's true mean."""

    def _guess(self, x_BLT: Tensor, valid_BT: Tensor | None) -> Any:
        _, mask = super()._guess(x_BLT, valid_BT)
        target = self.patches.patchify(x_BLT)
        target = normalise_patches(target)[0] if self.normalise_targets else target
        return target.mean(dim=-1, keepdim=True).expand_as(target), mask


@pytest.mark.parametrize("normalise", [True, False])
def test_predicting_the_mean_scores_1(normalise: bool) -> None:
    model = mae(normalise_targets=normalise)
    model.__class__ = MeanPredictor
    scored = loss(model, 3 + 2 * torch.randn(4, 2, 200))
    torch.testing.assert_close(scored["relative_error"], torch.tensor(1.0), rtol=1e-5, atol=0)
    if normalise:
        model = mae()
        torch.nn.init.zeros_(model.decoder.guess.weight)
        silent = loss(model, torch.randn(4, 2, 200))
        torch.testing.assert_close(silent["relative_error"], torch.tensor(1.0), rtol=1e-5, atol=0)


def test_the_guess_is_blind_to_what_is_hidden_and_sees_the_rest() -> None:
    model, x = mae(normalise_targets=False), torch.randn(3, 2, 200)

    def guess(x: Tensor) -> Any:
        torch.manual_seed(5)
        return model.reconstruct(x)

    before = guess(x)
    hidden = before.masked
    after = guess(torch.where(hidden, torch.randn_like(x), x))
    assert torch.equal(after.guess, before.guess)
    seen = guess(torch.where(hidden, x, torch.randn_like(x)))
    assert (seen.guess != before.guess).any(dim=2).all()


@torch.no_grad()
def test_decoder_gets_every_token_in_its_place() -> None:
    """Against a loop that fills a list token by token."""
    model, x = mae(normalise_targets=False), torch.randn(3, 2, 200)
    torch.manual_seed(5)
    result = model.reconstruct(x)
    N, encoder = 10, model.encoder
    assert isinstance(encoder, ViT)
    for b in range(3):
        seen = [n for n in range(N) if not result.masked[b, 0, 20 * n]]
        encoded = model.decoder.widen(encoder.encode(encoder.embed(x[b : b + 1])[:, seen]))[0]
        line = [encoded[seen.index(n)] if n in seen else model.decoder.mask_token for n in range(N)]
        wave = [[n / 10_000 ** (2 * i / 16) for i in range(8)] for n in range(N)]
        places = torch.cat([torch.tensor(wave).sin(), torch.tensor(wave).cos()], dim=1)
        patches = model.decoder.guess(model.decoder.transformer((torch.stack(line) + places)[None]))[0]
        expected = torch.cat([patch.view(2, 20) for patch in patches], dim=1)
        torch.testing.assert_close(result.guess[b], expected, rtol=1e-4, atol=1e-5)


# --- padding ----------------------------------------------------------------------------------------------------

PADDED = [(0, 200), (0, 60), (57, 133), (20, 40), (95, 105), (3, 9), (199, 200)]
"""Where the recording lies in each window: whole, at the beginning, in the middle, in one or two of ten patches."""


def padded(seed: int = 0) -> tuple[Tensor, Tensor]:
    """Windows of 200 samples, 0 outside the recording, and where they are inside."""
    t = torch.arange(200)
    valid = torch.stack([(t >= begin) & (t < end) for begin, end in PADDED])
    x = torch.randn(len(PADDED), 2, 200, generator=torch.Generator().manual_seed(seed))
    return x * valid[:, None], valid


@torch.no_grad()
@pytest.mark.parametrize("normalise", [True, False])
@pytest.mark.parametrize("ratio", [0.3, 0.75])
def test_the_loss_is_that_of_a_loop_over_windows_without_their_padding(normalise: bool, ratio: float) -> None:
    model, (x, valid) = mae(normalise_targets=normalise, mask_ratio=ratio), padded()
    found = loss(model, x, seed=3, valid=valid)
    torch.manual_seed(3)
    noise = torch.rand(len(x), 10)
    encoder = model.encoder
    assert isinstance(encoder, ViT)
    wave = [[n / 10_000 ** (2 * i / 16) for i in range(8)] for n in range(10)]
    places = torch.cat([torch.tensor(wave).sin(), torch.tensor(wave).cos()], dim=1)
    errors, spreads = [], []
    for b, (begin, end) in enumerate(PADDED):
        there = [n for n in range(10) if 20 * n < end and 20 * (n + 1) > begin]
        keep = max(1, min(round(len(there) * (1 - ratio)), len(there) - 1))
        seen = sorted(sorted(there, key=lambda n, b=b: noise[b, n].item())[:keep])
        encoded = model.decoder.widen(encoder.encode(encoder.embed(x[b : b + 1])[:, seen]))[0]
        line = [(encoded[seen.index(n)] if n in seen else model.decoder.mask_token) + places[n] for n in there]
        patches = model.decoder.guess(model.decoder.transformer(torch.stack(line)[None]))[0]
        for n, guess in zip(there, patches, strict=True):
            if n in seen or 20 * n < begin or 20 * (n + 1) > end:  # a patch half outside is no fair target
                continue
            target = x[b, :, 20 * n : 20 * (n + 1)].flatten()
            if normalise:
                target = (target - target.mean()) / (target.var(unbiased=False) + 1e-6).sqrt()
            errors.append((guess - target).square().mean().item())
            spreads.append(target.var(unbiased=False).item())
    assert len(errors) >= 4
    assert found["loss"].item() == pytest.approx(np.mean(errors), rel=1e-4)
    assert found["relative_error"].item() == pytest.approx(np.mean(errors) / np.mean(spreads), rel=1e-4)


def test_what_stands_in_the_padding_is_neither_seen_nor_scored() -> None:
    model, (x, valid) = mae(normalise_targets=False), padded()
    beyond = valid.view(-1, 10, 20).any(dim=2).repeat_interleave(20, dim=1)  # of patches the recording does not reach
    noisy = torch.where(beyond[:, None], x, 30 * torch.randn_like(x))
    assert (noisy != x).any()
    for seed in range(5):
        torch.testing.assert_close(loss(model, noisy, seed, valid), loss(model, x, seed, valid))


def test_a_mask_that_is_true_everywhere_changes_nothing() -> None:
    x = torch.randn(4, 2, 200)
    for ratio in (0.1, 0.45, 0.55, 0.75, 0.85):  # of ten patches: shares that fall on a half
        model = mae(mask_ratio=ratio)
        for seed in range(3):
            whole = loss(model, x, seed, torch.ones(4, 200, dtype=torch.bool))
            torch.testing.assert_close(whole, loss(model, x, seed), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("only", [[5], [6], [3], [4], [0, 5], list(range(len(PADDED)))])
def test_gradients_are_finite_however_little_of_a_window_is_there(only: list[int]) -> None:
    model, (x, valid) = mae(), padded()
    loss(model, x[only], 0, valid[only])["loss"].backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is None or parameter.grad.isfinite().all(), name


def test_windows_in_which_nothing_can_be_scored_are_no_success() -> None:
    model, (x, valid) = mae(), padded()
    nothing = loss(model, x[[5, 6]], 0, valid[[5, 6]])
    assert nothing["loss"].item() == 0 and nothing["relative_error"].item() == 1


def test_a_padded_reconstruction_hides_nothing_outside_the_recording() -> None:
    model, (x, valid) = mae(), padded()
    result = model.reconstruct(x, valid)
    reached = valid.view(-1, 10, 20).any(dim=2).repeat_interleave(20, dim=1)
    assert result.guess.isfinite().all() and not (result.masked & ~reached[:, None]).any()


def test_reconstruction_keeps_the_window_and_says_which_samples_were_hidden() -> None:
    model, x = mae(), 4 + 2 * torch.randn(3, 2, 200)
    torch.nn.init.zeros_(model.decoder.guess.weight)
    signal, guess, masked = model.reconstruct(x)
    assert torch.equal(signal, x) and guess.shape == x.shape and masked.shape == x.shape
    assert torch.equal(masked.all(dim=1), masked.any(dim=1)), "patches span all leads"
    patches = masked[:, 0].view(3, 10, 20)
    assert torch.equal(patches.all(dim=2), patches.any(dim=2)) and patches.any(dim=2).sum(dim=1).tolist() == [8] * 3
    means = model.patches.patchify(x).mean(dim=-1, keepdim=True).expand(-1, -1, 40)
    torch.testing.assert_close(model.patches.patchify(guess), means, msg="a guess of 0 is each patch's own mean")


def test_the_verdict_is_a_sentence_either_way() -> None:
    good, bad, diverged = (mae().verdict({"val/relative_error": error}) for error in (0.4, 0.99, float("nan")))
    assert good.learned and "learned to reconstruct" in good.sentence and "0.400" in good.sentence
    for verdict in (bad, diverged):
        assert not verdict.learned and "has learned nothing" in verdict.sentence
        assert "objective.mask_ratio" in verdict.sentence and "optimizer.lr" in verdict.sentence


def test_what_cannot_be_masked_is_refused_in_words() -> None:
    for ratio in (0, 1, -0.1, 75):
        with pytest.raises(UserError, match=rf"objective\.mask_ratio={ratio} must lie between 0 and 1"):
            mae(mask_ratio=ratio)
    with pytest.raises(UserError, match=r"two patches.*encoder\.patch_seconds"):
        mae(SignalSpec.of_seconds(100, ("II",), 0.2))
    with pytest.raises(ValueError, match=r"objective=mae.*WholeWindow.*encoder=vit_tiny"):
        MAE(WholeWindow(SPEC, 4), 0.75, 16, 1, 2, optimizer=adamw)


class WholeWindow(Encoder):
    def tokens(self, x_BLT: Tensor, valid_BT: Tensor | None = None) -> Tensor:
        return x_BLT.mean(dim=(1, 2), keepdim=True).expand(-1, 1, self.dim)


def test_training_comes_to_beat_the_mean_predictor(synthetic_root: Path, tmp_path: Path) -> None:
    """Under a mask that it was not trained with."""
    spec = SignalSpec.of_seconds(100, ("II",), 2)
    data = PTBXL(name="synthetic", root=synthetic_root / "ptbxl", spec=spec, cache_dir=tmp_path, batch_size=8)
    x = to_signal(next(iter(data.train_dataloader())), spec).x
    model = mae(spec, dim=32, mask_ratio=0.5)
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3)
    before = loss(model, x, seed=-1)
    for step in range(150):
        optimizer.zero_grad()
        loss(model, x, seed=step)["loss"].backward()
        optimizer.step()
    after = loss(model, x, seed=-1)
    assert after["loss"] < before["loss"]
    assert before["relative_error"] > 1 and after["relative_error"] < 0.9
