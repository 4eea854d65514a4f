"""Masked autoencoder (He et al. 2022) on ECG patches, as in Zhang et al. 2022 (MaeFE) and Na et al. 2024 (ST-MEM)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ecg_lightning.data.windows import Batch
from ecg_lightning.encoders.base import Encoder, PatchEncoder
from ecg_lightning.errors import UserError
from ecg_lightning.objectives.base import Objective, Verdict
from ecg_lightning.objectives.decoder import MaskedDecoder
from ecg_lightning.objectives.masking import Mask, mask_lanes, take

NOTHING_LEARNED = 0.97
"""Relative error from which a reconstruction counts as no better than the mean; the mean itself scores 1."""


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
        self.mask_ratio = mask_ratio
        self.normalise_targets = normalise_targets
        patch_size = len(encoder.spec.leads) // encoder.lanes * encoder.patch
        self.decoder = MaskedDecoder("decoder", encoder.dim, patch_size, decoder_dim, decoder_depth, decoder_heads)

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
        seen = encoder.encode(take(tokens, mask.visible), mask.shown)
        prediction: Tensor = self.decoder(seen, mask, encoder.lanes, valid_BM)
        return prediction, mask

    def _whole(self, masked_BM: Tensor, valid_BT: Tensor | None) -> Tensor:
        """Of the masked patches those that lie inside the recording from end to end."""
        if valid_BT is None:
            return masked_BM
        whole_BN = valid_BT.view(len(valid_BT), -1, self.patches.patch).all(dim=2)
        return masked_BM & whole_BN.repeat(1, self.patches.lanes)
