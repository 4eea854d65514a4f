"""One pass of a network over examples, in their order and without gradients."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import torch
from torch import nn
from tqdm import tqdm

from ecg_lightning.data.windows import Batch, to_signal
from ecg_lightning.evaluation.cell import Part

Said = TypeVar("Said")


def device() -> torch.device:
    """The accelerator, where there is one."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def one_pass(part: Part, network: nn.Module, say: Callable[[Batch], Said], label: str) -> list[Said]:
    """What a network says of each batch of a part, with a progress bar.

    Args:
        part: the examples, in their condition.
        network: moved to `device()` and put in evaluation mode.
        say: asks it about one batch, which lies there too.
        label: of the bar.

    Returns:
        What it said, one for each batch.
    """
    network.to(device()).eval()
    said = []
    with (
        torch.inference_mode(),
        part.condition.drawing(),
        tqdm(total=len(part), desc=label, unit=" windows") as bar,
    ):
        for raw in part.data.loader(part.data.windows(part.examples), shuffle=False):
            batch = to_signal(raw.to(device()), part.data.spec, part.condition)
            said.append(say(batch))
            bar.update(len(batch.x))
    return said
