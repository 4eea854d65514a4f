"""Learning from labels: the pretraining of transfer studies, from PTB-XL to smaller sets (Strodthoff et al. 2020)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor

from ecg_lightning.data.taught import Task, Taught
from ecg_lightning.data.windows import Batch
from ecg_lightning.encoders.base import Encoder
from ecg_lightning.objectives.base import Objective, Verdict
from ecg_lightning.readout import Head, classification_loss, read_out

NOTHING_LEARNED = 0.97
"""Share of the loss of always predicting the classes' frequencies from which a run counts as no better than that."""


def prior_logits(task: Task) -> Tensor:
    """(C,) logits of always predicting how frequent each class is among the training examples.

    One more example of each case than there are (Laplace) keeps a class without any from being impossible.
    """
    counts = torch.as_tensor(task.counts, dtype=torch.float64)
    if task.multi_label:
        return torch.logit((counts + 1) / (task.examples + 2)).float()
    return ((counts + 1) / (task.examples + len(counts))).log().float()


class Supervised(Objective):
    """Cross-entropy of a linear head on what the encoder reads out; binary where examples may carry several labels.

    It learns from the labelled training examples and is validated on the labelled validation examples; the head is the
    one of fine-tuning. `prior_loss` is what always predicting the frequencies of the classes in training scores.

    Args:
        encoder: any.
        data: the labelled examples.
        base: see `Objective`.

    Raises:
        UserError: there are no labelled examples to train or to validate on.
    """

    needs_labels: ClassVar[bool] = True

    prior: Tensor

    def __init__(self, encoder: Encoder, data: Taught, **base: Any) -> None:
        super().__init__(encoder, **base)
        self.head = Head(encoder, data.task.beats, len(data.task.classes))
        self.register_buffer("prior", prior_logits(data.task))

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """See `Objective.loss`; also `prior_loss`, and `accuracy` where classes exclude one another."""
        assert batch.y is not None
        logits_BC: Tensor = self.head(read_out(self.encoder, batch))
        losses = {
            "loss": classification_loss(logits_BC, batch.y),
            "prior_loss": classification_loss(self.prior.expand_as(logits_BC), batch.y),
        }
        if batch.y.ndim == 1:
            losses["accuracy"] = (logits_BC.argmax(dim=1) == batch.y).float().mean()
        return losses

    def verdict(self, metrics: Mapping[str, float]) -> Verdict:
        """See `Objective.verdict`; by the share of the loss that the classes' frequencies leave."""
        share = metrics["val/loss"] / max(metrics["val/prior_loss"], 1e-12)
        scale = f"its loss on the validation labels is {share:.3f} of what always predicting the frequencies of the " \
                "classes scores"  # fmt: skip
        if share < NOTHING_LEARNED:
            return Verdict(True, f"The encoder learned from the labels: {scale}.")
        return Verdict(False, f"This run has learned nothing that holds for the validation examples: {scale}. Give it "
                              "more labelled patients, a smaller encoder or another optimizer.lr.")  # fmt: skip
