"""Images of a signal: how much of each frequency it holds at each time."""

from __future__ import annotations

import math
from abc import abstractmethod

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

REACH = 4.0
"""Standard deviations after which a Gaussian counts as nothing."""


class TimeFrequency(nn.Module):
    """A front end without weights: (B, L, T) float32 to images (B, L, F, N) on the same device.

    There is a frame for every share of about `HOP_SECONDS`, `N = ceil(T / hop)`, centred on the share. A frame sees 0
    beyond the ends of the window. In every row a sine of the row's frequency and of amplitude A has magnitude A, and
    the image holds `log(1 + magnitude / FLOOR)`: silence is 0.

    Args:
        spec: the signal, of any length; its rate sets hop and rows.

    Attributes:
        hop: samples between frames.
        hz: (F,) frequencies of the rows, rising.
    """

    hz: Tensor

    def __init__(self, spec: SignalSpec, hz_F: Tensor) -> None:
        super().__init__()
        self.fs, self.hop = spec.fs, hop_samples(spec.fs)
        self.register_buffer("hz", hz_F, persistent=False)

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

    Rows lie `1 / frame_seconds` apart, from 0 Hz to `HIGHEST_HZ` or half of the rate.

    Args:
        spec: the signal.
        frame_seconds: length of a frame.

    Raises:
        UserError: a frame is shorter than two hops, or longer than the window.
    """

    def __init__(self, spec: SignalSpec, frame_seconds: float) -> None:
        self.frame = round(frame_seconds * spec.fs)
        if self.frame < 2 * hop_samples(spec.fs):
            raise UserError(f"encoder.frame_seconds={frame_seconds} must be {2 * HOP_SECONDS} or more")
        if self.frame > spec.samples:
            raise UserError(
                f"a window of {spec.samples} samples is too short for frames of {self.frame}; raise data.spec.seconds "
                f"or lower encoder.frame_seconds={frame_seconds}"
            )
        hz_F = torch.arange(self.frame // 2 + 1) * spec.fs / self.frame
        super().__init__(spec, hz_F[hz_F <= HIGHEST_HZ])

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
        super().__init__(spec, torch.logspace(math.log10(low), math.log10(high), rows))
        self.longest = math.ceil(REACH * SPREAD * spec.fs / low)  # samples from a wavelet's centre to its end

    def magnitude(self, x_BLT: Tensor) -> Tensor:
        """See `TimeFrequency.magnitude`."""
        T, N = x_BLT.shape[-1], -(-x_BLT.shape[-1] // self.hop)
        around = 32 * -(-(N + self.longest // self.hop + 1) // 32)  # frames on a circle; whole 32s have a quick FFT
        n = around * self.hop
        centred = F.pad(x_BLT, (0, n - T)).roll(-(self.hop // 2), dims=-1)
        highest = float(self.hz[-1]) * (1 + REACH / (2 * math.pi * SPREAD))
        bins = min(n // 2, math.ceil(highest * n / self.fs))
        bands = -(-bins // around)
        spectrum = F.pad(torch.fft.rfft(centred)[..., :bins], (0, bands * around - bins))
        hz_K = torch.arange(bands * around, device=x_BLT.device) * (self.fs / n)
        gain_FK = 2 * torch.exp(-(2 * math.pi * SPREAD * (hz_K / self.hz[:, None] - 1)).square() / 2)
        # Every hop-th sample of a signal has the spectrum's bands on top of one another.
        folded = (spectrum[:, :, None] * gain_FK).view(*x_BLT.shape[:2], -1, bands, around).sum(dim=-2)
        at_frames: Tensor = torch.fft.ifft(folded)[..., :N]
        return at_frames.abs() / self.hop
