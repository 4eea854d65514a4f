"""WFDB records in format 16, written directly.

The bytes are those of `wfdb.wrsamp`, which spends tens of milliseconds a record on checking its own header.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

ADU_PER_MV = 1000


def write_record(path: Path, fs: int, leads: Sequence[str], signal_LT: NDArray[np.int16]) -> None:
    """Write `path`.hea and `path`.dat.

    Args:
        path: without suffix; its last part is the record's name.
        fs: Hz.
        leads: L names.
        signal_LT: (L, T), in steps of 1 uV.
    """
    path.with_suffix(".dat").write_bytes(np.ascontiguousarray(signal_LT.T, dtype="<i2").tobytes())
    checksums = signal_LT.sum(axis=1, dtype=np.int64) % 65536
    lines = [f"{path.name} {len(leads)} {fs} {signal_LT.shape[1]}"] + [
        f"{path.name}.dat 16 {ADU_PER_MV}.0(0)/mV 16 0 {first} {checksum} 0 {lead}"
        for lead, first, checksum in zip(leads, signal_LT[:, 0], checksums, strict=True)
    ]
    path.with_suffix(".hea").write_text("\n".join(lines) + "\n")
