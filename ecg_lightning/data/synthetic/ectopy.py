"""The shapes of beats that start outside the sinus node."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ecg_lightning.data.synthetic.heart import ATRIA, QRS, REPOLARISATION, Beat


def atrial(sinus: Beat, rng: np.random.Generator) -> Beat:
    """A premature atrial beat: another P wave, a shorter PR interval, the same way through the ventricles."""
    vector, centre = sinus.vector.copy(), sinus.centre.copy()
    focus = np.array([rng.uniform(-1.0, 0.8), rng.uniform(-1.0, 0.5), rng.uniform(-0.5, 0.5)])
    vector[ATRIA] = np.linalg.norm(vector[ATRIA], axis=1, keepdims=True) * focus
    centre[ATRIA] += rng.uniform(0.0, 0.04)
    return replace(sinus, centre=centre, vector=vector)


def ventricular(sinus: Beat, rng: np.random.Generator) -> Beat:
    """A premature ventricular beat: no P wave, a slow and large QRS away from its origin, and an opposite T wave."""
    away = rng.normal(size=3) * [1.0, 1.0, 0.8]
    away /= np.linalg.norm(away)
    bend = rng.normal(0, 0.35, (4, 3))
    peak = rng.uniform(1.1, 2.0)
    centre, width, vector = sinus.centre.copy(), sinus.width.copy(), np.zeros_like(sinus.vector)
    centre[QRS] = np.array([-0.045, 0.0, 0.04, 0.075]) * rng.uniform(0.85, 1.25)
    width[QRS] = rng.uniform(0.018, 0.028, 4)
    vector[QRS] = peak * np.array([[0.35], [0.8], [0.5], [0.15]]) * (away + bend)
    vector[REPOLARISATION] = -peak * np.array([[0.10], [0.17], [0.14]]) * (away + bend.mean(axis=0))
    centre[REPOLARISATION] += 0.04
    return Beat(centre=centre, width=width, vector=vector)


def fusion(sinus: Beat, ectopic: Beat) -> Beat:
    """A fusion beat: the ventricles are activated half from above, half from the ectopic focus; P stays."""
    half = 0.5 * (sinus.vector + ectopic.vector)
    return Beat(
        centre=0.5 * (sinus.centre + ectopic.centre),
        width=0.5 * (sinus.width + ectopic.width),
        vector=np.concatenate([sinus.vector[ATRIA], half[2:]]),
    )
