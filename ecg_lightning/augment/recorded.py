"""Recorded noise: what an electrode picked up where there was no heart, mixed in at a stated signal-to-noise ratio."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ecg_lightning.augment.base import Augmentation, Drawn, Windows, centred
from ecg_lightning.data.record import BadRecord
from ecg_lightning.data.wfdb_files import WFDBFile
from ecg_lightning.errors import UserError
from ecg_lightning.signal import SignalSpec, bandpass, resample

Kind = Literal["bw", "em", "ma"]
CHANNELS = 2


class RecordedNoise(Augmentation):
    """Mixes in noise that electrodes recorded, at a stated signal-to-noise ratio.

    The noise is that of the MIT-BIH Noise Stress Test Database (Moody et al. 1984), brought to the spec's rate and band
    as a recording is. Each window gets one kind, from a place of its own; each lead one of the two recorded channels,
    either way up. The ratio of a window is 10 log10(P / N) dB, where P and N are the powers of signal and noise: the
    variance of a lead over the valid samples, in the mean over all leads. A window without signal stays as it is.

    Args:
        root: the folder of the database's files.
        snr: lowest and highest ratio, dB; each window's is drawn evenly between them. 24 to -6 dB are the published
            steps of the stress test.
        kinds: `bw` baseline wander, `em` electrode motion, `ma` muscle artefact.
        p: see `Augmentation`.

    Raises:
        UserError: the ratios do not rise, or no kind is given, or one is unknown.
    """

    noise: Tensor

    def __init__(
        self,
        root: str | Path,
        snr: tuple[float, float] = (0.0, 24.0),
        kinds: Sequence[Kind] = get_args(Kind),
        p: float = 1.0,
    ) -> None:
        super().__init__(p)
        if not snr[0] <= snr[1]:
            raise UserError(f"augment RecordedNoise: snr={list(snr)} must be two rising numbers in dB")
        unknown = [kind for kind in kinds if kind not in get_args(Kind)]
        if unknown or not kinds:
            raise UserError(f"augment RecordedNoise: kinds={list(kinds)} must be some of {', '.join(get_args(Kind))}")
        self.root, self.snr, self.kinds = Path(root), snr, tuple(kinds)

    def prepare(self, spec: SignalSpec) -> None:
        """Read the noise, see `Augmentation.prepare`.

        Raises:
            UserError: a file is missing or damaged, or holds less noise than a window.
        """
        super().prepare(spec)
        kinds = [self._read(self.root / kind, spec) for kind in self.kinds]
        samples = min(kind.shape[1] for kind in kinds)
        noise_CS = torch.from_numpy(np.concatenate([kind[:, :samples] for kind in kinds]))
        self.register_buffer("noise", noise_CS, persistent=False)

    def _read(self, path: Path, spec: SignalSpec) -> NDArray[np.float32]:
        """(2, S) noise as the spec wants a signal, each channel about 0 with standard deviation 1."""
        try:
            record = WFDBFile(path, path.name, f"nstdb/{path.name}").read()
        except BadRecord as error:
            raise UserError(f"augment RecordedNoise: {error}; {self._remedy}") from None
        if len(record.signal) != CHANNELS or not (np.ptp(record.signal, axis=1) > 0).all():  # nor are they NaN
            raise UserError(
                f"augment RecordedNoise: {path}.dat does not hold {CHANNELS} channels of noise; {self._remedy}"
            )
        noise = bandpass(resample(record.signal, record.fs, spec.fs), spec.fs, spec.band)
        if noise.shape[1] < spec.samples:
            raise UserError(f"augment RecordedNoise: {path}.dat holds {noise.shape[1] / spec.fs:.3g} s, less than a "
                            f"window of {spec.seconds:.3g} s; lower data.spec.seconds")  # fmt: skip
        level = noise - noise.mean(axis=1, keepdims=True)
        standard: NDArray[np.float32] = (level / level.std(axis=1, keepdims=True)).astype(np.float32)
        return standard

    @property
    def _remedy(self) -> str:
        return (f"fetch the noise with: python -m ecg_lightning.data.download nstdb --root {self.root.parent}, or set "
                "its root to where the files are")  # fmt: skip

    def draw(self, x_BLT: Tensor, valid_BT: Tensor | None = None) -> Drawn:
        """`kind` and `start` (B,), `channel` and `sign` (B, L), and `snr` (B,) in dB."""
        B, L, T = x_BLT.shape
        device, low, high = x_BLT.device, *self.snr
        return {
            "kind": torch.randint(len(self.kinds), (B,), device=device),
            "start": torch.randint(self.noise.shape[1] - T + 1, (B,), device=device),
            "channel": torch.randint(CHANNELS, (B, L), device=device),
            "sign": 2 * torch.randint(2, (B, L), device=device) - 1,
            "snr": low + (high - low) * torch.rand(B, device=device),
        }

    def change(self, x_BLT: Tensor, drawn: Drawn, valid_BT: Tensor | None = None) -> Windows:
        """See `Augmentation.change`."""
        row_BL = CHANNELS * drawn["kind"][:, None] + drawn["channel"]
        t_BT = drawn["start"][:, None] + torch.arange(x_BLT.shape[-1], device=x_BLT.device)
        noise_BLT = self.noise.take(row_BL[..., None] * self.noise.shape[1] + t_BT[:, None])
        noise_BLT = centred(noise_BLT * drawn["sign"][..., None], valid_BT)
        signal_power, noise_power = power(centred(x_BLT, valid_BT), valid_BT), power(noise_BLT, valid_BT)
        wanted = signal_power * 10 ** (-drawn["snr"] / 10)
        gain_B = torch.where(noise_power > 0, wanted / noise_power, 0).sqrt()
        return x_BLT + gain_B[:, None, None] * noise_BLT, valid_BT


def power(x_BLT: Tensor, valid_BT: Tensor | None) -> Tensor:
    """(B,) mean square over the valid samples and all leads, of signals that are 0 elsewhere."""
    square_B = x_BLT.square().mean(dim=1).sum(dim=-1)
    return square_B / (x_BLT.shape[-1] if valid_BT is None else valid_BT.sum(dim=-1).clamp(min=1))
