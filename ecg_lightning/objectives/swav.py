"""SwAV (Caron et al. 2020): views predict each other's cluster; on ECG as in Mehari and Strodthoff (2022)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import Optimizer

from ecg_lightning import processes
from ecg_lightning.augment.base import View
from ecg_lightning.data.windows import Batch
from ecg_lightning.encoders.base import Encoder, token_validity
from ecg_lightning.errors import UserError
from ecg_lightning.objectives.base import Verdict
from ecg_lightning.objectives.views import (
    ViewObjective,
    check_company,
    check_positive,
    cosine_similarity,
    features,
    full,
    projector,
    repeat,
)

NOTHING_LEARNED = 0.03
"""Share of a code that other views must at least tell."""


@torch.no_grad()
def sinkhorn(scores_BK: Tensor, epsilon: float, iterations: int) -> Tensor:
    """Codes that follow the scores while every prototype is given the same share of the windows.

    Sinkhorn and Knopp's iteration on `exp(scores / epsilon)` with logarithms, so that nothing overflows.

    Args:
        scores_BK: (B, K) similarity of windows and prototypes.
        epsilon: smoothness; the smaller, the more a code is a single prototype.
        iterations: how often shares of prototypes, then of windows, are made equal.

    Returns:
        (B, K) of at least float32; each window's code sums to 1.
    """
    log_BK = full(scores_BK) / epsilon
    for _ in range(iterations):
        log_BK = log_BK.log_softmax(dim=0).log_softmax(dim=1)
    return log_BK.exp()


def swapped_prediction(scores_VBK: Tensor, codes_QBK: Tensor, temperature: float) -> Tensor:
    """Cross entropy between the codes of the first Q views and what each other view predicts.

    Args:
        scores_VBK: (V, B, K) scores of all views.
        codes_QBK: (Q, B, K) codes of the first Q of them.
        temperature: of the softmax that turns scores into predictions.

    Returns:
        The mean over windows and the Q (V - 1) pairs of different views.
    """
    predicted = (scores_VBK / temperature).log_softmax(dim=2)
    by_others = (predicted.sum(dim=0) - predicted[: len(codes_QBK)]) / (len(scores_VBK) - 1)
    return -(codes_QBK * by_others).sum(dim=2).mean()


class SwAV(ViewObjective):
    """Full and small views of a window predict the cluster that each full view is assigned to.

    Codes are balanced over the batches of all processes. `information` is the share of a code, in nats of the most
    that it can hold, that the other views tell at least: 0 for prototypes that say nothing of a window.

    Args:
        encoder: any; one of a single length is shown small views stretched to it.
        augment: makes the two full views.
        small_augment: makes the small views, which are then shortened.
        small_views: their number; 5 beside the two full views are the published 7.
        small_length: their length as a share of the window.
        hidden: width of the projector's hidden layer.
        projection: width of its output.
        prototypes: `K`, number of clusters.
        temperature: of the predictions.
        epsilon: see `sinkhorn`.
        iterations: see `sinkhorn`.
        frozen_epochs: over which the prototypes stay as they were drawn.
        base: see `Objective`.

    Raises:
        UserError: a number is out of range, or an augmentation cannot be.
    """

    def __init__(
        self,
        encoder: Encoder,
        augment: View,
        small_augment: View,
        small_views: int,
        small_length: float,
        hidden: int,
        projection: int,
        prototypes: int,
        temperature: float,
        epsilon: float,
        iterations: int = 3,
        frozen_epochs: int = 1,
        **base: Any,
    ) -> None:
        super().__init__(encoder, augment, **base)
        check_positive(hidden=hidden, projection=projection, temperature=temperature, epsilon=epsilon)
        for key, value, least in (("prototypes", prototypes, 2), ("iterations", iterations, 1),
                                  ("small_views", small_views, 0), ("frozen_epochs", frozen_epochs, 0)):  # fmt: skip
            if value < least:
                raise UserError(f"objective.{key}={value} must be at least {least}")
        if not 0 < small_length <= 1:
            raise UserError(f"objective.small_length={small_length} must lie in (0, 1]: it is a share of the window")
        small_augment.prepare(encoder.spec)
        self.small_augment, self.small_views = small_augment, small_views
        self.small_samples = encoder.fit_length(round(small_length * encoder.spec.samples))
        self.temperature, self.epsilon, self.iterations = temperature, epsilon, iterations
        self.frozen_epochs = frozen_epochs
        self.projector = projector(encoder.dim, hidden, projection)
        self.prototypes = nn.Parameter(torch.randn(prototypes, projection))

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """See `Objective.loss`; `information` is logged beside the loss."""
        check_company(self, batch)
        scores_VBK = self._scores(batch)
        codes_QBK = torch.stack([self._codes(scores) for scores in scores_VBK[:2]])
        loss = swapped_prediction(scores_VBK, codes_QBK, self.temperature)
        return {"loss": loss, "information": 1 - loss.detach() / math.log(len(self.prototypes))}

    def on_before_optimizer_step(self, optimizer: Optimizer) -> None:
        """Hold the prototypes still while the encoder finds its feet."""
        if self.current_epoch < self.frozen_epochs and self.prototypes.grad is not None:
            self.prototypes.grad.zero_()

    def verdict(self, metrics: Mapping[str, float]) -> Verdict:
        """See `Objective.verdict`."""
        information = metrics["val/information"]
        scale = f"the views of a window tell {information:.1%} of each other's cluster"
        if information > NOTHING_LEARNED:
            return Verdict(True, f"The encoder learned to cluster windows: {scale}.")
        return Verdict(False, f"This run has learned nothing: {scale}. Train longer, or lower objective.prototypes or "
                              "objective.epsilon.")  # fmt: skip

    def _scores(self, batch: Batch) -> Tensor:
        """(V, B, K) cosine similarity of each view and prototype, the two full views first."""
        h = [features(self.encoder, self.views(batch))]
        if self.small_views:
            h.append(features(self.encoder, self._small(repeat(batch, self.small_views))))
        scores = cosine_similarity(self.projector(torch.cat(h)), self.prototypes)
        return scores.view(2 + self.small_views, len(batch.x), -1)

    @torch.no_grad()
    def _small(self, batch: Batch) -> Batch:
        """A small view of each window."""
        x_BLT, valid_BT = self.small_augment(batch.x, batch.valid)
        valid_BS = token_validity(valid_BT, self.small_samples)
        x_BLS = F.interpolate(x_BLT, self.small_samples, mode="linear")
        return batch._replace(x=x_BLS if valid_BS is None else x_BLS * valid_BS[:, None], valid=valid_BS)

    @torch.no_grad()
    def _codes(self, scores_BK: Tensor) -> Tensor:
        """(B, K) codes of this process' windows, balanced over those of all."""
        codes = sinkhorn(processes.gather(scores_BK), self.epsilon, self.iterations)
        return codes.chunk(processes.count())[processes.rank()]
