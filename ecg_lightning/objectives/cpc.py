"""Contrastive predictive coding (van den Oord et al. 2018) on ECG, as in Mehari and Strodthoff (2022)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from ecg_lightning.augment.base import extent
from ecg_lightning.data.windows import Batch
from ecg_lightning.encoders.base import CausalEncoder, Encoder, token_validity
from ecg_lightning.errors import UserError
from ecg_lightning.objectives.base import Objective, Verdict

NOTHING_LEARNED = 0.02
"""Skill up to which picking the right token is chance: 0 is chance itself, 1 is always right."""


def info_nce(scores_BRK: Tensor, counts_BR: Tensor) -> tuple[Tensor, Tensor]:
    """Cross entropy of picking the first of K candidates, and how often it has the highest score of all.

    The published loss sums over the predictions of a window and averages over windows; this mean over both is that loss
    by the number of predictions, so that it means the same whatever a window's length.

    Args:
        scores_BRK: (B, R, K) scores of the candidates of R predictions.
        counts_BR: (B, R) bool, the predictions that count; there may be none.

    Returns:
        Loss and accuracy, two scalars.
    """
    scores = scores_BRK.float()
    weight = counts_BR / counts_BR.sum().clamp(min=1)
    surprise = scores.logsumexp(dim=2) - scores[..., 0]
    picked = scores[..., 0] > scores[..., 1:].amax(dim=2)
    return (surprise * weight).sum(), (picked * weight).sum()


def other_tokens(target_BR: Tensor, begin_B: Tensor, length_B: Tensor, number: int) -> Tensor:
    """Draw tokens of each window's recording, with replacement, of which none is the target.

    Args:
        target_BR: (B, R) numbers of the targets.
        begin_B: (B,) each recording's first token.
        length_B: (B,) its number of tokens.
        number: how many to draw for each target.

    Returns:
        (B, R, number) token numbers.
    """
    noise = torch.rand(*target_BR.shape, number, device=target_BR.device)
    drawn = begin_B[:, None, None] + (noise * (length_B[:, None, None] - 1)).long()
    last = (begin_B + length_B - 1)[:, None, None]
    return (drawn + (drawn >= target_BR[..., None])).clamp(max=last)  # a recording of one token has no other


class CPC(Objective):
    """Predict what an encoder's first half says of the future from what its second half knows of the past.

    For each token, a linear map without bias of the context gives the local token some steps ahead, to be told from
    others by its scalar product. `accuracy` is how often it is, `skill` the same on a scale from 0, chance, to 1.

    Args:
        encoder: a `CausalEncoder`.
        steps: how many tokens ahead to predict, each with a map of its own; the paper predicts the 12th alone.
        negatives: tokens that each is to be told from.
        negatives_from: the same recording, as published, or the batch's other windows, which tell patients apart too.
        base: see `Objective`.

    Raises:
        ValueError: the encoder is not causal.
        UserError: the steps reach beyond the window, or a number is not positive.
    """

    def __init__(
        self,
        encoder: Encoder,
        steps: Sequence[int],
        negatives: int,
        negatives_from: Literal["sequence", "batch"] = "sequence",
        **base: Any,
    ) -> None:
        super().__init__(encoder, **base)
        if not isinstance(encoder, CausalEncoder):
            raise ValueError(
                f"objective=cpc predicts the future, which encoder {type(encoder).__name__} has seen; choose "
                "encoder=cpc_mini, s4_causal or another CausalEncoder"
            )
        if not steps or min(steps) < 1 or len(set(steps)) < len(steps):
            raise UserError(f"objective.steps={list(steps)} must be different numbers of tokens, each at least 1")
        if negatives < 1:
            raise UserError(f"objective.negatives={negatives} must be at least 1")
        tokens = -(-encoder.spec.samples // encoder.stride)
        if tokens <= max(steps):
            raise UserError(
                f"objective.steps={list(steps)} reach beyond the {tokens} tokens of a window; lower them, raise "
                "data.spec.seconds or lower encoder.strides"
            )
        self.steps = tuple(steps)
        self.negatives = negatives
        self.negatives_from = negatives_from
        self.predict = nn.Linear(encoder.dim, len(steps) * encoder.local_dim, bias=False)

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """See `Objective.loss`; `accuracy` and `skill` are logged beside the loss."""
        encoder = self.encoder
        assert isinstance(encoder, CausalEncoder)
        z_BNE = encoder.local(batch.x, batch.valid)
        valid_BN = token_validity(batch.valid, z_BNE.shape[1])
        context_BND = encoder.context(z_BNE, valid_BN)
        begin_B, length_B = extent(z_BNE.mT, valid_BN)
        target_BR, counts_BR = self._targets(z_BNE.shape[1], begin_B, length_B)
        scores = self._scores(context_BND, z_BNE, target_BR, begin_B, length_B)
        loss, accuracy = info_nce(scores, counts_BR)
        chance = 1 / (1 + self.negatives)
        return {"loss": loss, "accuracy": accuracy, "skill": (accuracy - chance) / (1 - chance)}

    def verdict(self, metrics: Mapping[str, float]) -> Verdict:
        """See `Objective.verdict`."""
        found = (f"among {self.negatives + 1} tokens it picks the one that follows in "
                 f"{metrics['val/accuracy']:.1%} of cases; chance is {1 / (1 + self.negatives):.1%}")  # fmt: skip
        if metrics["val/skill"] > NOTHING_LEARNED:
            return Verdict(True, f"The encoder learned to predict: {found}.")
        return Verdict(False, f"This run has learned nothing: {found}. Train longer, or lower objective.steps or raise "
                              "optimizer.lr.")  # fmt: skip

    def _targets(self, N: int, begin_B: Tensor, length_B: Tensor) -> tuple[Tensor, Tensor]:
        """Which token each of the R predictions is about, and whether it and its context lie inside the recording.

        The predictions are those of each token with a future, one after the other for each step.
        """
        ahead = torch.tensor(self.steps, device=begin_B.device)
        now = torch.arange(N - min(self.steps), device=begin_B.device)
        target_R = (now[:, None] + ahead).flatten()
        inside = (now >= begin_B[:, None]).repeat_interleave(len(ahead), dim=1)
        inside &= target_R < (begin_B + length_B)[:, None]
        return target_R.clamp(max=N - 1).expand(len(begin_B), -1), inside

    def _scores(
        self, context_BND: Tensor, z_BNE: Tensor, target_BR: Tensor, begin_B: Tensor, length_B: Tensor
    ) -> Tensor:
        """(B, R, 1 + negatives) scores, the target's first: all pairs by one product, of which the drawn are picked."""
        B, N, E = z_BNE.shape
        guess_BRE: Tensor = self.predict(context_BND[:, : N - min(self.steps)]).view(B, -1, E)
        if self.negatives_from == "sequence" or B == 1:
            negatives = other_tokens(target_BR, begin_B, length_B, self.negatives)
            drawn = torch.cat([target_BR[..., None], negatives], dim=2)
            return (guess_BRE @ z_BNE.mT).gather(2, drawn)
        others = guess_BRE @ self._elsewhere(z_BNE, begin_B, length_B).mT
        target_BRE = z_BNE.gather(1, target_BR[..., None].expand(-1, -1, E))
        return torch.cat([(guess_BRE * target_BRE).sum(dim=2, keepdim=True), others], dim=2)

    def _elsewhere(self, z_BNE: Tensor, begin_B: Tensor, length_B: Tensor) -> Tensor:
        """(B, negatives, E) tokens of other windows, the same for all predictions of one."""
        B, device = len(z_BNE), z_BNE.device
        further = torch.randint(1, B, (B, self.negatives), device=device)
        window = (torch.arange(B, device=device)[:, None] + further) % B
        token = begin_B[window] + (torch.rand(B, self.negatives, device=device) * length_B[window]).long()
        return z_BNE[window, token]
