"""What is measured of one recording, without judging it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from hashlib import blake2b
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecg_lightning.data.record import Record, RecordFile
from ecg_lightning.leads import canonical_lead

BULK = (0.5, 99.5)
"""Percentiles: what lies outside, ten samples in a thousand, are spikes and do not count towards the amplitude."""

PLATEAU_SECONDS = 0.006
"""How long a lead stays at its very extreme where the recorder could not follow: a peak that is not cut is sharper."""

SPECTRUM_SECONDS = 16.0
"""Of one segment of the spectrum: long enough to tell breathing and drift from the slowest heart rate."""

WANDER_HZ, MAINS_HZ = 0.5, (50.0, 60.0)


@dataclass(frozen=True)
class Vitals:
    """Measures of one recording; those of leads are (L,), in the order of `leads`.

    Attributes:
        record_id: see `RecordFile`.
        patient: see `RecordFile`.
        fs: rate in Hz.
        leads: names as the file spells them.
        samples: length `T`.
        digest: hash of all samples: the same recording under two names has it twice.
        invalid: number of samples that are not finite.
        low: smallest finite sample, mV; 0 where there is none.
        high: largest.
        mean: of the finite samples, mV.
        spread: their standard deviation, mV.
        bulk: from the 0.5th to the 99.5th percentile, mV.
        still: seconds of the longest stretch without any change.
        plateaus: how often the lead stays at its extreme value, the largest or the smallest.
        cut: share of the samples in those plateaus.
        wander: share of the power below 0.5 Hz; 0 where the recording is too short to tell.
        hum: share of the power within 1 Hz of 50 or 60 Hz; 0 where the rate is too low or the recording too short.
        mismatch: spread of I + III - II beside that of II: 0 by Einthoven's law; None where a lead is missing.
        copies: pairs of leads that hold the very same samples.
    """

    record_id: str
    patient: str
    fs: float
    leads: tuple[str, ...]
    samples: int
    digest: str
    invalid: NDArray[np.int64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    mean: NDArray[np.float64]
    spread: NDArray[np.float64]
    bulk: NDArray[np.float64]
    still: NDArray[np.float64]
    plateaus: NDArray[np.int64]
    cut: NDArray[np.float64]
    wander: NDArray[np.float64]
    hum: NDArray[np.float64]
    mismatch: float | None
    copies: tuple[str, ...]

    @property
    def seconds(self) -> float:
        """Length."""
        return self.samples / self.fs

    @property
    def flat(self) -> NDArray[np.bool_]:
        """(L,) leads that never change."""
        flat: NDArray[np.bool_] = (self.low == self.high) & (self.invalid < self.samples)
        return flat

    @property
    def amplitude(self) -> float:
        """Peak to peak in mV: the median over the leads that hold a signal; 0 where none does."""
        alive = self.bulk[self.low < self.high]
        return float(np.median(alive)) if len(alive) else 0.0

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        values = ((key, value) for key, value in asdict(self).items())
        plain = {key: value.round(6).tolist() if isinstance(value, np.ndarray) else value for key, value in values}
        return {**plain, "seconds": self.seconds, "amplitude": round(self.amplitude, 6)}


def take_vitals(file: RecordFile) -> Vitals:
    """Read a recording and measure it.

    Raises:
        BadRecord: it cannot be read.
    """
    return measure(file.read(), file.record_id, file.patient)


def measure(record: Record, record_id: str, patient: str) -> Vitals:
    """Measure a recording.

    Args:
        record: of at least one lead and one sample.
        record_id: its name.
        patient: whose it is.
    """
    finite = np.isfinite(record.signal)
    signal = np.where(finite, record.signal, 0.0).astype(np.float64)
    if not finite.all():
        for row, good in zip(signal, finite, strict=True):  # what is missing must not look like a beat
            row[~good] = np.median(row[good]) if good.any() else 0.0
    low, high = signal.min(axis=1), signal.max(axis=1)
    percentiles = np.percentile(signal, BULK, axis=1)
    plateaus, cut = _plateaus(signal, low, high, record.fs)
    wander, hum = _spectrum(signal, record.fs)
    return Vitals(
        record_id,
        patient,
        float(record.fs),
        tuple(record.leads),
        signal.shape[1],
        blake2b(np.ascontiguousarray(record.signal).tobytes(), digest_size=8).hexdigest(),
        np.count_nonzero(~finite, axis=1).astype(np.int64),
        low,
        high,
        signal.mean(axis=1),
        signal.std(axis=1),
        percentiles[1] - percentiles[0],
        _still(record.signal, record.fs),
        plateaus,
        cut,
        wander,
        hum,
        _mismatch(signal, record.leads),
        _copies(signal, record.leads),
    )


def runs(
    mask_LT: NDArray[np.bool_],
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """The stretches where a mask holds: lead, first sample and length of each."""
    width = mask_LT.shape[1] + 1
    apart = np.zeros((len(mask_LT), width), bool)  # a sample between the leads, so that no stretch runs on
    apart[:, :-1] = mask_LT
    flat = apart.ravel()
    edges = np.flatnonzero(np.concatenate([flat[:1], flat[1:] != flat[:-1]]))
    return edges[::2] // width, edges[::2] % width, edges[1::2] - edges[::2]


def unchanged(signal_LT: NDArray[np.floating]) -> NDArray[np.bool_]:
    """(L, T - 1) whether a sample is valid and the next one the same."""
    same: NDArray[np.bool_] = signal_LT[:, 1:] == signal_LT[:, :-1]  # NaN is not the same as NaN
    return same


def _still(signal_LT: NDArray[np.floating], fs: float) -> NDArray[np.float64]:
    """Seconds of each lead's longest stretch without a change."""
    lead, _, length = runs(unchanged(signal_LT))
    longest = np.zeros(len(signal_LT))
    np.maximum.at(longest, lead, length + 1)
    return longest / fs


