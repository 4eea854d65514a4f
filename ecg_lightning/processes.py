"""What the processes of a distributed training tell one another, with gradients; a process alone talks to nobody."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TypeVar, cast

import torch
from torch import Tensor, distributed
from torch.distributed.nn.functional import all_gather, all_reduce

T = TypeVar("T")

_apart: ContextVar[bool] = ContextVar("apart", default=False)


def count() -> int:
    """Number of processes that train together."""
    if _apart.get() or not (distributed.is_available() and distributed.is_initialized()):
        return 1
    return distributed.get_world_size()


@contextmanager
def apart() -> Iterator[None]:
    """Within it, a process is as one that trains alone: it waits for nobody and sees no rows but its own."""
    before = _apart.set(True)
    try:
        yield
    finally:
        _apart.reset(before)


def rank() -> int:
    """Number of this process, from 0."""
    return distributed.get_rank() if count() > 1 else 0


def gather(x: Tensor) -> Tensor:
    """The rows of all processes, in their order.

    The gradient of each process' rows is the sum over all processes. A loss that every process computes on the
    gathered rows, averaged over the processes as DDP does, has therefore the gradient of one process with all rows.

    Args:
        x: (B, ...) of the same shape in each process.

    Returns:
        (count * B, ...).
    """
    return x if count() == 1 else torch.cat(list(all_gather(x)))  # type: ignore[no-untyped-call]


def total(x: Tensor) -> Tensor:
    """The sum over all processes, with gradients."""
    if count() == 1:
        return x
    summed: Tensor = all_reduce(x)  # type: ignore[no-untyped-call]
    return summed


def collect(item: T) -> list[T]:
    """What every process brings, in their order; anything that can be pickled."""
    brought: list[T | None] = [item]
    if count() > 1:
        brought = [None] * count()
        distributed.all_gather_object(brought, item)
    return cast("list[T]", brought)
