"""VICReg (Bardes et al. 2022): views agree and dimensions stay wide and apart; no negatives, no teacher."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from ecg_lightning import processes
from ecg_lightning.augment.base import View
from ecg_lightning.data.windows import Batch
from ecg_lightning.encoders.base import Encoder
from ecg_lightning.objectives.base import Verdict
from ecg_lightning.objectives.views import (
    ViewObjective,
    check_company,
    check_positive,
    features,
    full,
    judge_agreement,
    projector,
    relative_error,
)

MARGIN = 1e-4
"""Added to variances before their root, whose slope at 0 is infinite."""


class Regularisation(NamedTuple):
    """What one view of a batch is to be: wide in every dimension, no two of which say the same.

    Attributes:
        variance: mean shortfall of the dimensions' standard deviations from 1.
        covariance: sum of the squared covariances of different dimensions, by their number.
        width: mean standard deviation.
    """

    variance: Tensor
    covariance: Tensor
    width: Tensor


def regularise(z_BD: Tensor) -> Regularisation:
    """Variance and covariance of (B, D) embeddings over the batch."""
    B, D = z_BD.shape
    centred = full(z_BD) - full(z_BD).mean(dim=0)
    with torch.autocast(z_BD.device.type, enabled=False):
        covariance_DD = centred.T @ centred / max(B - 1, 1)
    variance_D = covariance_DD.diagonal()
    deviation_D = (variance_D + MARGIN).sqrt()
    apart = (covariance_DD.square().sum() - variance_D.square().sum()) / D
    return Regularisation(F.relu(1 - deviation_D).mean(), apart, deviation_D.mean())


class VICReg(ViewObjective):
    """Two views of a window shall agree while each dimension varies over the batch and tells something of its own.

    Covariances are those over the batches of all processes. `relative_error` is the distance of two views of a window
    as a share of that of different windows; `spread` is the embeddings' mean standard deviation.

    Args:
        encoder: any.
        augment: see `ViewObjective`.
        hidden: width of the projector's two hidden layers.
        projection: `D`, width of its output.
        invariance: weight of the views' mean squared difference.
        variance: weight of the dimensions' shortfall from a standard deviation of 1.
        covariance: weight of their squared covariances.
        base: see `Objective`.

    Raises:
        UserError: a number is not above 0, or an augmentation cannot be.
    """

    def __init__(
        self,
        encoder: Encoder,
        augment: View,
        hidden: int,
        projection: int,
        invariance: float = 25.0,
        variance: float = 25.0,
        covariance: float = 1.0,
        **base: Any,
    ) -> None:
        super().__init__(encoder, augment, **base)
        check_positive(hidden=hidden, projection=projection)
        check_positive(invariance=invariance, variance=variance, covariance=covariance)
        self.invariance, self.variance, self.covariance = invariance, variance, covariance
        self.projector = projector(encoder.dim, hidden, hidden, projection)

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """See `Objective.loss`; the three terms, `relative_error` and `spread` are logged beside the loss."""
        check_company(self, batch)
        z1, z2 = map(processes.gather, self.projector(features(self.encoder, self.views(batch))).chunk(2))
        first, second = regularise(z1), regularise(z2)
        invariance = F.mse_loss(z1, z2)
        variance = (first.variance + second.variance) / 2
        covariance = first.covariance + second.covariance
        return {
            "loss": self.invariance * invariance + self.variance * variance + self.covariance * covariance,
            "invariance": invariance,
            "variance": variance,
            "covariance": covariance,
            "relative_error": relative_error(z1, z2),
            "spread": (first.width + second.width) / 2,
        }

    def verdict(self, metrics: Mapping[str, float]) -> Verdict:
        """See `Objective.verdict`."""
        return judge_agreement(metrics)
