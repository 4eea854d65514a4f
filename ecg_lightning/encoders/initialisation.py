"""Initial weights."""

from __future__ import annotations

from torch import nn


def he_normal(module: nn.Module) -> None:
    """Weights that keep the spread of a signal through ReLUs (He et al. 2015), biases 0; for `nn.Module.apply`."""
    if isinstance(module, nn.Conv1d | nn.Conv2d | nn.Linear):
        nn.init.kaiming_normal_(module.weight)
        if module.bias is not None:
            nn.init.zeros_(module.bias)


def glorot_uniform(module: nn.Module) -> None:
    """Weights of Glorot and Bengio 2010, biases 0, as Keras draws them; for `nn.Module.apply`."""
    if isinstance(module, nn.Conv1d | nn.Linear):
        nn.init.xavier_uniform_(module.weight)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
