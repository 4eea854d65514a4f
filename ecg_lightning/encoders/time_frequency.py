"""Images of a signal: how much of each frequency it holds at each time."""

from __future__ import annotations

import math
from abc import abstractmethod
from bisect import bisect
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ecg_lightning.errors import UserError
from ecg_lightning.signal import SignalSpec

HOP_SECONDS = 0.04
"""From one frame to the next: half of a narrow QRS complex."""

HIGHEST_HZ = 40.0
"""Above it lie the mains and muscle noise."""

LOWEST_HZ = 0.5
FEWEST_PERIODS = 2
"""Of the lowest wave that fit into a window."""

FLOOR = 0.02
"""4 uV where the signal is scaled by 0.2 mV: magnitudes well below it are silence, those above count by their
logarithm."""

SPREAD = math.sqrt(1.5 / 2)
"""Standard deviation of a Morlet wavelet's envelope, in periods of its wave: `cmor1.5-1.0` of PyWavelets."""

REACH = 5.0
"""Standard deviations after which a Gaussian counts as nothing."""


class TimeFrequency(nn.Module):
    """A front end without weights: (B, L, T) float32 to images (B, L, F, N) on the same device.

    There is a frame for every share of about `HOP_SECONDS`, `N = ceil(T / hop)`, centred on the share. A frame sees 0
    beyond the ends of the window. In every row a sine of the row's frequency and of amplitude A has magnitude A, and
    the image holds `log(1 + magnitude / FLOOR)`: silence is 0.

    Args:
        spec: the signal, of any length.
        hz: see the attribute.

    Attributes:
        hop: samples between frames.
        hz: (F,) frequencies of the rows, rising.
    """

    hz: Tensor

    def __init__(self, spec: SignalSpec, hz: Sequence[float]) -> None:
        super().__init__()
        self.fs, self.hop = spec.fs, hop_samples(spec.fs)
        self.register_buffer("hz", torch.tensor(hz), persistent=False)

    @abstractmethod
    def magnitude(self, x_BLT: Tensor) -> Tensor:
        """(B, L, T) to (B, L, F, N), not negative."""

    def forward(self, x_BLT: Tensor) -> Tensor:
        """(B, L, T) to (B, L, F, N)."""
        return torch.log1p(self.magnitude(x_BLT) / FLOOR)


def hop_samples(fs: float) -> int:
    """Samples of a frame's share."""
    return max(1, round(HOP_SECONDS * fs))


class STFT(TimeFrequency):
    """Short-time Fourier transform: frames of one length under a Hann window (Allen 1977).

    Rows lie `1 / frame_seconds` apart, from 0 Hz to `HIGHEST_HZ`, or below half of the rate.

    Args:
        spec: the signal.
        frame_seconds: length of a frame.

    Raises:
        UserError: a frame is shorter than two hops, or longer than the window.
    """

    def __init__(self, spec: SignalSpec, frame_seconds: float) -> None:
        frame = 2 * round(frame_seconds * spec.fs / 2)  # even: a periodic Hann window then peaks on a sample
        if frame < 2 * hop_samples(spec.fs):
            raise UserError(f"encoder.frame_seconds={frame_seconds} must be {2 * HOP_SECONDS} or more")
        if frame > spec.samples:
            raise UserError(
                f"a window of {spec.samples} samples is too short for frames of {frame}; raise data.spec.seconds or "
                f"lower encoder.frame_seconds={frame_seconds}"
            )
        hz = (row * spec.fs / frame for row in range(frame // 2))
        super().__init__(spec, [each for each in hz if each <= HIGHEST_HZ])
        self.frame = frame

    def magnitude(self, x_BLT: Tensor) -> Tensor:
        """See `TimeFrequency.magnitude`."""
        B, L, T = x_BLT.shape
        N, before = -(-T // self.hop), self.frame // 2 - self.hop // 2
        padded = F.pad(x_BLT.flatten(0, 1), (before, (N - 1) * self.hop + self.frame - before - T))
        window = torch.hann_window(self.frame, dtype=x_BLT.dtype, device=x_BLT.device)
        spectrum = torch.stft(padded, self.frame, self.hop, window=window, center=False, return_complex=True)
        rows = spectrum[:, : len(self.hz)].abs() * (2 / window.sum())
        rows[:, 0] /= 2  # 0 Hz has no negative twin
        return rows.view(B, L, -1, N)


class Morlet(TimeFrequency):
    """Continuous wavelet transform with complex Morlet wavelets: the scalogram (Torrence and Compo 1998).

    Rows are spaced evenly in log frequency, from `LOWEST_HZ`, or what has `FEWEST_PERIODS` in a window, to
    `HIGHEST_HZ` or half of the rate. The wavelets are Gaussians in frequency and the transform a product there, taken
    only at frequencies that a row sees, and brought back only at the frames: the cost does not grow with the rate.

    Args:
        spec: the signal.
        rows: `F`.

    Raises:
        UserError: there are fewer than two rows, or less than an octave for them.
    """

    def __init__(self, spec: SignalSpec, rows: int) -> None:
        if rows < 2:
            raise UserError(f"encoder.rows={rows} must be at least 2")
        low, high = max(LOWEST_HZ, FEWEST_PERIODS / spec.seconds), min(HIGHEST_HZ, spec.fs / 2)
        if high < 2 * low:
            raise UserError(
                f"a window of {spec.samples} samples at {spec.fs:g} Hz is too short for wavelets: it holds "
                f"{FEWEST_PERIODS} periods of {low:g} Hz, and {high:g} Hz is the highest; raise data.spec.seconds"
            )
        hz = [low * (high / low) ** (row / (rows - 1)) for row in range(rows)]
        super().__init__(spec, hz)
        self.upto = [each * (1 + REACH / (2 * math.pi * SPREAD)) for each in hz]  # below the rate
        self.longest = math.ceil(REACH * SPREAD * spec.fs / low)  # samples from a wavelet's centre to its end

    def magnitude(self, x_BLT: Tensor) -> Tensor:
        """See `TimeFrequency.magnitude`."""
        T, N = x_BLT.shape[-1], -(-x_BLT.shape[-1] // self.hop)
        around = 32 * -(-(N + self.longest // self.hop + 1) // 32)  # frames on a circle; whole 32s have a quick FFT
        n, band_hz = around * self.hop, self.fs / self.hop
        centred = F.pad(x_BLT, (0, n - T)).roll(-(self.hop // 2), dims=-1)
        spectrum = torch.fft.fft(centred)[:, :, None]
        # Every hop-th sample of a signal has the bands of its spectrum on top of one another.
        folded = spectrum[..., :around] * self._gain(0, around, first=0)
        for band in range(1, math.ceil(self.upto[-1] / band_hz)):
            first = bisect(self.upto, band * band_hz)
            part = spectrum[..., band * around : (band + 1) * around]
            folded[:, :, first:] += part * self._gain(band, around, first)
        at_frames: Tensor = torch.fft.ifft(folded)[..., :N]
        return at_frames.abs() / self.hop

    def _gain(self, band: int, around: int, first: int) -> Tensor:
        """(F - first, around) what the wavelets from some row on let pass of a band."""
        hz_K = (band + torch.arange(around, device=self.hz.device) / around) * (self.fs / self.hop)
        return 2 * torch.exp(-(2 * math.pi * SPREAD * (hz_K / self.hz[first:, None] - 1)).square() / 2)
