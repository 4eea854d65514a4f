"""What a frozen encoder says along time of windows that carry labels: computed once, where it fits in memory."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ecg_lightning.data.windows import Batch, Draw, to_signal
from ecg_lightning.encoders.base import Encoder, token_validity
from ecg_lightning.evaluation.cell import Cell, Part
from ecg_lightning.evaluation.one_pass import device, one_pass
from ecg_lightning.readout import BEAT_PARTS, coverage, split_span

KEPT_BYTES = 2 << 30
"""Tokens that are kept in memory; where there are more, each batch is embedded again when its turn comes."""

MEASURED = 256
"""Labelled windows whose tokens tell the usual mean and spread."""


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


def describe_tokens(encoder: Encoder, batch: Batch) -> Tokens:
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


class LabelledTokens:
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
            return describe_tokens(encoder, to_signal(raw.to(device()), self.part.data.spec, self.part.condition))

    def usual(self) -> Tensor:
        """(M, D) tokens of windows spread evenly over all there are."""
        some = np.unique(np.linspace(0, len(self.y) - 1, MEASURED).astype(np.int64))
        tokens = self.tokens(some)
        return tokens.t[tokens.valid]

    def _all(self) -> Tokens:
        parts = one_pass(
            self.part, self.encoder, lambda batch: describe_tokens(self.encoder, batch), "embedding labelled"
        )
        return Tokens(*map(torch.cat, zip(*parts, strict=True)))
