"""The electrical heart as a moving dipole: Gaussian waves, their vectorcardiogram, and the leads that see it.

Each wave of a beat is a Gaussian bump along a fixed direction in space (McSharry et al. 2003, doi:10.1109/
TBME.2003.808805; as a dipole, Sameni et al. 2007, doi:10.1155/2007/43407). Shape legend: K beats, W waves,
C = 3 coordinates (X to the left, Y to the feet, Z to the back), T samples.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

WAVES = ("right atrium", "left atrium", "septum", "free wall", "base", "terminal", "ST", "T rise", "T fall")
ATRIA, QRS, REPOLARISATION = slice(0, 2), slice(2, 6), slice(6, 9)

# centre (s after the R peak, at 60 beats/min), width (s, one standard deviation), X, Y, Z (mV)
_NORMAL = np.array(
    [
        [-0.165, 0.020, +0.03, +0.08, -0.05],
        [-0.135, 0.020, +0.06, +0.05, +0.04],
        [-0.020, 0.007, -0.12, -0.02, -0.25],
        [+0.000, 0.010, +0.95, +0.80, +0.20],
        [+0.015, 0.009, +0.25, +0.05, +0.75],
        [+0.029, 0.008, -0.12, -0.10, +0.15],
        [+0.100, 0.035, +0.02, +0.02, -0.03],
        [+0.255, 0.055, +0.16, +0.11, -0.12],
        [+0.300, 0.030, +0.17, +0.11, -0.12],
    ]
)

INDEPENDENT_LEADS = ("I", "II", "V1", "V2", "V3", "V4", "V5", "V6")

# From Frank's X, Y, Z to the eight independent leads: Dower, Machado and Osborne 1980, "On deriving the
# electrocardiogram from vectorcardiographic leads".
DOWER = np.array(
    [
        [+0.632, -0.235, +0.059],
        [+0.235, +1.066, -0.132],
        [-0.515, +0.157, -0.917],
        [+0.044, +0.164, -1.387],
        [+0.882, +0.098, -1.277],
        [+1.213, +0.127, -0.601],
        [+1.125, +0.127, -0.086],
        [+0.831, +0.076, +0.230],
    ]
)


@dataclass(frozen=True)
class Beat:
    """The waves of one kind of beat, in the order of `WAVES`.

    Attributes:
        centre: (W,), seconds after the R peak at 60 beats/min.
        width: (W,), seconds, one standard deviation.
        vector: (W, C), mV at the wave's peak.
    """

    centre: Floats
    width: Floats
    vector: Floats

    def without_atria(self) -> Beat:
        """The same beat without a P wave."""
        return replace(self, vector=np.concatenate([np.zeros((2, 3)), self.vector[2:]]))


@dataclass(frozen=True)
class BeatTrain:
    """When the heart beats, and how.

    Attributes:
        time: (K,), seconds, R peaks; the first and last lie outside the recording.
        rr: (K,), seconds since the beat before.
        kind: (K,), index into the sequence of beats that the heart knows.
        gain: (K,), amplitude relative to the mean beat (breathing moves the heart).
    """

    time: Floats
    rr: Floats
    kind: NDArray[np.int64]
    gain: Floats


def normal_beat() -> Beat:
    """The beat of a healthy adult of middle age."""
    return Beat(centre=_NORMAL[:, 0].copy(), width=_NORMAL[:, 1].copy(), vector=_NORMAL[:, 2:].copy())


def personal_beat(beat: Beat, age: float, female: bool, rng: np.random.Generator) -> Beat:
    """One person's version of a beat: own axis, amplitudes, widths and intervals.

    The axis turns to the left with age; QRS voltages are lower and the QT interval longer in women.
    """
    frontal = np.deg2rad(rng.normal(0.4 * (45 - age), 14))
    horizontal = np.deg2rad(rng.normal(0, 11))
    amplitude = np.exp(rng.normal(0, [0.2] * 2 + [0.18] * 4 + [0.22] * 3) + rng.normal(0, 0.12))
    amplitude[QRS] *= 0.87 if female else 1.05
    vector = beat.vector * amplitude[:, None]
    vector += rng.normal(0, 0.10, vector.shape) * np.linalg.norm(vector, axis=1, keepdims=True)
    centre = beat.centre * np.repeat(np.exp(rng.normal(0, [0.12, 0.08, 0.05])), [2, 4, 3])
    centre[REPOLARISATION] *= 1.03 if female else 0.99
    return Beat(
        centre=centre,
        width=beat.width * np.exp(rng.normal(0, 0.08, len(WAVES))),
        vector=vector @ _turn(0, 1, frontal) @ _turn(0, 2, horizontal),
    )


def _turn(first: int, second: int, angle: float) -> Floats:
    """A rotation by `angle` radians from axis `first` towards axis `second`, acting on row vectors."""
    turn = np.eye(3)
    turn[[first, second], [first, second]] = np.cos(angle)
    turn[first, second], turn[second, first] = np.sin(angle), -np.sin(angle)
    return turn


def vectorcardiogram(train: BeatTrain, beats: Sequence[Beat], fs: float, samples: int) -> Floats:
    """The dipole over time.

    Repolarisation follows the rate by Fridericia's cube root, half by the interval before the beat and half by
    the mean one, as the QT interval lags behind the rate.

    Args:
        train: the beats.
        beats: the shape of each kind that `train.kind` refers to.
        fs: Hz.
        samples: T.

    Returns:
        (C, T), mV.
    """
    stretch = np.ones((len(train.time), len(WAVES)))
    stretch[:, REPOLARISATION] = np.cbrt((train.rr + train.rr.mean()) / 2)[:, None]
    centre_KW = train.time[:, None] + np.stack([beat.centre for beat in beats])[train.kind] * stretch
    width_KW = np.stack([beat.width for beat in beats])[train.kind] * stretch
    vector_KWC = np.stack([beat.vector for beat in beats])[train.kind] * train.gain[:, None, None]
    waves = (_bumps(centre_KW[:, w], width_KW[:, w], vector_KWC[:, w], fs, samples) for w in range(len(WAVES)))
    return sum(waves, start=np.zeros((3, samples)))


def _bumps(centre_K: Floats, width_K: Floats, vector_KC: Floats, fs: float, samples: int) -> Floats:
    """One wave of all beats, (C, T), each bump evaluated only within four standard deviations of its centre."""
    reach = int(np.ceil(4 * width_K.max() * fs))
    at_KN = np.rint(centre_K * fs).astype(np.int64)[:, None] + np.arange(-reach, reach + 1)
    bump_KN = np.exp(-0.5 * ((at_KN / fs - centre_K[:, None]) / width_K[:, None]) ** 2)
    bins = (np.clip(at_KN, -1, samples) + 1).ravel()  # what falls outside lands in the first and the last bin
    return np.stack(
        [np.bincount(bins, (bump_KN * c[:, None]).ravel(), samples + 2)[1:-1] for c in vector_KC.T],
    )


def twelve_leads(eight: NDArray[np.integer]) -> NDArray[np.integer]:
    """All standard leads from the independent ones by Einthoven's and Goldberger's relations.

    Args:
        eight: (8, T), rows as in `INDEPENDENT_LEADS`, in whole converter steps, so that III = II - I holds to the
            last bit; the augmented leads are rounded down to a step.

    Returns:
        (12, T), rows I, II, III, aVR, aVL, aVF, V1, ..., V6.
    """
    one, two = eight[0], eight[1]
    augmented = [-(one + two) // 2, (2 * one - two) // 2, (2 * two - one) // 2]
    return np.stack([one, two, two - one, *augmented, *eight[2:]])
