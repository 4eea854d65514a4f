"""Attentive probe: learned queries look for what matters among frozen tokens, where a mean would drown it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.optim import AdamW
from torch.optim.lr_scheduler import OneCycleLR
from tqdm import tqdm

from ecg_lightning.data.windows import Batch, Batches, Draw, to_signal
from ecg_lightning.encoders.base import Encoder, token_validity
from ecg_lightning.errors import UserError
from ecg_lightning.evaluation.cell import Cell, Part, Probability
from ecg_lightning.evaluation.one_pass import device, one_pass
from ecg_lightning.readout import (
    BEAT_PARTS,
    Head,
    classification_loss,
    classification_probability,
    coverage,
    split_span,
    width,
)

KEPT_BYTES = 2 << 30
"""Tokens that are kept in memory; where there are more, each batch is embedded again when its turn comes."""

MEASURED = 256
"""Labelled windows whose tokens tell the usual mean and spread."""

NEAR = 6.0
"""Log-odds with which a query begins to prefer its part of the beat: about nine tenths of its attention lie there."""


class Tokens(NamedTuple):
    """What an encoder says along time.

    Attributes:
        t: (B, N, D) tokens.
        valid: (B, N) bool, those that see a sample of the recording.
        place: (B, K, N) how much of each part of the beat a token covers, 1 for the most of all tokens; K is
            `BEAT_PARTS`, or 0 where the whole window is meant.
    """

    t: Tensor
    valid: Tensor
    place: Tensor

    def take(self, which: Tensor) -> Tokens:
        """Those of some windows."""
        return Tokens(*(each[which] for each in self))


class AttentionPool(nn.Module):
    """Queries, each of which describes a window by a mean of its tokens weighted by attention; then norm and linear.

    With one learned query a head, keys and values need no matrices of their own: that of the keys is part of the query,
    that of the values part of the linear layer. Queries begin as zeros, so that each takes the mean of all tokens, or
    of those of one part of the beat; there are as many as `read_out` has ways to describe a window or a beat.

    Args:
        encoder: whose tokens are read.
        beats: whether examples are beats within their windows.
        classes: `C`.
        usual: tokens (M, D), whose mean and standard deviation, feature by feature, become 0 and 1.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, encoder: Encoder, beats: bool, classes: int, usual: Tensor) -> None:
        super().__init__()
        heads, parts = width(encoder, beats) // encoder.dim, BEAT_PARTS if beats else 0
        self.register_buffer("mean", usual.mean(dim=0))
        self.register_buffer("deviation", usual.std(dim=0, unbiased=False) + 1e-6)
        self.query = nn.Parameter(torch.zeros(heads, encoder.dim))
        self.near = nn.Parameter(NEAR * torch.eye(heads, parts))
        self.head = Head(encoder, beats, classes)

    def forward(self, tokens: Tokens) -> Tensor:
        """(B, C) logits."""
        t_BND = (tokens.t - self.mean) / self.deviation
        score_BHN = self.query @ t_BND.mT / t_BND.shape[-1] ** 0.5 + self.near @ tokens.place
        attention_BHN = score_BHN.masked_fill(~tokens.valid[:, None], -torch.inf).softmax(dim=-1)
        logits: Tensor = self.head((attention_BHN @ t_BND).flatten(1))
        return logits


