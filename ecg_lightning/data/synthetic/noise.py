"""What electrodes pick up besides the heart. It is drawn per electrode, so that the leads share it as real leads do."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ecg_lightning.data.synthetic.heart import Floats

# Rows: the eight independent leads. Columns: electrodes RA, LA, LL, V1, ..., V6. Wilson's terminal is the limbs' mean.
ELECTRODES_TO_LEADS = np.block(
    [
        [np.array([[-1.0, 1.0, 0.0], [-1.0, 0.0, 1.0]]), np.zeros((2, 6))],
        [np.full((6, 3), -1 / 3), np.eye(6)],
    ]
)
POWERLINE_HZ = 50.0


@dataclass(frozen=True)
class Noise:
    """Root mean square of each disturbance at an electrode, mV."""

    wander: float
    muscle: float
    powerline: float
    white: float = 0.002

    @classmethod
    def draw(cls, rng: np.random.Generator) -> Noise:
        """The noise of one recording; most are clean, some are bad."""
        wander, muscle, powerline = np.exp(rng.normal(np.log([0.025, 0.006, 0.001]), [0.8, 0.8, 1.0]))
        return cls(wander=wander, muscle=muscle, powerline=powerline)


def electrode_noise(noise: Noise, fs: float, samples: int, rng: np.random.Generator) -> Floats:
    """Noise of the nine electrodes.

    Args:
        noise: how much of each.
        fs: Hz.
        samples: T.
        rng: the recording's source of chance.

    Returns:
        (9, T), mV: slow wander (breathing and movement, 0.05-0.5 Hz), muscle (bursts of high-passed noise),
        powerline (50 Hz, another share at each electrode) and white noise.
    """
    frequency = np.append(rng.uniform(0.05, 0.5, 5), POWERLINE_HZ)
    size = np.append(np.full(5, noise.wander / np.sqrt(5)), noise.powerline) * np.sqrt(2)
    waves = np.sin(2 * np.pi * (np.outer(frequency / fs, np.arange(samples)) + rng.uniform(size=(6, 1))))
    total: Floats = (rng.normal(size=(9, 6)) * size) @ waves
    white = rng.standard_normal((9, samples + 1), dtype=np.float32)
    total += np.diff(white) * (noise.muscle / np.sqrt(2) * _bursts(fs, samples, rng))
    total += noise.white * white[:, 1:]
    return total


def _bursts(fs: float, samples: int, rng: np.random.Generator) -> Floats:
    """(T,), how tense the muscles are, by the second, around 1."""
    knots = np.arange(0, samples + fs, fs)
    tension: Floats = np.interp(np.arange(samples), knots, np.exp(rng.normal(-0.1, 0.45, len(knots))))
    return tension
