"""What an offline run of W&B holds, read from its file as `wandb sync` would."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import wandb
from wandb.proto.wandb_internal_pb2 import ArtifactRecord, MetricRecord, Record, RunRecord

BLOCK, HEADER, LAST_PARTS = 32768, 7, (1, 4)
"""Of LevelDB's log format: records lie in blocks, each part behind a checksum, its length and its kind."""


class RunFile:
    """One `run-ID.wandb`.

    Args:
        folder: in whose `wandb/` the run lies; it must be the only one there.
    """

    def __init__(self, folder: Path) -> None:
        wandb.teardown()  # until then the service may still be writing
        (self.folder,) = (folder / "wandb").glob("offline-run-*")
        (path,) = self.folder.glob("run-*.wandb")
        self.records = list(_records(path.read_bytes()))

    @property
    def run(self) -> RunRecord:
        """Name, group, job type, tags, project."""
        return self._of("run")[0]

    @property
    def config(self) -> dict[str, Any]:
        """By key as it was given, so that a dotted key would be seen."""
        return {item.key: json.loads(item.value_json) for item in self.run.config.update if item.key != "_wandb"}

    @property
    def history(self) -> list[dict[str, Any]]:
        """What was logged, a dictionary a time."""
        return [_items(record.item) for record in self._of("history")]

    @property
    def keys(self) -> set[str]:
        """Everything that was ever logged."""
        return set().union(*self.history)

    @property
    def summary(self) -> dict[str, Any]:
        """As it was last."""
        told: dict[str, Any] = {}
        for record in self._of("summary"):
            for item in record.update:
                told["/".join(item.nested_key) or item.key] = json.loads(item.value_json)
        return told

    @property
    def metrics(self) -> dict[str, MetricRecord]:
        """What was defined, by name or pattern."""
        return {record.name or record.glob_name: record for record in self._of("metric")}

    @property
    def artifacts(self) -> list[ArtifactRecord]:
        """In the order in which they were laid in or used, W&B's own left out."""
        return [record for record in self._of("artifact") if record.type in ("encoder", "result")]

    @property
    def exit_code(self) -> int:
        """Raises where the run was not finished, or twice."""
        (ended,) = self._of("exit")
        return int(ended.exit_code)

    def _of(self, kind: str) -> list[Any]:
        return [getattr(record, kind) for record in self.records if record.WhichOneof("record_type") == kind]


def _records(content: bytes) -> Iterator[Record]:
    assert content[:4] == b":W&B"
    at, parts = HEADER, b""
    while at + HEADER <= len(content):
        left = BLOCK - at % BLOCK
        if left < HEADER:
            at += left
            continue
        _, length, kind = struct.unpack("<IHB", content[at : at + HEADER])
        at += HEADER
        parts += content[at : at + length]
        at += length
        if kind in LAST_PARTS:
            yield Record.FromString(parts)
            parts = b""


def _items(items: Any) -> dict[str, Any]:
    """Values by name; of what has parts, such as a picture, a dictionary."""
    told: dict[str, Any] = {}
    for item in items:
        name, *inner = item.nested_key or [item.key]
        value = json.loads(item.value_json)
        if inner:
            told.setdefault(name, {})["/".join(inner)] = value
        else:
            told[name] = value
    return told
