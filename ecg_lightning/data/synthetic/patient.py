"""Patients: one heart, one torso, one set of diagnoses each, so that a patient's recordings look alike."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ecg_lightning.data.synthetic import ectopy
from ecg_lightning.data.synthetic.heart import (
    DOWER,
    Beat,
    BeatTrain,
    Floats,
    normal_beat,
    personal_beat,
    vectorcardiogram,
)
from ecg_lightning.data.synthetic.noise import ELECTRODES_TO_LEADS, Noise, electrode_noise
from ecg_lightning.data.synthetic.pathology import DIAGNOSES, diseased
from ecg_lightning.data.synthetic.rhythm import Rhythm, fibrillatory_waves

HEALTHY_SHARE = 0.42
# How often each super-class is met among the abnormal, and how many of them one patient has (after PTB-XL).
_SUPERCLASSES = {"MI": 0.28, "STTC": 0.30, "CD": 0.26, "HYP": 0.16}
_HOW_MANY = (0.70, 0.24, 0.06)


@dataclass(frozen=True)
class Patient:
    """A person as the generator knows them.

    Attributes:
        age: years.
        female: sex.
        severity: of each diagnosis that a cardiologist would state; `{"NORM": 1.0}` for the healthy.
        beats: the shapes of this heart's beats in the order of `rhythm.Kind`.
        torso: (8, 3), how the independent leads see the heart's dipole.
        rate: resting heart rate, beats/min.
        fibrillating: whether the atria fibrillate.
        ectopy: probability of a premature atrial and of a premature ventricular beat.
    """

    age: float
    female: bool
    severity: Mapping[str, float]
    beats: tuple[Beat, ...]
    torso: Floats
    rate: float
    fibrillating: bool
    ectopy: tuple[float, float]


def draw_patient(rng: np.random.Generator, severity: Mapping[str, float] | None = None) -> Patient:
    """Draw a person.

    Args:
        rng: this person's own source of chance.
        severity: diagnoses to give them; drawn as well where none are given.

    Returns:
        The patient. The healthy carry traces of disease below the threshold of a diagnosis, so that the classes
        overlap from both sides.
    """
    severity = _draw_severity(rng) if severity is None else severity
    healthy = "NORM" in severity
    age = float(np.clip(rng.normal(46, 18) if healthy else rng.normal(65, 13), 18, 89).round())
    female = bool(rng.uniform() < 0.48)
    traces = dict(zip(_draw_codes(rng, 2), rng.uniform(0, 0.25, 2), strict=True))
    healthy_beat = personal_beat(normal_beat(), age, female, rng)
    sinus = diseased(healthy_beat, {**traces, **severity}, rng)
    ventricular = ectopy.ventricular(sinus, rng)
    return Patient(
        age=age,
        female=female,
        severity=severity,
        beats=(sinus, ectopy.atrial(sinus, rng), ventricular, ectopy.fusion(sinus, ventricular)),
        torso=DOWER + rng.normal(0, 0.08, DOWER.shape) * np.linalg.norm(DOWER, axis=1, keepdims=True),
        rate=float(np.exp(rng.normal(np.log(72), 0.15))),
        fibrillating=bool(rng.uniform() < np.interp(age, [40, 80], [0.01, 0.12])),
        ectopy=(_ectopic_share(rng, 0.05, 0.15), _ectopic_share(rng, 0.08, 0.3)),
    )


def _ectopic_share(rng: np.random.Generator, prevalence: float, most: float) -> float:
    """The share of a person's beats that are premature: none in most people, up to `most` in some."""
    share = rng.uniform(0.02, most)
    return float(share) if rng.uniform() < prevalence else 0.0


def _draw_severity(rng: np.random.Generator) -> dict[str, float]:
    """Diagnoses as met in PTB-XL; many cases are mild."""
    if rng.uniform() < HEALTHY_SHARE:
        return {"NORM": 1.0}
    codes = _draw_codes(rng, 1 + int(rng.choice(len(_HOW_MANY), p=_HOW_MANY)))
    return {code: float(0.25 + 0.95 * rng.beta(1.6, 1.3)) for code in codes}


def _draw_codes(rng: np.random.Generator, count: int) -> list[str]:
    """One diagnosis from each of `count` different abnormal super-classes."""
    classes = rng.choice(list(_SUPERCLASSES), count, replace=False, p=list(_SUPERCLASSES.values()))
    return [_draw_code(rng, str(superclass)) for superclass in classes]


def _draw_code(rng: np.random.Generator, superclass: str) -> str:
    shares = {code: each.share for code, each in DIAGNOSES.items() if each.superclass == superclass}
    return str(rng.choice(list(shares), p=np.array(list(shares.values())) / sum(shares.values())))


def draw_rhythm(patient: Patient, rng: np.random.Generator) -> Rhythm:
    """How this heart happens to beat today."""
    if patient.fibrillating:
        rate, variability = rng.uniform(60, 125), rng.uniform(0.16, 0.28)
    else:
        rate = np.clip(patient.rate * np.exp(rng.normal(0, 0.10)), 42, 150)
        variability = np.exp(rng.normal(np.log(np.interp(patient.age, [20, 80], [0.06, 0.02])), 0.35))
    return Rhythm(
        rate=float(rate),
        variability=float(variability),
        respiration=rng.uniform(0.18, 0.33),
        fibrillating=patient.fibrillating,
        atrial=0.0 if patient.fibrillating else patient.ectopy[0],
        ventricular=patient.ectopy[1],
    )


def eight_leads(
    patient: Patient, rhythm: Rhythm, train: BeatTrain, rng: np.random.Generator, *, fs: float, samples: int
) -> Floats:
    """Record a patient.

    Args:
        patient: who.
        rhythm: how their heart beats.
        train: the beats that it made.
        rng: the recording's source of chance: noise, and where the electrodes sit this time.
        fs: Hz.
        samples: T.

    Returns:
        (8, T), mV, rows as in `heart.INDEPENDENT_LEADS`.
    """
    beats = [beat.without_atria() for beat in patient.beats] if rhythm.fibrillating else patient.beats
    dipole = vectorcardiogram(train, beats, fs, samples)
    if rhythm.fibrillating:
        dipole += fibrillatory_waves(fs, samples, rng)
    torso = patient.torso * rng.normal(1, 0.04) + rng.normal(0, 0.03, patient.torso.shape)
    return torso @ dipole + ELECTRODES_TO_LEADS @ electrode_noise(Noise.draw(rng), fs, samples, rng)
