"""Joint-embedding prediction (I-JEPA, Assran et al. 2023) on ECG, as in Weimann and Conrad 2024 and Kim 2024."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from ecg_lightning.data.windows import Batch
from ecg_lightning.encoders.base import Encoder, PatchEncoder
from ecg_lightning.errors import UserError
from ecg_lightning.objectives.base import Objective, Verdict
from ecg_lightning.objectives.decoder import MaskedDecoder
from ecg_lightning.objectives.ema import follow, momentum_at, move
from ecg_lightning.objectives.masking import Mask, block_mask, over_lanes, take

NOTHING_LEARNED = 0.97
"""Relative error from which a prediction counts as no better than the mean; the mean itself scores 1."""

COLLAPSED = 0.01
"""Spread below which all windows have the same tokens; 1 is the largest there can be."""

ERRORS = {"smooth_l1": F.smooth_l1_loss, "l1": F.l1_loss, "l2": F.mse_loss}
Error = Literal["smooth_l1", "l1", "l2"]


def prediction_error(prediction_BMD: Tensor, target_BMD: Tensor, hidden_BM: Tensor, error: Error) -> Tensor:
    """Mean error on the hidden tokens, a scalar; there may be none.

    Args:
        prediction_BMD: (B, M, D) predicted tokens.
        target_BMD: (B, M, D) the teacher's.
        hidden_BM: (B, M) bool, the tokens that count.
        error: I-JEPA and Kim take `smooth_l1`, Weimann and Conrad `l1`.
    """
    each_BM = ERRORS[error](prediction_BMD, target_BMD, reduction="none").mean(dim=-1)
    return (each_BM * hidden_BM).sum() / hidden_BM.sum().clamp(min=1)


def spread_between_windows(target_BMD: Tensor, hidden_BM: Tensor, valid_BM: Tensor | None = None) -> Tensor:
    """How much the tokens in one place differ from window to window: their variance, averaged over the hidden ones.

    What a place says by itself, whatever the window, is no knowledge of the signal. The variance is unbiased: a guess
    of the true mean of each place has this squared error. 0 where no place has two windows.

    Args:
        target_BMD: (B, M, D) tokens.
        hidden_BM: (B, M) bool, the tokens that count.
        valid_BM: (B, M) bool, the tokens inside the recording, None for all.
    """
    weight_BM1 = (torch.ones_like(hidden_BM) if valid_BM is None else valid_BM).to(target_BMD)[..., None]
    count_M1 = weight_BM1.sum(dim=0)
    mean_MD = (target_BMD * weight_BM1).sum(dim=0) / count_M1.clamp(min=1)
    variance_M1 = (((target_BMD - mean_MD).square() * weight_BM1).sum(dim=0) / (count_M1 - 1).clamp(min=1)).mean(-1)
    return (variance_M1 * hidden_BM).sum() / hidden_BM.sum().clamp(min=1)


class JEPA(Objective):
    """Hide most of a window and predict what a teacher, who sees it whole, makes of the hidden places.

    The teacher is a moving average of the encoder. Its tokens are normalised over their features (mean 0, standard
    deviation 1), as in I-JEPA and Kim 2024. Nothing in such a loss forbids an encoder that says the same of every
    window, so `spread` is logged beside it, and `relative_error`: the squared error relative to predicting the mean
    token of each place, 1 for a model that learned nothing of the signal. The encoder kept is the teacher's, which
    I-JEPA evaluates. Under an encoder with lanes all of them are hidden at the same times.

    Args:
        encoder: a `PatchEncoder`.
        visible: smallest and largest share of the tokens that the encoder sees, drawn anew for each batch.
        block: fewest tokens of a hidden block; None hides tokens one by one.
        predictor_dim: width of the predictor.
        predictor_depth: its blocks.
        predictor_heads: its attention heads.
        momentum: of the teacher at the first and at the last step.
        error: between prediction and token.
        base: see `Objective`.

    Raises:
        ValueError: the encoder is not made of patches.
        UserError: a number is out of its range, or a window is a single patch.
    """

    monitor = "val/relative_error"
    """The loss is lowest where the teacher says least."""

    def __init__(
        self,
        encoder: Encoder,
        visible: tuple[float, float],
        block: int | None,
        predictor_dim: int,
        predictor_depth: int,
        predictor_heads: int,
        momentum: tuple[float, float] = (0.996, 1.0),
        error: Error = "smooth_l1",
        **base: Any,
    ) -> None:
        super().__init__(encoder, **base)
        if not isinstance(encoder, PatchEncoder):
            raise ValueError(
                f"objective=jepa hides patches, and encoder {type(encoder).__name__} has none; choose encoder=vit_tiny "
                "or another PatchEncoder"
            )
        if encoder.spec.samples < 2 * encoder.patch:
            raise UserError("objective=jepa needs windows of two patches or more; lower encoder.patch_seconds")
        if not 0 < visible[0] <= visible[1] < 1:
            raise UserError(f"objective.visible={list(visible)} must be two rising shares between 0 and 1")
        if block is not None and block < 1:
            raise UserError(f"objective.block={block} must be at least 1, or null to hide patches one by one")
        if not 0 <= momentum[0] <= momentum[1] <= 1:
            raise UserError(f"objective.momentum={list(momentum)} must be two rising numbers from 0 to 1")
        self.visible, self.block, self.momentum, self.error = visible, block, momentum, error
        self.predictor = MaskedDecoder(
            "predictor", encoder.dim, encoder.dim, predictor_dim, predictor_depth, predictor_heads
        )
        self.teacher = follow(encoder)

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """See `Objective.loss`; `relative_error` and `spread` are logged beside the loss."""
        student = self.patches
        embedded = student.embed(batch.x)
        M = embedded.shape[1]
        valid_BM = student.patch_validity(batch.valid, M)
        mask = self._mask(embedded, valid_BM)
        seen = student.encode(take(embedded, mask.visible), mask.shown)
        prediction = self.predictor(seen, mask, student.lanes, valid_BM)
        target = self._targets(batch.x, valid_BM)
        error = prediction_error(prediction, target, mask.masked, self.error)
        with torch.no_grad():
            spread = spread_between_windows(target, mask.masked, valid_BM)
            squared = prediction_error(prediction, target, mask.masked, "l2")
            relative = torch.where(spread > 0, squared / spread.clamp(min=1e-12), 1.0)  # nothing told apart, no merit
        return {"loss": error, "relative_error": relative, "spread": spread}

    def verdict(self, metrics: Mapping[str, float]) -> Verdict:
        """See `Objective.verdict`."""
        error, spread = metrics["val/relative_error"], metrics["val/spread"]
        if not spread >= COLLAPSED:
            same = f"it collapsed, all windows have the same tokens (their spread is {spread:.4f} of 1)"
            return Verdict(False, f"This run has learned nothing: {same}. Lower optimizer.lr or raise "
                                  "objective.momentum.")  # fmt: skip
        scale = f"its error on hidden tokens is {error:.3f} of what predicting the mean of each place scores"
        if error < NOTHING_LEARNED:
            return Verdict(True, f"The encoder learned to predict: {scale} (their spread is {spread:.2f} of 1).")
        return Verdict(False, f"This run has learned nothing: {scale}. Train longer, raise objective.visible or change "
                              "optimizer.lr.")  # fmt: skip

    def after_step(self, progress: float) -> None:
        """See `Objective.after_step`; the teacher follows."""
        move(self.teacher, self.encoder, momentum_at(progress, *self.momentum))

    @property
    def exported(self) -> Encoder:
        """The teacher."""
        assert isinstance(self.teacher, Encoder)
        return self.teacher

    @property
    def patches(self) -> PatchEncoder:
        """The encoder."""
        assert isinstance(self.encoder, PatchEncoder)
        return self.encoder

    def _mask(self, embedded_BMD: Tensor, valid_BM: Tensor | None) -> Mask:
        """One mask along time for each window; the share of a batch is drawn where no device waits for it."""
        B, M, _ = embedded_BMD.shape
        lanes = self.patches.lanes
        low, high = self.visible
        share = low + (high - low) * float(torch.rand(()))
        noise = torch.rand(B, 2, M // lanes, device=embedded_BMD.device)
        valid_BN = None if valid_BM is None else valid_BM[:, : M // lanes]
        return over_lanes(block_mask(noise, share, self.block, valid_BN), lanes)

    @torch.no_grad()
    def _targets(self, x_BLT: Tensor, valid_BM: Tensor | None) -> Tensor:
        """(B, M, D) the teacher's normalised tokens."""
        assert isinstance(self.teacher, PatchEncoder)
        tokens = self.teacher.encode(self.teacher.embed(x_BLT), valid_BM)
        return F.layer_norm(tokens, tokens.shape[-1:])
