"""Windows that are easy to tell apart, for tests of what learns from them."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecg_lightning.data.module import ECGDataModule, Examples


class Windows(ECGDataModule):
    """Windows of one's own, half of them for training and half for the test.

    Args:
        spec: of the signals.
        signals: (N, T, L) int16, thousandths of a millivolt.
        y: (N,) labels.
        span: (N, 2) where the beats lie, None for whole windows.
    """

    classes = ("slow", "fast")

    def __init__(
        self, spec: Any, signals: NDArray[np.int16], y: NDArray[Any], span: NDArray[np.int64] | None = None
    ) -> None:
        super().__init__(name="windows", root=".", spec=spec)
        self.y, self.span, n = y, span, len(y)
        vars(self)["store"] = SimpleNamespace(
            signals=signals.reshape(-1, len(spec.leads)),
            start=np.arange(n) * spec.samples,
            length=np.full(n, spec.samples),
            patient=np.arange(n).astype(str),
            person=np.arange(n),
            fingerprint="windows",
            scale=1000.0,
        )

    def records(self) -> Any:
        raise NotImplementedError

    def split_of_records(self, store: Any) -> Any:
        n = len(store.patient)
        return np.where(np.arange(n) < n // 2, 0, 2).astype(np.int8)

    def examples(self, store: Any) -> Examples:
        row = np.arange(len(store.patient))
        return Examples(row, 0 * row, self.y, self.split_of_records(store), self.span)


def waves(spec: Any, n: int = 80) -> Windows:
    """Slow and fast waves of random phase under noise: easy to tell apart, though not by their mean."""
    rng = np.random.default_rng(0)
    y = np.arange(n) % 2
    time = np.arange(spec.samples) / spec.fs
    phase = rng.uniform(0, 2 * np.pi, (n, 1, len(spec.leads)))
    wave = np.sin(2 * np.pi * np.where(y, 7.0, 2.0)[:, None, None] * time[:, None] + phase)
    return Windows(spec, (200 * wave + rng.normal(scale=20, size=wave.shape)).astype(np.int16), y)
