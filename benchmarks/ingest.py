"""How long a data set of PTB-XL's size takes to prepare, and how much faster a recording is read than by wfdb.

The recordings are real ones where `ECG_DATA_ROOT` is set, else synthetic; each is copied to as many files of its own
as make up the number. They have just been written, so the page cache is warm.

    python benchmarks/ingest.py
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter

import pandas as pd
import wfdb

from ecg_lightning.data.wfdb_files import WFDBFile

RECORDS = 21_800
SAMPLE = 200


def source(scratch: Path) -> Path:
    """A folder in PTB-XL's layout."""
    if "ECG_DATA_ROOT" in os.environ:
        return Path(os.environ["ECG_DATA_ROOT"]) / "ptbxl"
    from ecg_lightning.data.synthetic.write import write_dataset

    write_dataset(scratch, records=500, holter=0)
    return scratch / "ptbxl"


def replicate(original: Path, copy: Path, records: int = RECORDS) -> None:
    """Write recordings with their table, each in files of its own."""
    table = pd.read_csv(original / "ptbxl_database.csv")
    table = table.iloc[[i % len(table) for i in range(records)]].assign(ecg_id=range(1, records + 1))
    headers = {name: (original / f"{name}.hea").read_text() for name in table.filename_lr.unique()}
    signals = {name: (original / f"{name}.dat").read_bytes() for name in headers}
    names = [f"records100/{number // 1000 * 1000:05d}/{number:05d}_lr" for number in table.ecg_id]
    for old, new in zip(table.filename_lr, names, strict=True):
        path = copy / new
        path.parent.mkdir(parents=True, exist_ok=True)
        path.with_suffix(".hea").write_text(headers[old].replace(Path(old).name, path.name))
        path.with_suffix(".dat").write_bytes(signals[old])
    table.assign(filename_lr=names).to_csv(copy / "ptbxl_database.csv", index=False)
    (copy / "scp_statements.csv").write_text((original / "scp_statements.csv").read_text())
    os.sync()  # Or the disk would still be writing while the clock runs.


def seconds_to_prepare(folder: Path, cache: Path) -> float:
    """From the table to the finished store, as a run does it."""
    from ecg_lightning.data.ptbxl import PTBXL  # Here, since worker processes import this file and need no torch.
    from ecg_lightning.leads import TWELVE_LEADS
    from ecg_lightning.signal import SignalSpec

    data = PTBXL(name="ptbxl", root=folder, spec=SignalSpec(100, TWELVE_LEADS, 1000), cache_dir=cache)
    start = perf_counter()
    assert len(data.store) == RECORDS
    return perf_counter() - start


def seconds_each(read: Callable[[Path], object], paths: Sequence[Path]) -> float:
    """Of one recording, best of three passes."""
    times = []
    for _ in range(3):
        start = perf_counter()
        for path in paths:
            read(path)
        times.append(perf_counter() - start)
    return min(times) / len(paths)


def main() -> None:
    with TemporaryDirectory() as scratch:
        folder = Path(scratch) / "copies"
        replicate(source(Path(scratch)), folder)
        total = seconds_to_prepare(folder, Path(scratch) / "cache")
        paths = [path.with_suffix("") for path in sorted(folder.glob("records100/*/*.hea"))[:SAMPLE]]
        ours = seconds_each(lambda path: WFDBFile(path, path.name, path.name).read(), paths)
        theirs = seconds_each(lambda path: wfdb.rdsamp(str(path)), paths)
    cores = len(os.sched_getaffinity(0))
    print(f"\n| {RECORDS:,} records of 10 s, 12 leads, 100 Hz on {cores} cores | |\n|---|---|")
    print(f"| from the table to the store | {total:.1f} s, {RECORDS / total:,.0f} records/s |")
    print(f"| one record, read here | {1e3 * ours:.3f} ms |")
    print(f"| one record, read by wfdb.rdsamp | {1e3 * theirs:.3f} ms, {theirs / ours:.0f} x as long |")


if __name__ == "__main__":
    main()
