"""How long the heartbeat files of the published size take: from the CSVs to labelled beats, and of that the parsing.

The rows are the real ones where `ECG_DATA_ROOT` is set, else random ones, repeated to the published number.

    python benchmarks/heartbeat.py
"""

from __future__ import annotations

import os
from itertools import cycle, islice
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter

import numpy as np

from ecg_lightning.data.heartbeat import SAMPLES, Heartbeat
from ecg_lightning.signal import SignalSpec

PUBLISHED = {"mitbih_train.csv": 87_554, "mitbih_test.csv": 21_892}


def rows(name: str) -> list[str]:
    """Lines of one of the files."""
    if "ECG_DATA_ROOT" in os.environ:
        return (Path(os.environ["ECG_DATA_ROOT"]) / "heartbeat" / name).read_text().splitlines()
    generator = np.random.default_rng(0)
    values = np.c_[generator.random((500, SAMPLES)), generator.integers(0, 5, 500)]
    return [",".join(f"{value:.18e}" for value in row) for row in values]


def main() -> None:
    with TemporaryDirectory() as scratch:
        for name, count in PUBLISHED.items():
            (Path(scratch) / name).write_text("\n".join(islice(cycle(rows(name)), count)) + "\n")
        os.sync()
        spec = SignalSpec(125, ("II",), 200, standardise="zscore")
        data = Heartbeat(name="heartbeat", root=scratch, spec=spec, cache_dir=Path(scratch) / "cache")
        start = perf_counter()
        data.table()
        parsing = perf_counter() - start
        start = perf_counter()
        beats = len(data.labelled.y)
        total = perf_counter() - start
        again = Heartbeat(name="heartbeat", root=scratch, spec=spec, cache_dir=Path(scratch) / "cache")
        start = perf_counter()
        assert len(again.labelled.y) == beats
        prepared = perf_counter() - start
    print(f"| {beats:,} rows on {len(os.sched_getaffinity(0))} cores | |\n|---|---|")
    print(f"| from the CSVs to labelled beats | {total:.1f} s |")
    print(f"| of that, parsing | {parsing:.1f} s |")
    print(f"| from the prepared file | {prepared:.1f} s, {total / prepared:.0f} x as fast |")


if __name__ == "__main__":
    main()
