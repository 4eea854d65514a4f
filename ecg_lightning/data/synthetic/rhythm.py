"""When the heart beats: rate, heart-rate variability, fibrillation and premature beats."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np

from ecg_lightning.data.synthetic.heart import BeatTrain, Floats


class Kind(IntEnum):
    """The kinds of beat, in the order in which a heart lists their shapes."""

    SINUS = 0
    ATRIAL = 1
    VENTRICULAR = 2
    FUSION = 3


@dataclass(frozen=True)
class Rhythm:
    """A person's rhythm during one recording.

    Attributes:
        rate: mean, beats/min.
        variability: standard deviation of the RR intervals relative to their mean, without premature beats.
        respiration: breaths in Hz.
        fibrillating: whether the atria fibrillate.
        atrial: probability that a beat is an atrial premature one.
        ventricular: probability that a beat is a ventricular premature one, or a fusion with it.
    """

    rate: float
    variability: float
    respiration: float
    fibrillating: bool = False
    atrial: float = 0.0
    ventricular: float = 0.0


def beat_train(rhythm: Rhythm, seconds: float, rng: np.random.Generator) -> BeatTrain:
    """Draw the beats of a recording.

    A ventricular premature beat leaves the sinus node alone, so that the pause after it is fully compensatory; an
    atrial one resets the node, so that the pause is not.

    Args:
        rhythm: what to draw from.
        seconds: length of the recording; the train reaches beyond both of its ends.
        rng: the recording's source of chance.

    Returns:
        The train, long enough for any wave that reaches into the recording.
    """
    mean_rr = 60 / rhythm.rate
    beats = int(np.ceil(1.6 * (seconds + 4) / mean_rr))
    rr = mean_rr * (_fibrillation if rhythm.fibrillating else _sinus)(rhythm, beats, rng)
    kind = _premature(rhythm, beats, rng)
    early = np.select(
        [kind == Kind.ATRIAL, kind == Kind.VENTRICULAR, kind == Kind.FUSION],
        [rng.uniform(0.60, 0.85, beats), rng.uniform(0.50, 0.75, beats), rng.uniform(0.90, 0.97, beats)],
        default=1.0,
    )
    compensation = np.where(kind == Kind.ATRIAL, rng.uniform(0.0, 0.1, beats), 1 - early) * rr
    rr = rr * early
    rr[1:] += compensation[:-1]
    time = np.cumsum(rr) - 2 - rng.uniform(0, mean_rr)
    kept = slice(0, int(np.searchsorted(time, seconds + 2)) + 1)
    breath = np.sin(2 * np.pi * (rhythm.respiration * time + rng.uniform()))
    gain = 1 + 0.04 * breath + rng.normal(0, 0.015, beats)
    return BeatTrain(time=time[kept], rr=rr[kept], kind=kind[kept], gain=gain[kept])


def _premature(rhythm: Rhythm, beats: int, rng: np.random.Generator) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """The kind of each beat; two premature ones never follow one another."""
    chance = rng.uniform(size=beats)
    kind = np.full(beats, int(Kind.SINUS))
    kind[chance < rhythm.atrial + rhythm.ventricular] = Kind.ATRIAL
    kind[chance < rhythm.ventricular] = Kind.VENTRICULAR
    kind[chance < 0.08 * rhythm.ventricular] = Kind.FUSION
    kind[1:][(kind[:-1] != Kind.SINUS)] = Kind.SINUS
    return kind


def _sinus(rhythm: Rhythm, beats: int, rng: np.random.Generator) -> Floats:
    """Relative RR intervals with the two bands of McSharry et al. 2003 and slow drift; they stay above 0.4."""
    time = np.arange(beats) * 60 / rhythm.rate
    frequency = np.concatenate(
        [rng.uniform(0.003, 0.04, 6), rng.normal(0.1, 0.01, 6), rng.normal(rhythm.respiration, 0.01, 6)]
    )
    weight = np.repeat([0.5, 0.6, 0.6], 6) / np.sqrt(3)
    wave = np.sin(2 * np.pi * (np.outer(time, frequency) + rng.uniform(size=len(frequency)))) @ weight
    rr: Floats = np.maximum(1 + rhythm.variability * (wave + rng.normal(0, 0.2, beats)), 0.4)
    return rr


def _fibrillation(rhythm: Rhythm, beats: int, rng: np.random.Generator) -> Floats:
    """Relative RR intervals without any pattern (gamma distributed), as the AV node passes impulses at random."""
    shape = rhythm.variability**-2
    rr: Floats = np.maximum(rng.gamma(shape, 1 / shape, beats), 0.5)
    return rr


def fibrillatory_waves(fs: float, samples: int, rng: np.random.Generator) -> Floats:
    """What the atria add while they fibrillate: a restless saw of 4-9 Hz, largest in V1.

    Returns:
        (C, T), mV.
    """
    knots = np.arange(0, samples + fs, fs / 2)
    frequency = np.interp(np.arange(samples), knots, rng.uniform(5, 7.5) + rng.normal(0, 0.8, len(knots)))
    size = np.interp(np.arange(samples), knots, rng.uniform(0.03, 0.07) * rng.uniform(0.5, 1.5, len(knots)))
    phase = 2 * np.pi * np.cumsum(frequency) / fs
    return np.outer([0.15, 0.5, -0.85], size * (np.sin(phase) + 0.35 * np.sin(2 * phase)))
