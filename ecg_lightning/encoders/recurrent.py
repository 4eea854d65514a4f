"""How a recurrent network reads a recording that lies somewhere in its window."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def read_from_start(recurrent: nn.LSTM, z_BNE: Tensor, valid_BN: Tensor | None) -> Tensor:
    """States of an LSTM, (B, N, D), that reads every recording from its own first token on.

    Args:
        recurrent: with `batch_first`.
        z_BNE: (B, N, E) tokens.
        valid_BN: (B, N) bool, those inside the recording, which see no other; None where all are.
    """
    if valid_BN is None:
        states: Tensor = recurrent(z_BNE)[0]
        return states
    first_B = valid_BN.int().argmax(dim=1)
    return _later(recurrent(_later(z_BNE, -first_B))[0], first_B)


def _later(t_BND: Tensor, by_B: Tensor) -> Tensor:
    """Move each row's tokens later by a number of its own; what leaves at the end comes back at the beginning."""
    N = t_BND.shape[1]
    source_BN = (torch.arange(N, device=t_BND.device) - by_B[:, None]) % N
    return t_BND.take_along_dim(source_BN[..., None], dim=1)
