"""How much memory preparing a data set takes at its peak: of 1 x, 4 x and 16 x as many recordings.

Each size is prepared by a process of its own, whose peak is read together with that of its largest worker. What the
process takes before it meets any data, for Python and its libraries, is told apart.

    python benchmarks/memory.py
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from ingest import replicate, source

SMALLEST = 1_800
TIMES = (1, 4, 16)

PREPARE = """
import re
import sys
from contextlib import suppress
from pathlib import Path
from threading import Thread
from time import sleep


def peak(process="self"):
    status = Path(f"/proc/{process}/status").read_text()
    return int(re.search(r"VmHWM:\\s+(\\d+)", status)[1]) / 1e3


def watch(seen):
    while True:
        for child in Path("/proc/self/task").glob("*/children"):
            for process in child.read_text().split():
                with suppress(OSError, TypeError):
                    if "multiprocessing" in Path(f"/proc/{process}/cmdline").read_text():
                        seen.append(peak(process))
        sleep(0.02)


if __name__ == "__main__":  # worker processes need no torch
    from ecg_lightning.data.ptbxl import PTBXL
    from ecg_lightning.leads import TWELVE_LEADS
    from ecg_lightning.signal import SignalSpec

    folder, cache = map(Path, sys.argv[1:])
    seen, before = [0.0], peak()
    Thread(target=watch, args=(seen,), daemon=True).start()
    data = PTBXL(name="ptbxl", root=folder, spec=SignalSpec(100, TWELVE_LEADS, 1000), cache_dir=cache)
    print(len(data.store), data.store.signals.nbytes / 1e6, before, peak(), max(seen))
"""


def peaks(folder: Path, scratch: Path) -> tuple[float, ...]:
    """Recordings, MB of the store, and peaks in MB: before any data, of the process, of its largest worker."""
    script = scratch / "prepare.py"
    script.write_text(PREPARE)
    command = [sys.executable, str(script), str(folder), str(scratch / "cache")]
    return tuple(map(float, subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()))


def main() -> None:
    print("| recordings | store | process at its start | process at its peak | largest worker |\n|---|---|---|---|---|")
    for times in TIMES:
        with TemporaryDirectory() as scratch:
            folder = Path(scratch) / "copies"
            replicate(source(Path(scratch)), folder, SMALLEST * times)
            records, size, before, process, worker = peaks(folder, Path(scratch))
        sizes = " | ".join(f"{value:.0f} MB" for value in (size, before, process, worker))
        print(f"| {times} x: {records:,.0f} | {sizes} |", flush=True)


if __name__ == "__main__":
    main()
