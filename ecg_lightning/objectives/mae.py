"""Masked autoencoder (He et al. 2022) on ECG patches, as in Zhang et al. 2022 (MaeFE) and Na et al. 2024 (ST-MEM)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from ecg_lightning.data.windows import Batch
from ecg_lightning.encoders.base import Encoder, PatchEncoder
from ecg_lightning.encoders.transformer import Transformer, initialise, sincos_positions
from ecg_lightning.errors import UserError
from ecg_lightning.objectives.base import Objective, Verdict

NOTHING_LEARNED = 0.97
"""Relative error from which a reconstruction counts as no better than the mean; the mean itself scores 1."""


class Mask(NamedTuple):
    """A division of the M tokens of each window.

    Attributes:
        visible: (B, K) numbers of the tokens that the encoder sees.
        shown: (B, K) bool, which of these it really sees, where windows have different numbers of tokens; None for all.
        masked: (B, M) bool, the tokens to reconstruct.
    """

    visible: Tensor
    shown: Tensor | None
    masked: Tensor


def random_mask(noise_BN: Tensor, ratio: float, valid_BN: Tensor | None = None) -> Mask:
    """Mask a share of each window's tokens, those with the largest noise.

    Args:
        noise_BN: (B, N) uniform random numbers.
        ratio: share of the tokens to mask; at least one token stays visible and, of two or more, one is masked.
        valid_BN: (B, N) bool, the tokens inside the recording: of these alone a share is masked; None for all.
    """
    B, N = noise_BN.shape
    if valid_BN is None:
        visible = noise_BN.argsort(dim=1)[:, : _visible(N, ratio)].sort(dim=1).values
        masked = torch.ones(B, N, dtype=torch.bool, device=noise_BN.device).scatter(1, visible, False)
        return Mask(visible, None, masked)
    keep_of_count = torch.tensor([_visible(n, ratio) for n in range(N + 1)], device=noise_BN.device)
    keep_B1 = keep_of_count[valid_BN.sum(dim=1, keepdim=True)]
    order = noise_BN.masked_fill(~valid_BN, torch.inf).argsort(dim=1)
    rank = order.argsort(dim=1)
    visible = order[:, : int(keep_B1.max())]
    shown = torch.arange(visible.shape[1], device=visible.device) < keep_B1
    return Mask(visible, shown, valid_BN & (rank >= keep_B1))


def mask_lanes(noise_BM: Tensor, lanes: int, ratio: float, valid_BM: Tensor | None = None) -> Mask:
    """Mask the same share of each lane's tokens, as ST-MEM does of each lead's; see `random_mask`."""
    B, M = noise_BM.shape
    by_lane = [None if part is None else part.reshape(B * lanes, M // lanes) for part in (noise_BM, valid_BM)]
    assert by_lane[0] is not None
    mask = random_mask(by_lane[0], ratio, by_lane[1])
    first = torch.arange(lanes, device=noise_BM.device).repeat(B)[:, None] * (M // lanes)
    shown = None if mask.shown is None else mask.shown.reshape(B, -1)
    return Mask((mask.visible + first).view(B, -1), shown, mask.masked.view(B, M))


def _visible(count: int, ratio: float) -> int:
    """How many of a window's tokens stay visible."""
    return max(1, min(round(count * (1 - ratio)), count - 1))