class Attentive:
    """Attention pooling on the tokens of a frozen encoder (El-Nouby et al. 2024, "AIM"; Bardes et al. 2024, "V-JEPA").

    The encoder is run once for each labelled window, unless their tokens are more than fit in memory. All numbers are
    fixed beforehand.

    Args:
        steps: optimiser steps.
        batch_size: labelled windows a step, at most.
        lr: peak learning rate, of one cycle.
        weight_decay: of AdamW.

    Raises:
        UserError: a number is out of range.
    """

    def __init__(self, steps: int, batch_size: int, lr: float, weight_decay: float) -> None:
        for key, value, least in (("steps", steps, 1), ("batch_size", batch_size, 1), ("lr", lr, 0),
                                  ("weight_decay", weight_decay, 0)):  # fmt: skip
            if value < least:
                raise UserError(f"protocol.method.{key}={value} must be {least} or more")
        self.steps, self.batch_size, self.lr, self.weight_decay = steps, batch_size, lr, weight_decay

    def fit(self, cell: Cell) -> AttentiveFit:
        """See `EvaluationProtocol`."""
        encoder = cell.checkpoint.encoder
        with torch.random.fork_rng():
            torch.manual_seed(cell.model_seed)
            labelled = _Labelled(cell)
            beats = cell.train.examples.span is not None
            pool = AttentionPool(encoder, beats, len(cell.data.classes), labelled.usual()).to(device())
            loss = self._train(pool, labelled, cell.model_seed)
        multi_label = labelled.y.ndim == 2
        return AttentiveFit(encoder, pool, multi_label, {"steps": self.steps, "train_loss": loss})

    def _train(self, pool: AttentionPool, labelled: _Labelled, seed: int) -> float:
        """Returns the last step's loss."""
        optimizer = AdamW(pool.parameters(), self.lr, weight_decay=self.weight_decay)
        schedule = OneCycleLR(optimizer, self.lr, total_steps=self.steps)
        batches = Batches(len(labelled.y), self.batch_size, shuffle=True, seed=seed, at_least=self.steps)
        loss = torch.tensor(torch.nan)
        for draw in tqdm(islice(batches, self.steps), total=self.steps, desc="attentive probe", unit=" steps"):
            loss = classification_loss(pool(labelled.tokens(draw.which)), labelled.y[draw.which])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
        return loss.item()


@dataclass(frozen=True)
class AttentiveFit:
    """See `Fitted`.

    Attributes:
        encoder: the frozen one.
        pool: what was learned.
        multi_label: whether an example may carry several labels.
        details: see `Fitted`.
    """

    encoder: Encoder
    pool: AttentionPool
    multi_label: bool
    details: Mapping[str, Any]

    def predict(self, part: Part) -> Probability:
        """See `Fitted`."""

        def say(batch: Batch) -> Tensor:
            return classification_probability(self.pool(describe(self.encoder, batch)).float(), self.multi_label).cpu()

        return torch.cat(one_pass(part, self.encoder, say, f"predicting {part.label}")).double().numpy()


def describe(encoder: Encoder, batch: Batch) -> Tokens:
    """The tokens of a batch, and where its beats lie among them."""
    t_BND = encoder.tokens(batch.x, batch.valid)
    B, N, _ = t_BND.shape
    valid_BN = token_validity(batch.valid, N)
    if valid_BN is None:
        valid_BN = torch.ones(B, N, dtype=torch.bool, device=t_BND.device)
    if batch.span is None:
        return Tokens(t_BND, valid_BN, t_BND.new_zeros(B, 0, N))
    place_BKN = coverage(split_span(batch.span, BEAT_PARTS), N, batch.x.shape[-1]).to(t_BND)
    return Tokens(t_BND, valid_BN, place_BKN / place_BKN.amax(dim=-1, keepdim=True).clamp(min=1e-12))


class _Labelled:
    """The labelled windows of a budget: their labels, and their tokens, kept or computed when they are asked for."""

    def __init__(self, cell: Cell) -> None:
        index = np.sort(cell.budget)
        examples = cell.train.examples.take(np.isin(np.arange(len(cell.train)), index))
        self.encoder, self.part = cell.checkpoint.encoder, Part(cell.data, examples, "labelled windows", cell.condition)
        y = torch.from_numpy(cell.labels[index].astype(np.int64)).to(device())
        self.y = y.float() if y.ndim == 2 else y
        self._windows = cell.data.windows(self.part.examples)
        self._kept: Tokens | None = None
        if len(index) * sum(each.nbytes for each in self.tokens(np.arange(1))) <= KEPT_BYTES:
            self._kept = self._all()

    def tokens(self, which: NDArray[np.int64]) -> Tokens:
        """Those of some windows, by their numbers."""
        if self._kept is not None:
            return self._kept.take(torch.from_numpy(which).to(device()))
        raw = self._windows[Draw(which, np.full(len(which), 0.5))]
        with torch.no_grad():
            encoder = self.encoder.to(device()).eval()
            return describe(encoder, to_signal(raw.to(device()), self.part.data.spec, self.part.condition))

    def usual(self) -> Tensor:
        """(M, D) tokens of windows spread evenly over all there are."""
        some = np.unique(np.linspace(0, len(self.y) - 1, MEASURED).astype(np.int64))
        tokens = self.tokens(some)
        return tokens.t[tokens.valid]

    def _all(self) -> Tokens:
        parts = one_pass(self.part, self.encoder, lambda batch: describe(self.encoder, batch), "embedding labelled")
        return Tokens(*map(torch.cat, zip(*parts, strict=True)))
