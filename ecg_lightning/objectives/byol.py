"""Bootstrap your own latent (Grill et al. 2020), on ECG as in Mehari and Strodthoff (2022)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor
from torch.nn import functional as F

from ecg_lightning.augment.base import View
from ecg_lightning.data.windows import Batch
from ecg_lightning.encoders.base import Encoder
from ecg_lightning.errors import UserError
from ecg_lightning.objectives.base import Verdict
from ecg_lightning.objectives.ema import answer, follow, momentum_at, move
from ecg_lightning.objectives.views import (
    ViewObjective,
    check_positive,
    features,
    judge_agreement,
    projector,
    relative_error,
    spread,
)


def regression_error(prediction_BD: Tensor, target_BD: Tensor) -> Tensor:
    """Mean squared distance of the two directions, `2 - 2 cos`: from 0 to 4, and 2 at right angles."""
    return 2 - 2 * F.cosine_similarity(prediction_BD, target_BD, dim=1).mean()


class BYOL(ViewObjective):
    """From one view of a window predict what a teacher, the average of earlier students, says of the other view.

    Nothing repels, so the loss alone says little: it is as low where all windows have become one. `relative_error`
    sets it against the same predictions for the targets of other windows, and `spread` is that of the targets.

    Args:
        encoder: any.
        augment: see `ViewObjective`.
        hidden: width of the hidden layers of projector and predictor.
        projection: width of their outputs.
        momentum: share of the teacher that stays at the first step; it rises to 1 along half a cosine.
        base: see `Objective`.

    Raises:
        UserError: a width is not above 0, the momentum no share, or an augmentation cannot be.
    """

    monitor = "val/relative_error"

    def __init__(
        self, encoder: Encoder, augment: View, hidden: int, projection: int, momentum: float, **base: Any
    ) -> None:
        super().__init__(encoder, augment, **base)
        check_positive(hidden=hidden, projection=projection)
        if not 0 <= momentum < 1:
            raise UserError(f"objective.momentum={momentum} must be 0 or more and below 1: the teacher would not move")
        self.momentum = momentum
        self.projector = projector(encoder.dim, hidden, projection)
        self.predictor = projector(projection, hidden, projection)
        self.teacher_encoder = follow(encoder)
        self.teacher_projector = follow(self.projector)

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """See `Objective.loss`; `relative_error` and `spread` are logged beside the loss."""
        views = self.views(batch)
        p1, p2 = self.predictor(self.projector(features(self.encoder, views))).chunk(2)
        target = answer(self.teacher_projector, answer(self.teacher_encoder, views.x, views.valid))
        t1, t2 = target.chunk(2)
        pairs = ((p1, t2), (p2, t1))
        relative = [relative_error(F.normalize(p, dim=1), F.normalize(t, dim=1)) for p, t in pairs]
        return {
            "loss": regression_error(p1, t2) + regression_error(p2, t1),
            "relative_error": (relative[0] + relative[1]) / 2,
            "spread": spread(target),
        }

    def after_step(self, progress: float) -> None:
        """Move the teacher towards the student."""
        momentum = momentum_at(progress, self.momentum)
        move(self.teacher_encoder, self.encoder, momentum)
        move(self.teacher_projector, self.projector, momentum)

    def verdict(self, metrics: Mapping[str, float]) -> Verdict:
        """See `Objective.verdict`."""
        return judge_agreement(metrics)
