"""The teacher of BYOL and JEPA: a network that follows another as an exponential moving average."""

from __future__ import annotations

import math
from copy import deepcopy

import torch
from torch import Tensor, nn
from torch.func import functional_call


def follow(student: nn.Module) -> nn.Module:
    """A copy of a network, to be moved by `move` alone: no gradient reaches it."""
    return deepcopy(student).requires_grad_(False)


@torch.no_grad()
def move(teacher: nn.Module, student: nn.Module, momentum: float) -> None:
    """Move all that a teacher is made of towards its student: weights, biases and the buffers of its norms.

    Args:
        teacher: becomes `momentum * teacher + (1 - momentum) * student`; whole numbers are copied.
        student: of the same architecture.
        momentum: share of the old teacher that stays.
    """
    theirs = student.state_dict()
    for key, value in teacher.state_dict().items():
        if value.is_floating_point():
            value.lerp_(theirs[key].to(value), 1 - momentum)
        else:
            value.copy_(theirs[key])


def momentum_at(progress: float, start: float, end: float = 1.0) -> float:
    """The momentum at a share of all steps, from `start` to `end` along half a cosine (Grill et al. 2020)."""
    return end - (end - start) * (1 + math.cos(math.pi * min(1.0, progress))) / 2


@torch.no_grad()
def answer(teacher: nn.Module, *inputs: Tensor | None) -> Tensor:
    """What a teacher says; its norms take no note of what they see, for their buffers follow the student's."""
    buffers = {name: buffer.clone() for name, buffer in teacher.named_buffers()}
    said: Tensor = functional_call(teacher, buffers, inputs)
    return said
