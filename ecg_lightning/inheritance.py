"""An encoder that begins with the weights of a file, and with what the file's encoder has seen."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from hashlib import blake2b
from pathlib import Path
from typing import Any

from ecg_lightning.data.history import stated
from ecg_lightning.encoders.base import Encoder
from ecg_lightning.encoders.checkpoint import EncoderCheckpoint, is_own, read_checkpoint, read_plain
from ecg_lightning.encoders.foreign import adopt, read_weights
from ecg_lightning.errors import UserError
from ecg_lightning.files import replacing

log = logging.getLogger(__name__)

FILENAME = "init.json"
"""In the run directory: a continued run reads it, and no longer needs the file."""

Origin = Mapping[str, Any]
"""Plain containers: name and hash of the file, whose names its weights had, what it was trained on (`data`)."""

OF_THE_WEIGHTS = ("fs", "leads", "standardise", "band")
"""Of a signal's specification: what weights cannot be moved from; the length is the encoder's own affair."""


def inherit(
    file: str | None, encoder: Encoder, config: Mapping[str, Any], run_dir: Path, continued: bool
) -> Origin | None:
    """Let a run begin with the weights of a file; a continued run only remembers that it did.

    Args:
        file: `encoder.pt` of a run, or another project's checkpoint; None for none.
        encoder: its weights are replaced.
        config: class and arguments of the encoder.
        run_dir: where what the file's encoder has seen is written down.
        continued: whether the run goes on from a checkpoint of its own.

    Raises:
        UserError: the file is none, or does not fit the encoder or its signal.
    """
    if file is None:
        return None
    note = run_dir / FILENAME
    if continued:
        origin: Origin = json.loads(note.read_text())
        return origin
    path = Path(file)
    if is_own(read_plain(path)):
        origin = _from_own(read_checkpoint(path), path, encoder, config)
    else:
        origin = take_over(path, encoder, stated(None))
        log.warning(
            f"init={path}: nobody has said whose recordings it was trained on, so no result can speak of unseen "
            "patients; adopt.py with populations=[...] says it"
        )
    with replacing(note) as partial:
        partial.write_text(json.dumps(origin) + "\n")
    return origin


def take_over(path: Path, encoder: Encoder, seen: Mapping[str, Any], part: str | None = None) -> Origin:
    """Give an encoder the weights of another project's checkpoint.

    Args:
        path: the checkpoint.
        encoder: its weights are replaced.
        seen: what the checkpoint was trained on, see `history.stated`.
        part: see `foreign.adopt`.

    Raises:
        UserError: the file cannot be read safely, or does not fit.
    """
    adoption = adopt(encoder, read_weights(path), str(path), part)
    log.info(f"{path}: {adoption}")
    return {"file": path.name, "digest": digest(path), "layout": adoption.layout, "weights": dict(adoption.names),
            "left": list(adoption.left), "data": dict(seen)}  # fmt: skip


def digest(path: Path) -> str:
    """Hash of a file."""
    return blake2b(path.read_bytes(), digest_size=8).hexdigest()


def _from_own(before: EncoderCheckpoint, path: Path, encoder: Encoder, config: Mapping[str, Any]) -> Origin:
    theirs, ours = before.encoder.spec.to_dict(), encoder.spec.to_dict()
    _refuse(path, "data.spec", {key: theirs[key] for key in OF_THE_WEIGHTS}, ours)
    _refuse(path, "encoder", before.config, config)
    encoder.load_state_dict(before.encoder.state_dict(), strict=True)
    log.info(f"{path}: all weights taken over from the encoder pretrained on {before.training['data']['name']}")
    return {"file": path.name, "digest": before.digest, "objective": before.training["objective"],
            "data": before.training["data"]}  # fmt: skip


def _refuse(path: Path, group: str, there: Mapping[str, Any], here: Mapping[str, Any]) -> None:
    """Name the keys in which a run differs from the file that it is to begin with."""
    missing = object()
    wrong = [key for key, value in there.items() if here.get(key, missing) != value]
    if wrong:
        told = ", ".join(f"{group}.{key}={there[key]}" for key in wrong)
        raise UserError(
            f"init={path} was trained with {told.replace(chr(39), '')}; say so here too, or use another file"
        )
