"""Each augmentation beside what it does to one window, written from its definition in float64, one sample at a time."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ecg_lightning.augment.base import Augmentation
from ecg_lightning.augment.baseline_shift import BaselineShift
from ecg_lightning.augment.baseline_wander import BaselineWander
from ecg_lightning.augment.blur import Blur
from ecg_lightning.augment.crop import RandomResizedCrop
from ecg_lightning.augment.emg import EMG
from ecg_lightning.augment.gaussian_noise import GaussianNoise
from ecg_lightning.augment.lead_dropout import LeadDropout
from ecg_lightning.augment.lead_scaling import LeadScaling
from ecg_lightning.augment.powerline import Powerline
from ecg_lightning.augment.time_warp import TimeWarp
from ecg_lightning.augment.timeout import TimeOut
from ecg_lightning.augment.vectorcardiogram import VCGRotation
from ecg_lightning.leads import TWELVE_LEADS
from ecg_lightning.signal import SignalSpec

FS = 250.0
Signal = NDArray[np.float64]
Numbers = Mapping[str, NDArray[np.generic]]


def spec(samples: int, leads: int = 12, fs: float = FS) -> SignalSpec:
    return SignalSpec(fs, TWELVE_LEADS[:leads], samples)


def windows(B: int, L: int, T: int, seed: int, padded: bool = True) -> tuple[Tensor, Tensor | None]:
    """Random signals, 0 outside one stretch of each window."""
    rng = np.random.default_rng(seed)
    x_BLT = torch.from_numpy(rng.normal(size=(B, L, T)).astype(np.float32))
    if not padded:
        return x_BLT, None
    first, last = np.sort(rng.integers(0, T, size=(2, B)), axis=0)
    t_T = np.arange(T)
    valid_BT = torch.from_numpy((t_T >= first[:, None]) & (t_T <= last[:, None]))
    return x_BLT * valid_BT[:, None], valid_BT


def crop(x: Signal, n: Numbers) -> Signal:
    last = x.shape[1] - 1
    begin, end = (last * float(n["place"]) * (1 - n["share"]) + last * n["share"] * side for side in (0, 1))
    at = np.linspace(begin, end, x.shape[1])
    return np.stack([np.interp(at, np.arange(x.shape[1]), lead) for lead in x])


def time_out(x: Signal, n: Numbers) -> Signal:
    silent = int(np.float32(n["share"]) * np.float32(x.shape[1]))
    first = int(np.float32(n["place"]) * np.float32(x.shape[1] - silent + 1))
    out = x.copy()
    out[:, first : first + silent] = 0
    return out


def time_warp(x: Signal, n: Numbers) -> Signal:
    last, position = x.shape[1] - 1, [0.0]
    for t in range(last):
        pace = 0.0
        for place, log_speed in zip(n["place"], n["pace"], strict=True):
            away = (t - place * last) / FS / 0.02
            pace += log_speed * (math.cos(math.pi / 2 * away) ** 2 if abs(away) < 1 else 0.0)
        position.append(position[-1] + math.exp(pace))
    at = np.array(position) * (last / position[-1] if last else 1.0)
    return np.stack([np.interp(at, np.arange(x.shape[1]), lead) for lead in x])


def blur(x: Signal, n: Numbers) -> Signal:
    out = np.zeros_like(x)
    for t in range(x.shape[1]):
        near = {
            k: w for k, w in zip(range(t - 2, t + 3), (0.1, 0.2, 0.4, 0.2, 0.1), strict=True) if 0 <= k < x.shape[1]
        }
        out[:, t] = sum(weight * x[:, k] for k, weight in near.items()) / sum(near.values())
    return out


def lead_scaling(x: Signal, n: Numbers) -> Signal:
    return np.stack([lead * factor for lead, factor in zip(x, n["factor"], strict=True)])


def lead_dropout(x: Signal, n: Numbers) -> Signal:
    return np.stack([lead if luck >= 0.5 or i == n["spared"] else 0 * lead
                     for i, (lead, luck) in enumerate(zip(x, n["luck"], strict=True))])  # fmt: skip


def rotate(x: Signal, n: Numbers) -> Signal:
    """By the published inverse of Dower's matrix, which is rounded to three digits; one turn after the other."""
    eight = [TWELVE_LEADS.index(lead) for lead in ("V1", "V2", "V3", "V4", "V5", "V6", "I", "II")]
    vcg = INVERSE_DOWER @ x[eight]
    for axis, (one, other) in enumerate([(1, 2), (2, 0), (0, 1)]):
        cos, sin = math.cos(n["angle"][axis]), math.sin(n["angle"][axis])
        vcg[one], vcg[other] = cos * vcg[one] - sin * vcg[other], sin * vcg[one] + cos * vcg[other]
    vcg = vcg * n["stretch"][:, None]
    v1, v2, v3, v4, v5, v6, i, ii = DOWER @ vcg
    return np.stack([i, ii, ii - i, -(i + ii) / 2, i - ii / 2, ii - i / 2, v1, v2, v3, v4, v5, v6])


