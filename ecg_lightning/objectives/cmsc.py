"""Contrastive multi-segment and multi-lead coding: CLOCS (Kiyasseh et al. 2021)."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor

from ecg_lightning import processes
from ecg_lightning.augment.base import Windows
from ecg_lightning.data.windows import Batch
from ecg_lightning.encoders.base import Encoder
from ecg_lightning.errors import UserError
from ecg_lightning.objectives.base import Objective, Verdict
from ecg_lightning.objectives.views import check_company, check_positive, cosine_similarity, judge_matching, projector

Positives = Literal["segments", "leads", "both"]


class Contrast(NamedTuple):
    """How two views of a batch find each other.

    Attributes:
        loss: to minimise.
        accuracy: share of windows whose most similar counterpart is of the same patient.
        chance: the share that guessing finds.
    """

    loss: Tensor
    accuracy: Tensor
    chance: Tensor


def patient_contrast(a_BD: Tensor, b_BD: Tensor, patient_B: Tensor, present_B: Tensor, temperature: float) -> Contrast:
    """Views of one window, and of different windows of one patient, attract among all views.

    The two kinds of pair weigh the same, however many there are of each; where no patient has two windows, the first
    kind is alone.

    Args:
        a_BD: (B, D) embeddings of one view of each window.
        b_BD: (B, D) of another.
        patient_B: (B,) whose the windows are.
        present_B: (B,) bool, the windows that count; there may be none.
        temperature: of the softmax over cosine similarities.
    """
    both_BB = present_B[:, None] & present_B
    alike_BB = (patient_B[:, None] == patient_B) & both_BB
    own_BB = torch.diag(present_B)
    similarity = cosine_similarity(a_BD, b_BD) / temperature
    similarity = similarity.masked_fill(~both_BB, torch.finfo(similarity.dtype).min)
    surprise = -(similarity.log_softmax(dim=1) + similarity.log_softmax(dim=0)) / 2
    own, kin = _mean(surprise, own_BB), _mean(surprise, alike_BB & ~own_BB)
    found = alike_BB.gather(1, similarity.argmax(dim=1, keepdim=True))[:, 0]
    chance = alike_BB.sum(dim=1) / present_B.sum().clamp(min=1)
    return Contrast(
        torch.where((alike_BB & ~own_BB).any(), (own + kin) / 2, own),
        _mean(found.float(), present_B),
        _mean(chance, present_B),
    )


def _mean(value: Tensor, chosen: Tensor) -> Tensor:
    """The mean of the chosen values, 0 of none."""
    return value.masked_fill(~chosen, 0).sum() / chosen.sum().clamp(min=1)


class CMSC(Objective):
    """What one patient's heart shows at two times, or in different leads, shall look alike, and unlike other patients'.

    The published encoders see one lead at a time, and views are single leads. These see all leads together: here the
    leads are dealt at random into two halves, and a view shows one half, the leads of the other being 0.

    Args:
        encoder: one that takes half a window, unless the positives are leads.
        positives: `segments` (CMSC): the two halves of a window; `leads` (CMLC): two halves of its leads; `both`
            (CMSMLC): all four views, each with each.
        projection: `D`, width of the space in which views are compared.
        temperature: of the loss.
        base: see `Objective`.

    Raises:
        UserError: a number is not above 0, the encoder does not take half a window, or it has one lead to divide.
    """

    def __init__(
        self, encoder: Encoder, positives: Positives, projection: int, temperature: float, **base: Any
    ) -> None:
        super().__init__(encoder, **base)
        check_positive(projection=projection, temperature=temperature)
        half = encoder.spec.samples // 2
        self.segment = encoder.fit_length(half)
        if positives != "leads" and not 0 < self.segment <= half:
            raise UserError(
                f"objective=cmsc shows halves of a window, and encoder {type(encoder).__name__} takes no {half} "
                f"samples but {self.segment}; choose encoder=xresnet1d50 or another that does, longer windows "
                "(data.spec.seconds) or objective.positives=leads"
            )
        if positives != "segments" and len(encoder.spec.leads) < 2:
            raise UserError(f"objective.positives={positives} divides the leads, and there is one; set "
                            "objective.positives=segments or give data.spec.leads more")  # fmt: skip
        self.positives = positives
        self.temperature = temperature
        self.projector = projector(encoder.dim, projection)

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """See `Objective.loss`; `accuracy` and `chance` are logged beside the loss.

        A window with a half that lies outside the recording does not count.
        """
        check_company(self, batch)
        views = self._views(batch)
        present_B = self._present(views, batch)
        embedded = self.projector(self._features(views, present_B)).chunk(len(views))
        present, z = processes.gather(present_B), [processes.gather(view) for view in embedded]
        patient = processes.gather(batch.which if batch.patient is None else batch.patient)
        pairs = [patient_contrast(a, b, patient, present, self.temperature) for a, b in combinations(z, 2)]
        return {figure: torch.stack([getattr(pair, figure) for pair in pairs]).mean() for figure in Contrast._fields}

    def verdict(self, metrics: Mapping[str, float]) -> Verdict:
        """See `Objective.verdict`."""
        return judge_matching(metrics)

    def _views(self, batch: Batch) -> list[Windows]:
        """The views of each window, all of one length."""
        windows: list[Windows] = [(batch.x, batch.valid)]
        if self.positives != "leads":
            windows = [cut for window in windows for cut in _halve_time(*window, self.segment)]
        if self.positives != "segments":
            shown_BL1 = _deal_leads(batch.x)
            windows = [(x * leads, valid) for x, valid in windows for leads in (shown_BL1, ~shown_BL1)]
        return windows

    def _features(self, views: list[Windows], present_B: Tensor) -> Tensor:
        """(V * B, D) features of all views; of a window that does not count, something finite."""
        x = torch.cat([x for x, _ in views])
        valid = [valid | ~present_B[:, None] for _, valid in views if valid is not None]
        out: Tensor = self.encoder(x, torch.cat(valid) if valid else None)
        return out

    @staticmethod
    def _present(views: list[Windows], batch: Batch) -> Tensor:
        """(B,) bool, the windows of which every view shows something of the recording."""
        inside = [valid.any(dim=1) for _, valid in views if valid is not None]
        everywhere = torch.ones(len(batch.x), dtype=torch.bool, device=batch.x.device)
        return torch.stack(inside).all(dim=0) if inside else everywhere


def _halve_time(x_BLT: Tensor, valid_BT: Tensor | None, samples: int) -> list[Windows]:
    """The first `samples` of each window, and those that follow."""
    parts = [slice(0, samples), slice(samples, 2 * samples)]
    return [(x_BLT[..., part], None if valid_BT is None else valid_BT[:, part]) for part in parts]


def _deal_leads(x_BLT: Tensor) -> Tensor:
    """(B, L, 1) bool, a random half of each window's leads."""
    B, L, _ = x_BLT.shape
    rank = torch.rand(B, L, device=x_BLT.device).argsort(dim=1).argsort(dim=1)
    return (rank < L // 2)[..., None]
