"""Attentive probe: learned queries look for what matters among frozen tokens, where a mean would drown it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import AdamW
from torch.optim.lr_scheduler import OneCycleLR
from tqdm import tqdm

from ecg_lightning.data.windows import Batch, Batches
from ecg_lightning.encoders.base import Encoder
from ecg_lightning.errors import UserError
from ecg_lightning.evaluation.cell import Cell, Part, Probability
from ecg_lightning.evaluation.one_pass import device, one_pass
from ecg_lightning.evaluation.tokens import LabelledTokens, Tokens, describe_tokens
from ecg_lightning.readout import BEAT_PARTS, classification_loss, classification_probability

WINDOW_QUERIES = 2
"""For whole windows: as many features as a linear probe reads, see `readout.WINDOW_PARTS`."""

NEAR = 6.0
"""Log-odds with which a query begins to prefer its part of the beat: in 10 s, it has nine tenths of the attention."""


class AttentionPool(nn.Module):
    """Queries, each of which weighs a window's tokens by attention: their mean and standard deviation, norm, linear.

    Tokens are keys and values as they are: beside a learned query, a matrix for the keys says nothing more. At first a
    query sees all tokens of a window alike; of a beat, each sees one part, and the last all of the window. On PTB-XL's
    validation fold the standard deviation (Okabe et al. 2018) is worth .02 of macro AUROC with 100 labels.

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
        parts = BEAT_PARTS if beats else 0
        queries = parts + 1 if beats else WINDOW_QUERIES
        self.register_buffer("mean", usual.mean(dim=0))
        self.register_buffer("deviation", usual.std(dim=0, unbiased=False) + 1e-6)
        self.query = nn.Parameter(torch.zeros(queries, encoder.dim))
        self.near = nn.Parameter(NEAR * torch.eye(queries, parts))
        features = 2 * queries * encoder.dim
        self.head = nn.Sequential(nn.LayerNorm(features), nn.Linear(features, classes))

    def forward(self, tokens: Tokens) -> Tensor:
        """(B, C) logits."""
        t_BND = (tokens.t - self.mean) / self.deviation
        score_BQN = self.query @ t_BND.mT / t_BND.shape[-1] ** 0.5 + self.near @ tokens.place
        attention_BQN = score_BQN.masked_fill(~tokens.valid[:, None], -torch.inf).softmax(dim=-1)
        mean_BQD = attention_BQN @ t_BND
        variance_BQD = (attention_BQN @ t_BND.square() - mean_BQD.square()).clamp(min=0)
        spread_BQD = (variance_BQD + 1e-6).sqrt()  # a root whose gradient is finite at 0
        logits: Tensor = self.head(torch.cat([mean_BQD, spread_BQD], dim=-1).flatten(1))
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
            labelled = LabelledTokens(cell)
            beats = cell.train.examples.span is not None
            pool = AttentionPool(encoder, beats, len(cell.data.classes), labelled.usual()).to(device())
            loss = self._train(pool, labelled, cell.model_seed)
        multi_label = labelled.y.ndim == 2
        return AttentiveFit(encoder, pool, multi_label, {"steps": self.steps, "train_loss": loss})

    def _train(self, pool: AttentionPool, labelled: LabelledTokens, seed: int) -> float:
        """Returns the last step's loss."""
        optimizer = AdamW(pool.parameters(), self.lr, weight_decay=self.weight_decay)
        schedule = OneCycleLR(optimizer, self.lr, total_steps=self.steps)
        batches = Batches(len(labelled.y), self.batch_size, shuffle=True, seed=seed, at_least=self.steps)
        loss = torch.tensor(torch.nan)
        for draw in tqdm(islice(batches, self.steps), total=self.steps, desc="attentive probe", unit=" steps"):
            loss = classification_loss(pool(labelled.tokens(draw.which)), labelled.y[draw.which])
            optimizer.zero_grad()
            torch.autograd.backward(loss)
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
            return classification_probability(
                self.pool(describe_tokens(self.encoder, batch)).float(), self.multi_label
            ).cpu()

        return torch.cat(one_pass(part, self.encoder, say, f"predicting {part.label}")).double().numpy()
