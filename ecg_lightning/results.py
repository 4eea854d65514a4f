"""`result.json`: one evaluated cell, written whole or not at all, and read back; its predictions beside it."""

from __future__ import annotations

import json
import zipfile
import zlib
from collections.abc import Collection, Iterator, Mapping
from functools import lru_cache
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ecg_lightning.errors import UserError
from ecg_lightning.files import replacing

SCHEMA = "ecg_lightning.result/2"
FILENAME = "result.json"
PREDICTIONS = "predictions.npz"
CALIBRATED = "calibrated.npz"


def write_result(folder: Path, content: Mapping[str, Any], filename: str = FILENAME) -> Path:
    """Write `result.json` into a cell's folder.

    Args:
        folder: made where it is missing.
        content: plain containers; `status` is `done` or `failed`.
        filename: another one for what is no cell, and not to be collected as one.
    """
    path = folder / filename
    text = json.dumps({"schema": SCHEMA, **content}, indent=1, allow_nan=False, sort_keys=False)
    with replacing(path) as partial:
        partial.write_text(text + "\n")
    return path


def read_result(folder: Path) -> dict[str, Any] | None:
    """The result of a cell's folder, None where there is none yet.

    Raises:
        UserError: the file is not a result of this version.
    """
    path = folder / FILENAME
    if not path.exists():
        return None
    try:
        content = json.loads(path.read_text())
    except ValueError as error:
        raise UserError(f"{path}: not readable as JSON ({error}); delete it and run again") from error
    if not isinstance(content, dict) or content.get("schema") != SCHEMA:
        raise UserError(f"{path}: not a result of this version ({SCHEMA}); delete it and run again")
    return content


def collect(folder: Path) -> Iterator[dict[str, Any]]:
    """Every result below a folder, in the order of its path."""
    for _, content in cells(folder):
        yield content


def cells(folder: Path) -> Iterator[tuple[Path, dict[str, Any]]]:
    """The folder of every cell below a folder, and its result."""
    for path in sorted(folder.rglob(FILENAME)):
        content = read_result(path.parent)
        if content is not None:
            yield path.parent, content


class Predictions(NamedTuple):
    """What a cell said of the test split.

    Attributes:
        probability: (M, C) float32.
        resampled: (R,) by metric, see `evaluation.metrics.Judged`.
    """

    probability: NDArray[np.float32]
    resampled: dict[str, NDArray[np.floating[Any]]]


class Truth(NamedTuple):
    """What the cells of a folder are judged by.

    Attributes:
        y: (M,) class numbers, or (M, C) zeros and ones.
        patient: (M,) number of the patient of each.
        record: (M,) name of the recording of each.
    """

    y: NDArray[np.integer[Any]]
    patient: NDArray[np.int64]
    record: NDArray[np.str_]


def write_predictions(folder: Path, predictions: Predictions) -> None:
    """Write what a cell said beside its result; before it, for a result says that the cell is done."""
    probability = predictions.probability.astype(np.float32)
    # Packed they are a fifth smaller, and thousands of them take twice as long to read.
    _save(folder / PREDICTIONS, {"probability": probability, **predictions.resampled}, packed=False)


def read_predictions(folder: Path) -> Predictions:
    """What a cell said.

    Raises:
        UserError: the file is missing or damaged.
    """
    content = _load(folder / PREDICTIONS)
    return Predictions(content.pop("probability"), content)


def read_resampled(folder: Path, metrics: Collection[str]) -> dict[str, NDArray[np.floating[Any]]]:
    """(R,) metrics of a cell in every resample; none where none was drawn, or the predictions were deleted.

    Raises:
        UserError: the file is damaged.
    """
    return _load(folder / PREDICTIONS, metrics) if (folder / PREDICTIONS).exists() else {}


def write_calibrated(folder: Path, probability: Mapping[str, NDArray[np.floating[Any]]]) -> None:
    """Write what scalers made of a cell's predictions, (M, C) each by scaler, if there are any."""
    if probability:
        _save(folder / CALIBRATED, {name: each.astype(np.float32) for name, each in probability.items()})


def read_calibrated(folder: Path) -> dict[str, NDArray[np.float32]]:
    """What scalers made of a cell's predictions, (M, C) each by scaler; empty where none was asked for.

    Raises:
        UserError: the file is damaged.
    """
    return _load(folder / CALIBRATED) if (folder / CALIBRATED).exists() else {}


def write_truth(folder: Path, digest: str, truth: Truth) -> None:
    """Write once, for all cells of a folder, what they are judged by."""
    path = folder / f"truth-{digest}.npz"
    if not path.exists():
        _save(path, truth._asdict())


def read_truth(folder: Path, digest: str) -> Truth:
    """What the cells of a folder with that `truth` in their result are judged by.

    Raises:
        UserError: the file is missing or damaged.
    """
    return Truth(**_load(folder / f"truth-{digest}.npz"))


def _save(path: Path, arrays: Mapping[str, NDArray[Any]], *, packed: bool = True) -> None:
    with replacing(path) as partial:
        (np.savez_compressed if packed else np.savez)(partial, allow_pickle=False, **arrays)


def _load(path: Path, names: Collection[str] | None = None) -> dict[str, NDArray[Any]]:
    """The arrays of a file, or those of some names that it has."""
    try:
        content = path.read_bytes()
        with zipfile.ZipFile(BytesIO(content)) as file:
            members = {member.filename.removesuffix(".npy"): member for member in file.infolist()}
        return {name: _array(_unpacked(content, each)) for name, each in members.items() if not names or name in names}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise UserError(f"{path}: not readable ({error}); delete its folder and evaluate again") from error


def _unpacked(content: bytes, member: zipfile.ZipInfo) -> bytes:
    """One member of an archive in memory, in half the time that `ZipFile.read` takes for so small a one."""
    name, extra = (
        int.from_bytes(content[member.header_offset + at : member.header_offset + at + 2], "little") for at in (26, 28)
    )
    begin = member.header_offset + 30 + name + extra
    packed = content[begin : begin + member.compress_size]
    found = zlib.decompress(packed, -zlib.MAX_WBITS) if member.compress_type == zipfile.ZIP_DEFLATED else packed
    if zlib.crc32(found) != member.CRC:
        raise zipfile.BadZipFile(f"{member.filename} is damaged")
    return found


def _array(content: bytes) -> NDArray[Any]:
    """What a `.npy` file holds; thousands of files have the same header, which takes longer to parse than to read."""
    begin = 10 + int.from_bytes(content[8:10], "little")
    shape, in_columns, dtype = _header(content[:begin])
    if dtype.hasobject:
        raise ValueError("it holds Python objects")
    return np.frombuffer(content, dtype, offset=begin).reshape(shape, order="F" if in_columns else "C").copy("K")


@lru_cache(maxsize=256)
def _header(content: bytes) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Shape, whether columns follow one another, and type."""
    file = BytesIO(content)
    if np.lib.format.read_magic(file) != (1, 0):
        raise ValueError("written by another version of NumPy's format")
    return np.lib.format.read_array_header_1_0(file)
