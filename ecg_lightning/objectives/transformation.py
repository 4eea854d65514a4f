"""Recognising which transformation a window went through (Sarkar and Etemad 2020)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ecg_lightning.augment.base import Augmentation, extent
from ecg_lightning.data.windows import Batch
from ecg_lightning.encoders.base import Encoder
from ecg_lightning.errors import UserError
from ecg_lightning.objectives.base import Objective, Verdict
from ecg_lightning.objectives.views import features
from ecg_lightning.signal import SignalSpec

NOTHING_LEARNED = 0.05
"""Share of what chance misses up to which recognition counts as chance."""


def recognition_loss(logits_BK: Tensor, kind_B: Tensor, weights_K: Tensor | None = None) -> Tensor:
    """Multi-task form: of each kind, the binary cross-entropy of whether a window is of it; their weighted sum.

    Args:
        logits_BK: (B, K), one binary task for each kind.
        kind_B: (B,) int64, the kind of each window.
        weights_K: (K,) of the tasks; None gives their mean.
    """
    is_kind = F.one_hot(kind_B, logits_BK.shape[1]).to(logits_BK)
    task_K = F.binary_cross_entropy_with_logits(logits_BK, is_kind, reduction="none").mean(dim=0)
    return task_K.mean() if weights_K is None else (task_K * weights_K).sum()


class Hands(NamedTuple):
    """What a window can be dealt, H hands, each as often as any other.

    All kinds that are shown at one length are dealt equally often, and each of these shows every window to the same
    share, so that padding tells nothing: not which of them a window is, though a squeezed one cannot fill its window.

    Attributes:
        kind: (H,) int64.
        share: (H,) share of its recording's length to which a window is shown.
    """

    kind: Tensor
    share: Tensor

    @classmethod
    def of(cls, kept: Sequence[float]) -> Hands:
        """All hands of kinds that leave these shares of a recording's length."""
        hands = [(kind, share) for share in sorted(set(kept)) for kind, own in enumerate(kept) if own >= share]
        kinds, shares = zip(*hands, strict=True)
        return cls(torch.tensor(kinds), torch.tensor(shares))

    def deal(self, windows: int) -> Hands:
        """A hand for each window, from the host's generator: how many get which is then known without a device."""
        H = len(self.kind)
        hand_B = torch.randperm(H)[torch.randperm(windows) % H]
        return Hands(self.kind[hand_B], self.share[hand_B])

    @property
    def chance(self) -> float:
        """The accuracy of always guessing the kind that is dealt most often; knowing the padding adds nothing."""
        return float(self.kind.bincount().max()) / len(self.kind)


