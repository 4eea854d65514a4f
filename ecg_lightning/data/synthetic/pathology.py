"""The SCP-ECG statements that the generator knows, and what each diagnosis does to a beat.

Diagnoses are written as the change of each wave at full severity; milder cases interpolate towards the healthy
beat, so that neighbouring classes meet. Directions: X left, Y feet, Z back.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from ecg_lightning.data.synthetic.heart import WAVES, Beat


@dataclass(frozen=True)
class Change:
    """What full severity does to one wave: moves it (s), widens it, scales it, and pushes its vector (mV)."""

    shift: float = 0.0
    widen: float = 1.0
    gain: float = 1.0
    push: tuple[float, float, float] = (0.0, 0.0, 0.0)


@dataclass(frozen=True)
class Diagnosis:
    """A diagnostic statement.

    Attributes:
        text: its description.
        superclass: one of PTB-XL's five.
        subclass: one of PTB-XL's 23.
        share: how often it is met within its super-class, relative to the others there.
        forms: form statements that go with it when it is pronounced.
        changes: what it does, by wave.
    """

    text: str
    superclass: str
    subclass: str
    share: float = 1.0
    forms: tuple[str, ...] = ()
    changes: Mapping[str, Change] = field(default_factory=dict)


def _t_wave(change: Change) -> dict[str, Change]:
    return {"T rise": change, "T fall": change}


DIAGNOSES = {
    "NORM": Diagnosis("normal ECG", "NORM", "NORM"),
    "IMI": Diagnosis(
        "inferior myocardial infarction", "MI", "IMI", 3.0, ("QWAVE", "INVT"),
        {"septum": Change(widen=1.5, push=(0, -0.38, 0)), "free wall": Change(gain=0.9, push=(0, -0.35, 0)),
         "ST": Change(push=(0, 0.05, 0)), **_t_wave(Change(push=(0, -0.15, 0)))},
    ),
    "ASMI": Diagnosis(
        "anteroseptal myocardial infarction", "MI", "AMI", 3.0, ("QWAVE", "INVT"),
        {"septum": Change(widen=1.2, push=(0.05, 0, 0.38)), "free wall": Change(push=(0, 0, 0.15)),
         "ST": Change(push=(0, 0, -0.08)), **_t_wave(Change(push=(0, 0, 0.15)))},
    ),
    "AMI": Diagnosis(
        "anterior myocardial infarction", "MI", "AMI", 1.0, ("QWAVE", "INVT"),
        {"septum": Change(widen=1.4, push=(0, 0, 0.42)), "free wall": Change(push=(-0.2, 0, 0.25)),
         "ST": Change(push=(0.05, 0, -0.12)), **_t_wave(Change(push=(-0.05, 0, 0.2)))},
    ),
    "ALMI": Diagnosis(
        "anterolateral myocardial infarction", "MI", "AMI", 1.0, ("QWAVE",),
        {"septum": Change(widen=1.5, push=(-0.35, 0.05, 0.1)), "free wall": Change(push=(-0.45, 0, 0.1)),
         **_t_wave(Change(push=(-0.2, 0, 0.08)))},
    ),
    "NDT": Diagnosis(
        "non-diagnostic T abnormalities", "STTC", "STTC", 3.0, ("LOWT",), _t_wave(Change(gain=0.15)),
    ),
    "NST_": Diagnosis(
        "non-specific ST changes", "STTC", "NST_", 2.0, ("STD_",),
        {"ST": Change(push=(-0.08, -0.06, 0.04)), **_t_wave(Change(gain=0.6))},
    ),
    "ISC_": Diagnosis(
        "non-specific ischemic", "STTC", "ISC_", 2.0, ("INVT", "STD_"),
        {"ST": Change(push=(-0.12, -0.08, 0.05)), **_t_wave(Change(push=(-0.24, -0.15, 0.06)))},
    ),
    "LNGQT": Diagnosis(
        "long QT-interval", "STTC", "STTC", 0.5, (), _t_wave(Change(shift=0.08, widen=1.25)),
    ),
    "CLBBB": Diagnosis(
        "complete left bundle branch block", "CD", "CLBBB", 1.2, (),
        {"septum": Change(widen=1.8, push=(0.35, 0.05, 0.35)), "free wall": Change(widen=1.9, gain=1.05),
         "base": Change(shift=0.03, widen=1.9, push=(0.45, 0, 0.2)),
         "terminal": Change(shift=0.045, widen=2.0, push=(0.6, 0.1, 0.4)),
         "ST": Change(push=(-0.1, 0, -0.12)), **_t_wave(Change(push=(-0.42, -0.15, -0.15)))},
    ),
    "CRBBB": Diagnosis(
        "complete right bundle branch block", "CD", "CRBBB", 1.2, (),
        {"terminal": Change(shift=0.035, widen=2.2, push=(-0.55, -0.05, -0.75)), "base": Change(gain=0.85),
         **_t_wave(Change(push=(0.08, 0, 0.1)))},
    ),
    "IRBBB": Diagnosis(
        "incomplete right bundle branch block", "CD", "IRBBB", 2.0, (),
        {"terminal": Change(shift=0.012, widen=1.3, push=(-0.25, 0, -0.5))},
    ),
    "LAFB": Diagnosis(
        "left anterior fascicular block", "CD", "LAFB/LPFB", 2.5, (),
        {"septum": Change(push=(0, 0.15, 0)), "free wall": Change(push=(0.1, -0.6, 0)),
         "base": Change(push=(0, -0.5, 0)), "terminal": Change(push=(0, -0.25, 0))},
    ),
    "1AVB": Diagnosis(
        "first degree AV block", "CD", "_AVB", 1.5, (),
        {"right atrium": Change(shift=-0.12), "left atrium": Change(shift=-0.12)},
    ),
    "LVH": Diagnosis(
        "left ventricular hypertrophy", "HYP", "LVH", 4.0, ("VCLVH",),
        {"free wall": Change(gain=1.5, push=(0.35, -0.1, 0.2)), "base": Change(gain=1.6),
         "ST": Change(push=(-0.06, -0.03, 0.03)), **_t_wave(Change(push=(-0.2, -0.05, 0.05)))},
    ),
    "RVH": Diagnosis(
        "right ventricular hypertrophy", "HYP", "RVH", 0.7, (),
        {"free wall": Change(push=(-0.5, 0.2, -0.45)), "base": Change(push=(-0.25, 0, -0.5)),
         "terminal": Change(push=(-0.3, 0, -0.2)), **_t_wave(Change(push=(0.05, -0.05, 0.15)))},
    ),
    "LAO/LAE": Diagnosis(
        "left atrial overload/enlargement", "HYP", "LAO/LAE", 1.3, (),
        {"left atrium": Change(shift=0.015, widen=1.3, push=(0.05, 0, 0.12))},
    ),
}  # fmt: skip

FORMS = {
    "PVC": "ventricular premature complex",
    "PAC": "atrial premature complex",
    "QWAVE": "Q waves present",
    "LOWT": "low amplitude T-waves",
    "INVT": "inverted T-waves",
    "STD_": "non-specific ST depression",
    "VCLVH": "voltage criteria (QRS) for left ventricular hypertrophy",
}
DIAGNOSTIC_FORMS = ("NDT", "NST_", "LNGQT")
"""Statements that PTB-XL counts both as diagnoses and as forms."""

RHYTHMS = {
    "SR": "sinus rhythm",
    "SBRAD": "sinus bradycardia",
    "STACH": "sinus tachycardia",
    "AFIB": "atrial fibrillation",
}


def diseased(beat: Beat, severity: Mapping[str, float], rng: np.random.Generator) -> Beat:
    """What diagnoses make of a healthy beat; each person's disease differs somewhat from the textbook.

    Args:
        beat: the healthy beat.
        severity: from 0 (nothing) to 1 (pronounced) for each code of `DIAGNOSES`.
        rng: the person's source of chance.

    Returns:
        The changed beat.
    """
    centre, width, vector = beat.centre.copy(), beat.width.copy(), beat.vector.copy()
    for code, degree in severity.items():
        for wave, change in DIAGNOSES[code].changes.items():
            w, own = WAVES.index(wave), degree * np.exp(rng.normal(0, 0.25))
            push = np.array(change.push)
            centre[w] += own * change.shift
            width[w] *= max(1 + own * (change.widen - 1), 0.5)
            vector[w] = vector[w] * max(1 + own * (change.gain - 1), 0.0)
            vector[w] += own * (push + rng.normal(0, 0.25, 3) * np.linalg.norm(push))
    return Beat(centre=centre, width=width, vector=vector)
