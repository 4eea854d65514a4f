"""Several pretrained encoders, fine-tuned on the same labels, whose probabilities are averaged."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ecg_lightning.data.windows import Batch
from ecg_lightning.encoders.checkpoint import EncoderCheckpoint, read_checkpoint
from ecg_lightning.errors import UserError
from ecg_lightning.evaluation.cell import Cell
from ecg_lightning.evaluation.classifier import Classifier, Network
from ecg_lightning.evaluation.finetune import FineTune, FineTuned
from ecg_lightning.evaluation.recipes import Stage

KEY = "protocol.method.checkpoints"


class Ensemble:
    """The mean of what fine-tuned encoders say; on request they learn on together, each from the error of the mean.

    After Cartwright, Fumoto and McIntosh (University of Surrey), who average an MLP, a CNN and an LSTM, and train the
    whole once more.

    Args:
        checkpoints: files of the members beside the cell's own encoder, which is the first; all read the same signal.
        retrain_steps: steps in which all members learn together; 0 leaves each as it was fine-tuned.
        member: how each is fine-tuned, and at which rates they learn together.

    Raises:
        UserError: the number of steps is negative.
    """

    def __init__(self, checkpoints: Sequence[str], retrain_steps: int, member: FineTune) -> None:
        if retrain_steps < 0:
            raise UserError(f"protocol.method.retrain_steps={retrain_steps} must be 0 or more")
        self.checkpoints, self.retrain_steps, self.member = checkpoints, retrain_steps, member

    def fit(self, cell: Cell) -> FineTuned:
        """See `EvaluationProtocol`.

        Raises:
            UserError: see `open_members`.
        """
        members = [cell.checkpoint, *open_members(self.checkpoints, cell.checkpoint)]
        models = [self.member.classifier(replace(cell, checkpoint=each)) for each in members]
        losses = [model.last_loss for model in models]
        details: dict[str, Any] = {
            "recipe": self.member.recipe,
            "members": [*map(_summary, members)],
            "train_losses": losses,
        }
        average = Average(models)
        if self.retrain_steps:
            with torch.random.fork_rng():
                torch.manual_seed(cell.model_seed)
                average.learn(cell, self.member.course(models, Stage(self.retrain_steps, head_alone=False)))
            details |= {"retrain_steps": self.retrain_steps, "train_loss": average.last_loss}
        return FineTuned(average, details)


class Average(Network):
    """The mean of several classifiers' probabilities.

    Args:
        members: of the same data and classes.
    """

    def __init__(self, members: Sequence[Classifier]) -> None:
        super().__init__(members[0].data, members[0].multi_label)
        self.members = nn.ModuleList(members)

    def forward(self, batch: Batch) -> Tensor:
        """(B, C) the logits of the mean."""
        logits_MBC = torch.stack([member(batch) for member in self.members])
        if self.multi_label:
            yes, no = (F.logsigmoid(sign * logits_MBC).logsumexp(dim=0) for sign in (1, -1))
            return yes - no
        return logits_MBC.log_softmax(dim=-1).logsumexp(dim=0)


def _summary(member: EncoderCheckpoint) -> dict[str, Any]:
    """For `result.json`."""
    seen = member.training["data"]
    return {"encoder": member.digest, "objective": member.training["objective"], "pretrained_on": seen["name"],
            "pretraining_labels": seen.get("labels", 0)}  # fmt: skip


def open_members(paths: Sequence[str], first: EncoderCheckpoint, name: str = "the first") -> list[EncoderCheckpoint]:
    """Read the members of an ensemble beside its first.

    Args:
        paths: their files.
        first: whose signal they must read too.
        name: of its file, for messages.

    Raises:
        UserError: there are none, one cannot be read, is there twice, or expects another signal.
    """
    if not paths:
        raise UserError(f"{KEY}=[] names nobody beside {name}; give one or more, such as {KEY}=[RUN/encoder.pt]")
    members = [_read(path) for path in paths]
    names = {first.digest: name}
    for path, member in zip(paths, members, strict=True):
        if member.digest in names:
            raise UserError(f"{KEY}: {path} and {names[member.digest]} are the same encoder; name each once")
        names[member.digest] = path
        ours, theirs = (each.encoder.spec.to_dict() for each in (first, member))
        told = ", ".join(f"{key} {theirs[key]} and {ours[key]}" for key in ours if ours[key] != theirs[key])
        if told:
            raise UserError(f"{KEY}: {path} and {name} expect different signals ({told}); all members of an ensemble "
                            "read the same: pretrain them with one data.spec")  # fmt: skip
    return members


@lru_cache(maxsize=16)
def _read(path: str) -> EncoderCheckpoint:
    """A member, kept for the next cell of a sweep."""
    return read_checkpoint(path)