class TransformationRecognition(Objective):
    """Each window is transformed in one of several ways; heads on its features tell in which.

    Args:
        encoder: any.
        kinds: the transformations, among them the one that leaves a window unchanged.
        form: `softmax` over the kinds, or `binary`: one task and one head for each.
        hidden: sizes of the heads' hidden layers.
        dropout: after each of these.
        weights: of the tasks of the binary form; null: their mean.
        base: see `Objective`.

    Raises:
        UserError: a number is out of range, the weights are not those of these tasks, or a kind does not suit the
            signal.
    """

    weights: Tensor | None

    def __init__(
        self,
        encoder: Encoder,
        kinds: Sequence[Augmentation],
        form: Literal["softmax", "binary"],
        hidden: Sequence[int] = (),
        dropout: float = 0.0,
        weights: Sequence[float] | None = None,
        **base: Any,
    ) -> None:
        super().__init__(encoder, **base)
        _check_kinds(kinds)
        _check_heads(hidden, dropout)
        _check_weights(weights, form, len(kinds))
        self.kinds, self.form = nn.ModuleList(kinds), form
        self.hands = Hands.of([_share_kept(kind, encoder.spec) for kind in kinds])
        outputs = [1] * len(kinds) if form == "binary" else [len(kinds)]
        self.heads = nn.ModuleList(_head([encoder.dim, *hidden], output, dropout) for output in outputs)
        self.register_buffer("weights", None if weights is None else torch.tensor(weights), persistent=False)

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """See `Objective.loss`; `accuracy` is logged beside the loss."""
        transformed, kind_B = self.transform(batch)
        feature_BD = features(self.encoder, transformed)
        logits_BK = torch.cat([head(feature_BD) for head in self.heads], dim=1)
        if self.form == "softmax":
            loss = F.cross_entropy(logits_BK, kind_B)
        else:
            loss = recognition_loss(logits_BK, kind_B, self.weights)
        return {"loss": loss, "accuracy": (logits_BK.argmax(dim=1) == kind_B).float().mean()}

    @torch.no_grad()
    def transform(self, batch: Batch) -> tuple[Batch, Tensor]:
        """Deal each window a kind, change it so, and show as much of it as of any other of its hand's share.

        Returns:
            The changed windows, and the (B,) int64 kind of each.
        """
        x_BLT, valid_BT = batch.x, batch.valid
        dealt = self.hands.deal(len(x_BLT))
        changed_BLT, shown_BT = torch.empty_like(x_BLT), torch.ones_like(x_BLT[:, 0], dtype=torch.bool)
        for number, kind in enumerate(self.kinds):
            assert isinstance(kind, Augmentation)
            own = (dealt.kind == number).nonzero()[:, 0].to(x_BLT.device)
            x, valid = x_BLT[own], None if valid_BT is None else valid_BT[own]
            changed_BLT[own], kept = kind.change(x, kind.draw(x, valid), valid)
            if kept is not None:
                shown_BT[own] = kept
        kind_B, share_B = (part.to(x_BLT.device) for part in dealt)
        if valid_BT is None and self.hands.share.min() == 1:
            return batch._replace(x=changed_BLT), kind_B
        begin_B, length_B = extent(x_BLT, valid_BT)
        end_B = begin_B + (length_B * share_B).long().clamp(min=1)
        shown_BT &= torch.arange(x_BLT.shape[-1], device=x_BLT.device) < end_B[:, None]
        return batch._replace(x=changed_BLT * shown_BT[:, None], valid=shown_BT), kind_B

    def verdict(self, metrics: Mapping[str, float]) -> Verdict:
        """See `Objective.verdict`; by the accuracy, against chance."""
        accuracy, chance = metrics["val/accuracy"], self.hands.chance
        scale = f"it tells {len(self.kinds)} transformations apart with an accuracy of {accuracy:.3f}, where chance " \
                f"scores {chance:.3f}"  # fmt: skip
        if accuracy > chance + NOTHING_LEARNED * (1 - chance):
            return Verdict(True, f"The encoder learned to recognise transformations: {scale}.")
        return Verdict(False, f"This run has learned nothing: {scale}. Train longer, or change optimizer.lr.")


def _head(sizes: Sequence[int], output: int, dropout: float) -> nn.Sequential:
    layers: list[nn.Module] = []
    for wide, narrow in pairwise(sizes):
        layers += [nn.Linear(wide, narrow), nn.ReLU(), nn.Dropout(dropout)]
    return nn.Sequential(*layers, nn.Linear(sizes[-1], output))


def _share_kept(kind: Augmentation, spec: SignalSpec) -> float:
    """Share of a full window that a transformation leaves filled."""
    kind.prepare(spec)
    window = torch.ones(1, len(spec.leads), spec.samples)
    _, inside = kind.change(window, kind.draw(window))
    return 1.0 if inside is None else float(inside.float().mean())


def _check_kinds(kinds: Sequence[Augmentation]) -> None:
    if len(kinds) < 2:
        raise UserError(f"objective.kinds names {len(kinds)}; there must be two or more to tell apart")
    for kind in kinds:
        if kind.p != 1:
            raise UserError(f"objective.kinds: {type(kind).__name__} with p={kind.p} would leave windows that count as "
                            "changed unchanged; leave p out")  # fmt: skip


def _check_heads(hidden: Sequence[int], dropout: float) -> None:
    if min(hidden, default=1) < 1:
        raise UserError(f"objective.hidden={list(hidden)} must be sizes of at least 1")
    if not 0 <= dropout < 1:
        raise UserError(f"objective.dropout={dropout} must lie between 0 and 1")


def _check_weights(weights: Sequence[float] | None, form: str, kinds: int) -> None:
    if weights is None:
        return
    if form != "binary":
        raise UserError(f"objective.weights weigh the tasks of objective.form=binary; with form={form} set it to null")
    if len(weights) != kinds or min(weights) < 0 or not any(weights):
        raise UserError(f"objective.weights={list(weights)} must be a number for each of the {kinds} kinds, 0 or more, "
                        "and not all 0")  # fmt: skip
