"""Which evaluation comes of which encoder: both as artifacts, known by their content."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ecg_lightning.encoders.checkpoint import EncoderCheckpoint, read_checkpoint

ENCODER, RESULT = "encoder", "result"
"""Types of artifacts."""


def log_encoder(run: Any, path: Path) -> None:
    """Lay a run's `encoder.pt` into W&B, as what the run made.

    Args:
        run: of W&B.
        path: of `encoder.pt`.
    """
    checkpoint = read_checkpoint(path)
    run.log_artifact(_encoder(checkpoint, path), aliases=_aliases(checkpoint))


def use_encoder(run: Any, path: Path, checkpoint: EncoderCheckpoint) -> None:
    """Say which encoder a run evaluates.

    Nothing is asked of W&B: the same file under the same name is the same version there, whoever lays it in first.

    Args:
        run: of W&B.
        path: of `encoder.pt`.
        checkpoint: what it holds.
    """
    artifact = _encoder(checkpoint, path)
    if run.offline:  # `use_artifact` refuses, although `wandb sync` sends what it would have noted.
        run._log_artifact(artifact, aliases=_aliases(checkpoint), is_user_created=True, use_after_commit=True)
    else:
        run.use_artifact(artifact, aliases=_aliases(checkpoint))


def log_result(run: Any, name: str, files: Iterable[Path], folder: Path) -> None:
    """Lay an evaluation's files into W&B.

    Args:
        run: of W&B.
        name: of what was evaluated.
        files: to lay in.
        folder: below which they lie.
    """
    import wandb

    artifact = wandb.Artifact(_allowed(f"{RESULT}-{name}"), RESULT)
    for file in files:
        artifact.add_file(str(file), str(file.relative_to(folder)))
    run.log_artifact(artifact)


def _encoder(checkpoint: EncoderCheckpoint, path: Path) -> Any:
    import wandb

    training = checkpoint.training
    data = training["data"]
    told = {key: training[key] for key in ("objective", "learned", "verdict", "epoch", "commit") if key in training}
    name = _allowed("-".join([training["objective"], type(checkpoint.encoder).__name__, data["name"]]).lower())
    artifact = wandb.Artifact(
        name,
        ENCODER,
        metadata={**told, "data": data["name"], "fingerprint": data.get("fingerprint"), "digest": checkpoint.digest},
    )
    artifact.add_file(str(path), "encoder.pt", policy="immutable")  # not copied: it is never written again
    return artifact


def _aliases(checkpoint: EncoderCheckpoint) -> list[str]:
    return [checkpoint.digest, *(["learned"] if checkpoint.training["learned"] else [])]


def _allowed(name: str) -> str:
    """With the characters that W&B takes."""
    return re.sub(r"[^\w.-]+", "-", name)[:128]
