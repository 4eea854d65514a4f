"""What encoders have in common that flatten a window, and so take one length alone."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence

from torch import Tensor

from ecg_lightning.encoders.base import Encoder
from ecg_lightning.errors import UserError


class WholeWindowEncoder(Encoder):
    """An encoder that describes a window of `spec.samples` by a single token."""

    @abstractmethod
    def describe(self, x_BLT: Tensor) -> Tensor:
        """(B, L, spec.samples) to (B, D)."""

    def tokens(self, x_BLT: Tensor, valid_BT: Tensor | None = None) -> Tensor:
        """See `Encoder.tokens`; N is 1, and the padding of a short recording is part of the description.

        Raises:
            UserError: T is not `spec.samples`.
        """
        del valid_BT
        if x_BLT.shape[-1] != self.spec.samples:
            raise UserError(
                f"a window of {x_BLT.shape[-1]} samples: {type(self).__name__} takes {self.spec.samples} alone, the "
                "length it was made for (data.spec.seconds); take a recurrent or convolutional encoder, or a ViT"
            )
        return self.describe(x_BLT)[:, None]

    def fit_length(self, samples: int) -> int:
        """See `Encoder.fit_length`; always `spec.samples`."""
        del samples
        return self.spec.samples


def remaining_length(samples: int, layers: Sequence[tuple[int, int]]) -> int:
    """How much convolutions and poolings without padding leave of a window.

    Args:
        samples: length of the window.
        layers: kernel and stride of each, in order.

    Raises:
        UserError: nothing is left.
    """
    length, shortest = samples, 1
    for kernel, stride in layers:
        length = (length - kernel) // stride + 1
    for kernel, stride in reversed(layers):
        shortest = (shortest - 1) * stride + kernel
    if samples < shortest:
        raise UserError(
            f"a window of {samples} samples is too short for this encoder, which pools at least {shortest} to one; "
            "raise spec.samples (data.spec.seconds or data.spec.fs)"
        )
    return length
