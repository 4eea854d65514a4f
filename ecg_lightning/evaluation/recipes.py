"""Recipes of fine-tuning: how fast each depth of an encoder learns, and whether its head goes ahead."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from torch import nn

from ecg_lightning.encoders.base import Encoder

RecipeName = Literal["full", "discriminative", "layerwise", "head_first"]


class Stage(NamedTuple):
    """A part of a training, with a learning rate that rises and falls once.

    Attributes:
        steps: optimiser steps.
        head_alone: whether the encoder stays as it is.
    """

    steps: int
    head_alone: bool


@dataclass(frozen=True)
class Recipe:
    """Learning rates fall from the head towards the input, by one factor from group to group.

    Attributes:
        decay: the factor.
        groups: into how many groups the encoder's layers are divided, as even as can be; None for each by itself.
        head_alone: share of all steps in which the head learns on a frozen encoder, before both learn.
    """

    decay: float
    groups: int | None = 1
    head_alone: float = 0.0

    def stages(self, steps: int) -> Iterator[Stage]:
        """Cut a training of so many steps, one at least, into its stages."""
        ahead = round(self.head_alone * steps)
        if ahead:
            yield Stage(ahead, head_alone=True)
        if steps > ahead:
            yield Stage(steps - ahead, head_alone=False)

    def rates(self, encoder: Encoder) -> list[tuple[list[nn.Parameter], float]]:
        """The encoder's parameters by depth, from the input on, and their rates as shares of the head's."""
        groups = depth_groups(encoder, self.groups)
        return [(group, self.decay ** (len(groups) - number)) for number, group in enumerate(groups)]


RECIPES: dict[RecipeName, Recipe] = {
    "full": Recipe(decay=1.0),
    "discriminative": Recipe(decay=0.1),
    "layerwise": Recipe(decay=0.65, groups=None),
    "head_first": Recipe(decay=0.1, groups=2, head_alone=0.5),
}
"""`full` trains all at one rate. `discriminative` spares the encoder (Howard & Ruder 2018). `layerwise` spares each
layer more than the one above it, by the factor of vision transformers (Bao et al. 2022). `head_first` fits the head
before it can spoil the features (Kumar et al. 2022), then trains all at rates that are to one another as published for
ECG: the encoder's upper half learns at a tenth of the head's, its lower half at a hundredth (Mehari & Strodthoff 2022).
"""


def depth_groups(encoder: Encoder, count: int | None) -> list[list[nn.Parameter]]:
    """An encoder's parameters by depth, from the input to the output, each in one group.

    Args:
        encoder: says in which order its layers lie.
        count: groups of as even numbers of layers as can be, no more than there are layers; None for one a layer.
    """
    layers = [layer for layer in map(_parameters, encoder.depth_order()) if layer]
    layers[0] = [*encoder.parameters(recurse=False), *layers[0]]
    parts = np.array_split(np.arange(len(layers)), min(count or len(layers), len(layers)))
    return [[parameter for number in part for parameter in layers[number]] for part in parts]


def _parameters(layer: nn.Module) -> list[nn.Parameter]:
    return list(layer.parameters())
