"""SimCLR (Chen et al. 2020), on ECG as in Mehari and Strodthoff (2022)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

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
    cosine_similarity,
    features,
    judge_matching,
    projector,
)


def nt_xent(z1_BD: Tensor, z2_BD: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
    """Normalised temperature-scaled cross entropy: find each view's partner among all other views.

    Args:
        z1_BD: (B, D) projections of the first views.
        z2_BD: (B, D) of the second views of the same windows.
        temperature: of the softmax over cosine similarities.

    Returns:
        The mean over all 2 B views, and the share of them whose partner is the most similar of the 2 B - 1 others.
    """
    z = torch.cat([z1_BD, z2_BD])
    similarity = (cosine_similarity(z, z) / temperature).fill_diagonal_(-torch.inf)
    partner = torch.arange(len(z), device=z.device).roll(len(z1_BD))
    accuracy = (similarity.argmax(dim=1) == partner).float().mean()
    return F.cross_entropy(similarity, partner), accuracy


class SimCLR(ViewObjective):
    """Two views of a window attract, all other views of the batch repel, over the batches of all processes.

    `accuracy` is the share of views whose partner is the most similar one; `chance` is what guessing scores.

    Args:
        encoder: any.
        augment: see `ViewObjective`.
        hidden: width of the projector's hidden layer.
        projection: width of its output.
        temperature: of the loss.
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
        temperature: float,
        **base: Any,
    ) -> None:
        super().__init__(encoder, augment, **base)
        check_positive(hidden=hidden, projection=projection, temperature=temperature)
        self.temperature = temperature
        self.projector = projector(encoder.dim, hidden, projection)

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """See `Objective.loss`; `accuracy` and `chance` are logged beside the loss."""
        check_company(self, batch)
        z1, z2 = map(processes.gather, self.projector(features(self.encoder, self.views(batch))).chunk(2))
        loss, accuracy = nt_xent(z1, z2, self.temperature)
        return {"loss": loss, "accuracy": accuracy, "chance": loss.new_tensor(1 / (2 * len(z1) - 1))}

    def verdict(self, metrics: Mapping[str, float]) -> Verdict:
        """See `Objective.verdict`."""
        return judge_matching(metrics)
