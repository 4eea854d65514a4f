"""Which recordings a folder holds: by its table `records.csv`, or by looking."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ecg_lightning.data.formats.opening import SUFFIXES, suffix_of
from ecg_lightning.data.regular import regular_size
from ecg_lightning.errors import UserError

RESERVED = ("path", "record", "patient", "fold", "fs", "leads", "unit")
"""Columns with a meaning; every other column may be a label."""


@dataclass(frozen=True)
class Entry:
    """One recording of a folder.

    Attributes:
        path: its file.
        record: its name, unique in the folder.
        cells: what the table says of it, by column; an empty cell is an empty text.
        line: where the table says it, for messages.
    """

    path: Path
    record: str
    cells: Mapping[str, str] = field(default_factory=dict)
    line: int = 0

    def cell(self, column: str) -> str | None:
        """What the table says; None where it says nothing."""
        return self.cells.get(column) or None


@dataclass(frozen=True)
class Manifest:
    """The recordings of a folder.

    Attributes:
        source: the table, or the folder where there is none; for messages.
        columns: of the table.
        entries: the recordings, in the table's order or by path.
    """

    source: Path
    columns: tuple[str, ...]
    entries: tuple[Entry, ...]


def read_manifest(path: Path, root: Path) -> Manifest:
    """Read a table of recordings.

    Args:
        path: a CSV file with a header; `path` is the one column it must have.
        root: the folder that the table's paths start from and stay in.

    Raises:
        UserError: it cannot be read, lacks a path, or names a recording twice or outside the folder.
    """
    try:
        regular_size(path)
        with path.open(newline="", encoding="utf-8-sig") as file:
            lines = [(number, [cell.strip() for cell in cells]) for number, cells in _lines(csv.reader(file))]
    except (OSError, UnicodeError, csv.Error) as error:
        raise UserError(f"{path}: cannot be read as a table ({error}); save it as CSV in UTF-8") from error
    if not lines or "path" not in lines[0][1]:
        raise UserError(f"{path}: has no column path; its first line must name the columns")
    columns = lines[0][1]
    if len(set(columns)) < len(columns):
        twice = next(name for name in columns if columns.count(name) > 1)
        raise UserError(f"{path}: has the column {twice!r} twice; keep one")
    entries = [_entry(path, root, columns, number, cells) for number, cells in lines[1:]]
    if not entries:
        raise UserError(f"{path}: names no recording; add a line for each, or take the table away")
    _refuse_twice(path, entries)
    return Manifest(path, tuple(columns), tuple(entries))


def find_recordings(root: Path, apart_from: Path) -> Manifest:
    """Every file below a folder that can be read, sorted; links to folders are not followed.

    Args:
        root: the folder.
        apart_from: a folder whose files are no recordings, such as the prepared ones.

    Raises:
        UserError: there is none, or one is a link that leads out of the folder.
    """
    paths = sorted(_walk(root, apart_from.resolve()))
    if not paths:
        raise UserError(f"data.root={root} holds no recording; known are files that end in {' '.join(SUFFIXES)}")
    entries = [Entry(within(root, path, root), path.relative_to(root).as_posix()) for path in paths]
    return Manifest(root, (), tuple(entries))


def within(root: Path, path: Path, named_by: Path) -> Path:
    """The path itself, where it and all its links stay in the folder.

    Raises:
        UserError: it leads out of it.
    """
    try:
        inside = path.resolve().is_relative_to(root.resolve())
    except (OSError, ValueError, RuntimeError) as error:  # a name that no file can have, or links in a circle
        raise UserError(f"{named_by}: {str(path)!r} is no path ({error}); mend it") from None
    if not inside:
        raise UserError(f"{named_by}: {path} leads out of data.root={root}; put the recording there")
    return path


def _lines(reader: Iterator[list[str]]) -> Iterator[tuple[int, list[str]]]:
    return ((number, cells) for number, cells in enumerate(reader, 1) if any(cell.strip() for cell in cells))


def _entry(path: Path, root: Path, columns: list[str], number: int, cells: list[str]) -> Entry:
    if len(cells) != len(columns):
        raise UserError(f"{path}: line {number} has {len(cells)} cells and the header {len(columns)}; mend it")
    row = dict(zip(columns, cells, strict=True))
    if not row["path"]:
        raise UserError(f"{path}: line {number} has no path; name the recording's file")
    return Entry(within(root, root / row["path"], path), row.get("record") or row["path"], row, number)


def _refuse_twice(path: Path, entries: list[Entry]) -> None:
    """Every recording has a name and a file of its own."""
    lines: dict[tuple[str, str], int] = {}
    for entry in entries:
        for column, value in (("record", entry.record), ("path", str(entry.path.resolve()))):
            first = lines.setdefault((column, value), entry.line)
            if first != entry.line:
                raise UserError(f"{path}: lines {first} and {entry.line} have the same {column} ({entry.record}); "
                                "keep one, or give each its own")  # fmt: skip


def _walk(root: Path, apart_from: Path) -> Iterator[Path]:
    for folder, below, files in os.walk(root):
        below[:] = [name for name in below if name[0] != "." and (Path(folder) / name).resolve() != apart_from]
        for name in files:
            path = Path(folder) / name
            # A challenge's `.mat` is read by way of the header beside it.
            served = path.suffix == ".mat" and path.with_suffix(".hea").exists()
            if name[0] != "." and suffix_of(path) is not None and not served:
                yield path
