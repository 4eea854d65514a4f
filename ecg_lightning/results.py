"""`result.json`: one evaluated cell, written whole or not at all, and read back."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ecg_lightning.errors import UserError

SCHEMA = "ecg_lightning.result/1"
FILENAME = "result.json"


def write_result(folder: Path, content: Mapping[str, Any]) -> Path:
    """Write `result.json` into a cell's folder.

    Args:
        folder: made where it is missing.
        content: plain containers; `status` is `done` or `failed`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / FILENAME
    partial = folder / f".{FILENAME}.partial"
    partial.write_text(json.dumps({"schema": SCHEMA, **content}, indent=1, allow_nan=False, sort_keys=False) + "\n")
    partial.replace(path)
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
    for path in sorted(folder.rglob(FILENAME)):
        content = read_result(path.parent)
        if content is not None:
            yield content
