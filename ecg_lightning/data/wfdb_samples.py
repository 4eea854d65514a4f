"""The samples of WFDB signal files, in every format that the specification has.

Format: https://wfdb.io/spec/signal-files.html
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ecg_lightning.data.record import BadRecord
from ecg_lightning.data.wfdb_header import disk_faults_named, file_size

BLOCK = {8: (1, 1), 16: (1, 2), 24: (1, 3), 32: (1, 4), 61: (1, 2), 80: (1, 1), 160: (1, 2),
         212: (2, 3), 310: (3, 4), 311: (3, 4)}  # fmt: skip
"""Samples and bytes of the smallest whole piece of each format."""

FLAC_BITS = {508: 8, 516: 16, 524: 24}
INVALID = {16: -(2**15), 24: -(2**23), 32: -(2**31), 61: -(2**15), 80: -(2**7), 160: -(2**15), 212: -(2**11),
           310: -(2**9), 311: -(2**9), 508: -(2**7), 516: -(2**15), 524: -(2**23)}  # fmt: skip
"""The digital value of a sample that was not recorded; format 8 has none."""

SAMPLES_PER_BYTE = 64
"""No recording packs more: a lossless coder spends about a bit on a sample's noise alone."""

FLAC_PIECE = 2**18
"""Frames decoded at once; libsndfile fails on very large requests."""


def read_samples(path: Path, fmt: int, offset: int, frames: Sequence[int], samples: int) -> NDArray[np.integer]:
    """Read a signal file.

    Args:
        path: the signal file.
        fmt: its format, as the header numbers it.
        offset: bytes before the first sample; samples of a signal in a FLAC file.
        frames: samples a frame of each signal.
        samples: frames.

    Returns:
        (samples, sum(frames)), the digital values; first differences under format 8.

    Raises:
        BadRecord: the file is no such file or of another size.
    """
    check_size(path, fmt, offset, frames, samples)
    if fmt in FLAC_BITS:
        values = _read_flac(path, FLAC_BITS[fmt], offset, len(frames), samples * frames[0])
        return values.reshape(samples, frames[0], len(frames)).swapaxes(1, 2).reshape(samples, -1)
    with disk_faults_named(path):
        raw = np.fromfile(path, np.uint8, offset=offset)
    return decode(raw, fmt, sum(frames), samples)


def check_size(path: Path, fmt: int, offset: int, frames: Sequence[int], samples: int) -> None:
    """See that a file can hold what its header promises, before anything is read; arguments as in `read_samples`.

    Raises:
        BadRecord: it is missing, too small or too large, or the format is unknown.
    """
    size = file_size(path)
    if fmt in FLAC_BITS:
        if len(set(frames)) > 1 or samples * sum(frames) > SAMPLES_PER_BYTE * size:
            raise BadRecord(f"{path}: {size} bytes of FLAC cannot hold {samples} samples of {len(frames)} leads; "
                            "fetch the recording again")  # fmt: skip
        return
    if fmt not in BLOCK:
        raise BadRecord(f"{path}: its header gives it the format {fmt}, which does not exist; fetch it again")
    least, most = packed_bytes(fmt, sum(frames) * samples)
    if not least <= size - offset <= most:
        fault = "is truncated" if size - offset < least else "and its header disagree"
        raise BadRecord(
            f"{path} {fault}: {max(size - offset, 0)} bytes of samples, the header promises {least} "
            f"({samples} samples of {len(frames)} leads); fetch the recording again"
        )


def packed_bytes(fmt: int, count: int) -> tuple[int, int]:
    """How many bytes `count` samples take: without and with what fills up the last block."""
    of, size = BLOCK[fmt]
    most = -(-count // of) * size
    least = (
        most if fmt == 310 and count % 3 == 2 else -(-count * size // of)
    )  # Its second sample ends in the last byte.
    return least, most


def decode(raw: NDArray[np.uint8], fmt: int, channels: int, samples: int) -> NDArray[np.integer]:
    """Unpack any format but FLAC.

    Args:
        raw: the bytes after the offset.
        fmt: a key of `BLOCK`.
        channels: number of interleaved signals.
        samples: samples per signal.

    Returns:
        (samples, channels), the digital values; first differences under format 8.
    """
    count = channels * samples
    of, size = BLOCK[fmt]
    missing = -(-count // of) * size - len(raw)
    whole = np.pad(raw, (0, missing)) if missing > 0 else raw[: len(raw) + missing]
    return _unpack(whole, fmt).reshape(-1)[:count].reshape(samples, channels)


def _unpack(raw: NDArray[np.uint8], fmt: int) -> NDArray[np.integer]:
    """Whole blocks to samples; where a format is narrower than its type, a shift up and back down extends the sign."""
    plain = {8: "i1", 16: "<i2", 32: "<i4", 61: ">i2", 80: "u1", 160: "<u2"}.get(fmt)
    if plain is not None:
        values = raw.view(plain)
        return values - {80: np.int16(128), 160: np.int32(32768)}[fmt] if fmt in (80, 160) else values
    block = raw.reshape(-1, BLOCK[fmt][1])
    if fmt == 212:
        low, high, last = block.T.astype(np.int16)
        return np.stack([(high << 12 | low << 4), ((high & 0xF0) << 8 | last << 4)], axis=1) >> 4
    if fmt == 24:
        wide = np.zeros((len(block), 4), np.uint8)
        wide[:, 1:] = block
        return wide.view("<i4") >> 8
    if fmt == 310:  # Two words: a sample above an unused bit in each, and a third in the fives left over.
        word = block.view("<u2").astype(np.int16)
        value = np.stack([word[:, 0] >> 1, word[:, 1] >> 1, word[:, 0] >> 11 & 31 | word[:, 1] >> 6 & 992], axis=1)
    else:  # 311: three samples from the lowest bit of one long word.
        value = (block.view("<u4") >> np.array([0, 10, 20], np.uint32)).astype(np.int16)
    return (value << 6) >> 6


def _read_flac(path: Path, bits: int, offset: int, channels: int, samples: int) -> NDArray[np.integer]:
    import soundfile

    width = {"PCM_S8": 8, "PCM_16": 16, "PCM_24": 24}
    values = np.empty((samples, channels), np.int32)
    try:
        with soundfile.SoundFile(path) as file:
            if (file.format, file.channels, file.frames) != ("FLAC", channels, offset + samples):
                raise BadRecord(f"{path}: holds {file.frames} x {file.channels} samples in {file.format}, the header "
                                f"promises {offset + samples} x {channels} in FLAC")  # fmt: skip
            if width.get(file.subtype, 99) > bits:
                raise BadRecord(f"{path}: holds {file.subtype}, the header promises {bits} bits")
            file.seek(offset)
            for start in range(0, samples, FLAC_PIECE):
                piece = values[start : start + FLAC_PIECE]
                if len(file.read(out=piece)) != len(piece):
                    raise BadRecord(f"{path}: is truncated; fetch the recording again")
            return values >> (32 - width[file.subtype])
    except soundfile.LibsndfileError as error:
        raise BadRecord(f"{path}: cannot be read ({error}); fetch the recording again") from None