def normalise_patches(p_BNP: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Give each patch mean 0 and standard deviation 1; returns the patches, (B, N, 1) means and deviations."""
    mean = p_BNP.mean(dim=-1, keepdim=True)
    deviation = (p_BNP.var(dim=-1, keepdim=True, unbiased=False) + 1e-6).sqrt()
    return (p_BNP - mean) / deviation, mean, deviation


def reconstruction_error(prediction_BNP: Tensor, target_BNP: Tensor, masked_BN: Tensor) -> tuple[Tensor, Tensor]:
    """Squared error on the masked patches, and what predicting each patch's mean would score there.

    Args:
        prediction_BNP: (B, N, P) predicted patches.
        target_BNP: (B, N, P) true patches.
        masked_BN: (B, N) bool, the patches that count; there may be none.

    Returns:
        The mean squared error and the mean variance, two scalars.
    """
    weight = masked_BN / masked_BN.sum().clamp(min=1)
    error = (prediction_BNP - target_BNP).square().mean(dim=-1)
    spread = target_BNP.var(dim=-1, unbiased=False)
    return (error * weight).sum(), (spread * weight).sum()


class Reconstruction(NamedTuple):
    """What the autoencoder makes of windows.

    Attributes:
        signal: (B, L, T) the windows.
        guess: (B, L, T) its reconstruction, with each patch's true mean and spread where targets are normalised.
        masked: (B, L, T) bool, the samples it did not see.
    """

    signal: Tensor
    guess: Tensor
    masked: Tensor


class MAE(Objective):
    """Hide most patches of a window and reconstruct them from the rest.

    The error relative to predicting the mean of each hidden patch, `relative_error`, is 1 for a model that learned
    nothing and 0 for a perfect one. What lies outside a recording is neither seen nor reconstructed.

    Args:
        encoder: a `PatchEncoder`.
        mask_ratio: share of the patches hidden.
        decoder_dim: width of the decoder.
        decoder_depth: its blocks.
        decoder_heads: its attention heads.
        normalise_targets: reconstruct patches of mean 0 and standard deviation 1 rather than in the window's scale.
        base: see `Objective`.

    Raises:
        ValueError: the encoder is not made of patches.
        UserError: the mask ratio is not between 0 and 1, a window is a single patch, or the decoder cannot be built.
    """

    def __init__(
        self,
        encoder: Encoder,
        mask_ratio: float,
        decoder_dim: int,
        decoder_depth: int,
        decoder_heads: int,
        normalise_targets: bool = True,
        **base: Any,
    ) -> None:
        super().__init__(encoder, **base)
        if not isinstance(encoder, PatchEncoder):
            raise ValueError(
                f"objective=mae hides patches, and encoder {type(encoder).__name__} has none; choose encoder=vit_tiny "
                "or another PatchEncoder"
            )
        if not 0 < mask_ratio < 1:
            raise UserError(f"objective.mask_ratio={mask_ratio} must lie between 0 and 1")
        if encoder.spec.samples < 2 * encoder.patch:
            raise UserError("objective=mae needs windows of two patches or more; lower encoder.patch_seconds")
        for key, value in (("dim", decoder_dim), ("depth", decoder_depth), ("heads", decoder_heads)):
            if value < 1:
                raise UserError(f"objective.decoder_{key}={value} must be at least 1")
        if decoder_dim % decoder_heads:
            raise UserError(
                f"objective.decoder_dim={decoder_dim} is no multiple of objective.decoder_heads={decoder_heads}"
            )
        self.mask_ratio = mask_ratio
        self.normalise_targets = normalise_targets
        self.widen = nn.Linear(encoder.dim, decoder_dim)
        self.mask_token = nn.Parameter(torch.empty(decoder_dim).normal_(std=0.02))
        self.decoder = Transformer(decoder_dim, decoder_depth, decoder_heads)
        self.predict = nn.Linear(decoder_dim, len(encoder.spec.leads) // encoder.lanes * encoder.patch)
        for part in (self.widen, self.decoder, self.predict):
            part.apply(initialise)

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """See `Objective.loss`; `relative_error` is logged beside the loss."""
        target = self.patches.patchify(batch.x)
        if self.normalise_targets:
            target, _, _ = normalise_patches(target)
        prediction, mask = self._guess(batch.x, batch.valid)
        scored = self._whole(mask.masked, batch.valid)
        error, spread = reconstruction_error(prediction, target, scored)
        relative = torch.where(
            scored.any(), error.detach() / spread.clamp(min=1e-12), 1.0
        )  # nothing scored is no merit
        return {"loss": error, "relative_error": relative}

    def verdict(self, metrics: Mapping[str, float]) -> Verdict:
        """See `Objective.verdict`."""
        error = metrics["val/relative_error"]
        scale = f"its error on hidden patches is {error:.3f} of what predicting their mean scores"
        if error < NOTHING_LEARNED:
            return Verdict(True, f"The encoder learned to reconstruct: {scale}.")
        return Verdict(False, f"This run has learned nothing: {scale}. Train longer, or lower objective.mask_ratio or "
                              "raise optimizer.lr.")  # fmt: skip

    @torch.no_grad()
    def reconstruct(self, x_BLT: Tensor, valid_BT: Tensor | None = None) -> Reconstruction:
        """Reconstruct windows, (B, L, T) standardised, from a random part of each; `valid_BT` as in `Batch`."""
        prediction, mask = self._guess(x_BLT, valid_BT)
        if self.normalise_targets:
            _, mean, deviation = normalise_patches(self.patches.patchify(x_BLT))
            prediction = prediction * deviation + mean
        hidden = mask.masked[..., None].expand_as(prediction)
        return Reconstruction(x_BLT, self.patches.unpatchify(prediction), self.patches.unpatchify(hidden))

    @property
    def patches(self) -> PatchEncoder:
        """The encoder."""
        assert isinstance(self.encoder, PatchEncoder)
        return self.encoder

    def _guess(self, x_BLT: Tensor, valid_BT: Tensor | None) -> tuple[Tensor, Mask]:
        """Predicted patches, (B, M, P), and the mask they were predicted under."""
        encoder = self.patches
        tokens = encoder.embed(x_BLT)
        B, M, _ = tokens.shape
        valid_BM = encoder.patch_validity(valid_BT, M)
        mask = mask_lanes(torch.rand(B, M, device=tokens.device), encoder.lanes, self.mask_ratio, valid_BM)
        seen = encoder.encode(_take(tokens, mask.visible), mask.shown)
        full = self._fill(self.widen(seen), mask)
        decoded = self.decoder(*self._by_lane(full, valid_BM))
        prediction: Tensor = self.predict(decoded).view(B, M, -1)
        return prediction, mask

    def _by_lane(self, full_BMD: Tensor, valid_BM: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Lane by lane, each with positions of its own: the decoder sees no other lead (ST-MEM)."""
        B, M, D = full_BMD.shape
        lanes = self.patches.lanes
        rows = full_BMD.reshape(B * lanes, M // lanes, D)
        valid = None if valid_BM is None else valid_BM.reshape(B * lanes, M // lanes)
        return rows + sincos_positions(M // lanes, D).to(rows), valid

    def _whole(self, masked_BM: Tensor, valid_BT: Tensor | None) -> Tensor:
        """Of the masked patches those that lie inside the recording from end to end."""
        if valid_BT is None:
            return masked_BM
        whole_BN = valid_BT.view(len(valid_BT), -1, self.patches.patch).all(dim=2)
        return masked_BM & whole_BN.repeat(1, self.patches.lanes)

    def _fill(self, seen_BKD: Tensor, mask: Mask) -> Tensor:
        """Put the visible tokens back in their places, and mask tokens in the others."""
        D = seen_BKD.shape[-1]
        full = self.mask_token.to(seen_BKD.dtype).expand(*mask.masked.shape, D)
        if mask.shown is not None:
            seen_BKD = torch.where(mask.shown[..., None], seen_BKD, self.mask_token.to(seen_BKD.dtype))
        return full.scatter(1, mask.visible[..., None].expand(-1, -1, D), seen_BKD)


def _take(t_BND: Tensor, index_BK: Tensor) -> Tensor:
    return t_BND.gather(1, index_BK[..., None].expand(-1, -1, t_BND.shape[-1]))