INVERSE_DOWER = np.array(
    [
        [-0.172, -0.074, 0.122, 0.231, 0.239, 0.194, 0.156, -0.010],
        [0.057, -0.019, -0.106, -0.022, 0.041, 0.048, -0.227, 0.887],
        [-0.229, -0.310, -0.246, -0.063, 0.055, 0.108, 0.022, 0.102],
    ]
)
DOWER = np.array(
    [
        [-0.515, 0.157, -0.917],
        [0.044, 0.164, -1.387],
        [0.882, 0.098, -1.277],
        [1.213, 0.127, -0.601],
        [1.125, 0.127, -0.086],
        [0.831, 0.076, 0.230],
        [0.632, -0.235, 0.059],
        [0.235, 1.066, -0.132],
    ]
)
"""As printed: V1 to V6, I, II."""


def of_noise(noise: Callable[[float, int, int, Numbers], float]) -> Callable[[Signal, Numbers, int], Signal]:
    """What adds a noise that is known for each lead and sample of the window, in seconds from its beginning."""

    def add(x: Signal, n: Numbers, begin: int) -> Signal:
        out = x.copy()
        for lead in range(x.shape[0]):
            for t in range(x.shape[1]):
                out[lead, t] += noise((begin + t) / FS, lead, begin + t, n)
        return out

    return add


def wander(seconds: float, lead: int, t: int, n: Numbers) -> float:
    waves = sum(a * math.cos(2 * math.pi * 0.01 * k * seconds + phase)
                for k, (a, phase) in enumerate(zip(n["amplitude"], n["phase"], strict=True), 1))  # fmt: skip
    return float(n["level"] * n["gain"][lead] * waves)


def shift(seconds: float, lead: int, t: int, n: Numbers) -> float:
    lifted = sum(height for height, centre, width in zip(n["height"], n["centre"], n["seconds"], strict=True)
                 if abs(seconds - centre) <= width / 2)  # fmt: skip
    return float(n["level"] * n["gain"][lead] * lifted)


def hum(seconds: float, lead: int, t: int, n: Numbers) -> float:
    tones = [k * float(n["hz"]) for k in (1, 2, 3)]
    waves = sum(a * math.cos(2 * math.pi * hz * seconds + n["phase"])
                for a, hz in zip(n["amplitude"], tones, strict=True) if hz < FS / 2)  # fmt: skip
    return float(n["level"] * n["gain"][lead] * waves)


def white(seconds: float, lead: int, t: int, n: Numbers) -> float:
    return float(n.get("level", 0.3) * n["noise"][lead, t])


class Case(NamedTuple):
    """An augmentation, its naive version, and how close the two must be; noise is told where the recording begins."""

    make: Callable[[], Augmentation]
    naive: Callable[[Signal, Numbers], Signal] | None = None
    noise: Callable[[Signal, Numbers, int], Signal] | None = None
    atol: float = 1e-4


CASES = {
    "RandomResizedCrop": Case(RandomResizedCrop, crop, atol=1e-3),
    "TimeOut": Case(TimeOut, time_out),
    "TimeWarp": Case(lambda: TimeWarp(radius=0.02), time_warp, atol=1e-3),
    "Blur": Case(Blur, blur),
    "LeadScaling": Case(LeadScaling, lead_scaling),
    "LeadDropout": Case(LeadDropout, lead_dropout),
    "VCGRotation": Case(VCGRotation, rotate, atol=2e-2),
    "GaussianNoise": Case(lambda: GaussianNoise(0.3), noise=of_noise(white)),
    "EMG": Case(EMG, noise=of_noise(white)),
    "BaselineWander": Case(BaselineWander, noise=of_noise(wander)),
    "BaselineShift": Case(BaselineShift, noise=of_noise(shift)),
    "Powerline": Case(Powerline, noise=of_noise(hum)),
}
"""All that need no files."""


def expected(case: Case, x_BLT: Tensor, valid_BT: Tensor | None, drawn: Mapping[str, Tensor]) -> Signal:
    """The naive version, window by window, on the recording's stretch of each."""
    out = np.zeros(x_BLT.shape)
    for b, window in enumerate(x_BLT.double().numpy()):
        inside = np.ones(window.shape[1], bool) if valid_BT is None else valid_BT[b].numpy()
        begin, numbers = int(inside.argmax()), {key: value[b].numpy() for key, value in drawn.items()}
        piece = window[:, inside]
        out[b][:, inside] = case.noise(piece, numbers, begin) if case.noise else case.naive(piece, numbers)
    return out