def _plateaus(
    signal_LT: NDArray[np.float64], low: NDArray[np.float64], high: NDArray[np.float64], fs: float
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """How often each lead stays at an extreme, and the share of its samples there; the worse end of the two."""
    shortest = max(2, round(PLATEAU_SECONDS * fs))
    count, samples = np.zeros((2, len(signal_LT)), np.int64), np.zeros((2, len(signal_LT)), np.int64)
    for end, extreme in enumerate((low, high)):
        lead, _, length = runs((signal_LT == extreme[:, None]) & (low < high)[:, None])
        kept = length >= shortest
        np.add.at(count[end], lead[kept], 1)
        np.add.at(samples[end], lead[kept], length[kept])
    worse = samples.argmax(axis=0), np.arange(len(signal_LT))
    return count[worse], samples[worse] / signal_LT.shape[1]


def _spectrum(signal_LT: NDArray[np.float64], fs: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Shares of each lead's power that are baseline wander and mains hum, (L,) each."""
    from scipy.signal import welch

    samples = signal_LT.shape[1]
    if samples < 2 * fs / WANDER_HZ:  # too short to tell a slow wave from a beat
        return np.zeros(len(signal_LT)), np.zeros(len(signal_LT))
    frequency, power = welch(signal_LT, fs, nperseg=min(samples, round(SPECTRUM_SECONDS * fs)), axis=1)
    total = np.maximum(power.sum(axis=1), 1e-30)
    told = [mains for mains in MAINS_HZ if mains + 1 < fs / 2]
    mains = np.isin(frequency, [each for hz in told for each in frequency[np.abs(frequency - hz) <= 1]])
    return power[:, frequency < WANDER_HZ].sum(axis=1) / total, power[:, mains].sum(axis=1) / total


def _mismatch(signal_LT: NDArray[np.float64], leads: tuple[str, ...]) -> float | None:
    rows = dict(zip(map(canonical_lead, leads), signal_LT, strict=True))
    if not {"I", "II", "III"} <= rows.keys() or not rows["II"].std():
        return None
    return float((rows["I"] + rows["III"] - rows["II"]).std() / rows["II"].std())


def _copies(signal_LT: NDArray[np.float64], leads: tuple[str, ...]) -> tuple[str, ...]:
    """Leads that never change are no copies of one another."""
    first: dict[bytes, str] = {}
    pairs = []
    for lead, row in zip(leads, signal_LT, strict=True):
        if row.min() < row.max():
            original = first.setdefault(blake2b(row.tobytes(), digest_size=8).digest(), lead)
            pairs += [f"{original} = {lead}"] if original != lead else []
    return tuple(pairs)
