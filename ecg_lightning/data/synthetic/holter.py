"""Two-lead ambulatory recordings with annotated beats in the layout of the MIT-BIH Arrhythmia Database."""

from __future__ import annotations

from itertools import chain
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ecg_lightning.data.synthetic.heart import INDEPENDENT_LEADS
from ecg_lightning.data.synthetic.patient import draw_patient, eight_leads
from ecg_lightning.data.synthetic.rhythm import Kind, Rhythm, beat_train

FS = 360
ADU_PER_MV, ZERO, STEPS = 200, 1024, 2048

# The two halves of de Chazal et al. 2004; real record numbers, so that the inter-patient split works here as well.
DS1 = (101, 106, 108, 109, 112, 114, 115, 116, 118, 119, 122, 124, 201, 203, 205, 207, 208, 209, 215, 220, 223, 230)
DS2 = (100, 103, 105, 111, 113, 117, 121, 123, 200, 202, 210, 212, 213, 214, 219, 221, 222, 228, 231, 232, 233, 234)
RECORDS = tuple(chain.from_iterable(zip(DS1, DS2, strict=True)))
_SAME_PERSON = {202: 201}
RHYTHM_NOTE_AT = 18
_STREAM = 3

# Every fifth record of each half is a patient with left bundle branch block, another fifth right.
_CONDITIONS = ({"NORM": 1.0}, {"CLBBB": 0.9}, {"NORM": 1.0}, {"CRBBB": 0.9}, {"NORM": 1.0})
_CONDUCTED = {"NORM": "N", "CLBBB": "L", "CRBBB": "R"}


class Job(NamedTuple):
    """One record to write."""

    folder: Path
    seed: int
    number: int
    minutes: float


def jobs(folder: Path, holter: int, minutes: float, seed: int) -> list[Job]:
    """The first `holter` records, taken from de Chazal's halves in turn; makes the folder for them."""
    folder.mkdir(parents=True, exist_ok=True)
    return [Job(folder, seed, number, minutes) for number in RECORDS[:holter]]


def write_holter(job: Job) -> int:
    """Write one record's `.hea`, `.dat` and `.atr`; its number."""
    position = RECORDS.index(_SAME_PERSON.get(job.number, job.number)) // 2
    condition = _CONDITIONS[position % len(_CONDITIONS)]
    person = np.random.default_rng((job.seed, _STREAM, _SAME_PERSON.get(job.number, job.number)))
    patient = draw_patient(person, condition)
    rng = np.random.default_rng((job.seed, _STREAM, job.number, 1))
    rhythm = Rhythm(
        rate=patient.rate,
        variability=rng.uniform(0.03, 0.08),
        respiration=rng.uniform(0.18, 0.33),
        atrial=float(np.exp(rng.uniform(np.log(0.005), np.log(0.08)))),
        ventricular=float(np.exp(rng.uniform(np.log(0.01), np.log(0.2)))),
    )
    train = beat_train(rhythm, job.minutes * 60, rng)
    samples = round(job.minutes * 60 * FS)
    leads = {"MLII": "II", **({"V1": "V1"} if rng.uniform() < 0.7 else {"V5": "V5"})}
    eight = eight_leads(patient, rhythm, train, rng, fs=FS, samples=samples)
    chosen = eight[[INDEPENDENT_LEADS.index(lead) for lead in leads.values()]]
    digital = np.clip(np.rint(chosen * ADU_PER_MV) + ZERO, 0, STEPS - 1).astype(np.int64)
    about = f"{patient.age:.0f} {'F' if patient.female else 'M'} 0 0 x1"
    _write_signal(job, digital.T, list(leads), [about, "Synthetic recording"])
    _write_beats(job, np.rint(train.time * FS).astype(np.int64), train.kind, _CONDUCTED[next(iter(condition))], samples)
    return job.number


def _write_signal(job: Job, digital_TL: NDArray[np.int64], leads: list[str], comments: list[str]) -> None:
    """The `.hea` and `.dat` in format 212, 11 bits, as in the published records."""
    import wfdb

    count = len(leads)
    record = wfdb.Record(
        record_name=str(job.number),
        n_sig=count,
        fs=FS,
        d_signal=digital_TL,
        sig_name=leads,
        fmt=["212"] * count,
        units=["mV"] * count,
        adc_gain=[float(ADU_PER_MV)] * count,
        adc_res=[11] * count,
        adc_zero=[ZERO] * count,
        baseline=[ZERO] * count,
        comments=comments,
    )
    record.set_d_features()
    record.set_defaults()
    record.wrsamp(write_dir=str(job.folder))


def _write_beats(job: Job, peak_K: NDArray[np.int64], kind_K: NDArray[np.int64], conducted: str, samples: int) -> None:
    """The `.atr`: a rhythm note at the start, then every beat."""
    import wfdb

    symbol = {Kind.SINUS: conducted, Kind.ATRIAL: "A", Kind.VENTRICULAR: "V", Kind.FUSION: "F"}
    inside = (peak_K > RHYTHM_NOTE_AT) & (peak_K < samples)
    symbols = ["+", *(symbol[Kind(kind)] for kind in kind_K[inside])]
    wfdb.wrann(
        str(job.number),
        "atr",
        np.concatenate([[RHYTHM_NOTE_AT], peak_K[inside]]),
        symbol=symbols,
        aux_note=["(N"] + [""] * (len(symbols) - 1),
        fs=FS,
        write_dir=str(job.folder),
    )
