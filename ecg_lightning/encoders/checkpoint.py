"""`encoder.pt`: an encoder with the signal it expects and what it was trained on, safe to load."""

from __future__ import annotations

import hashlib
import textwrap
import warnings
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from io import BytesIO
from pathlib import Path
from typing import Any

import torch

from ecg_lightning.encoders.base import Encoder
from ecg_lightning.errors import UnreadableCheckpoint, UserError
from ecg_lightning.files import replacing
from ecg_lightning.signal import SignalSpec

FORMAT = "ecg_lightning.encoder/1"
KEYS = frozenset({"format", "encoder", "weights", "spec", "training"})


@dataclass(frozen=True)
class EncoderCheckpoint:
    """What `encoder.pt` holds.

    Attributes:
        encoder: the encoder with its trained weights, in evaluation mode.
        config: its class (`_target_`) and arguments.
        training: what made it: data set, fingerprint, patients, objective, commit, whether it learned.
        digest: hash of configuration, spec and weights.
    """

    encoder: Encoder
    config: Mapping[str, Any]
    training: Mapping[str, Any]
    digest: str

    def fresh(self) -> Encoder:
        """The same encoder with new random weights, drawn from torch's global generator."""
        return _construct(self.config, self.encoder.spec)


def save_encoder(path: Path, encoder: Encoder, config: Mapping[str, Any], training: Mapping[str, Any]) -> None:
    """Write `encoder.pt`: plain containers and tensors, whole or not at all.

    Args:
        path: the file.
        encoder: the trained encoder.
        config: its class (`_target_`) and arguments but the spec, plain containers.
        training: what made it, plain containers.
    """
    weights = {key: value.detach().cpu().clone() for key, value in encoder.state_dict().items()}
    content = {"format": FORMAT, "encoder": dict(config), "weights": weights, "spec": encoder.spec.to_dict(),
               "training": dict(training)}  # fmt: skip
    write_plain(path, content)


def read_checkpoint(path: str | Path) -> EncoderCheckpoint:
    """Read `encoder.pt` without running any code from it.

    Raises:
        UserError: the file is missing, is not an encoder of this project, or its weights do not fit.
    """
    path = Path(path)
    content = _load(path)
    try:
        encoder = _construct(content["encoder"], SignalSpec.from_dict(content["spec"]))
        encoder.load_state_dict(content["weights"], strict=True)
    except (AttributeError, KeyError, RuntimeError, TypeError, ValueError) as error:
        why = textwrap.shorten(str(error), 300)
        raise UserError(f"checkpoint={path}: its encoder cannot be made: {why}; pass the encoder.pt of a run") from None
    return EncoderCheckpoint(encoder.eval(), content["encoder"], content["training"], _digest(content))


def load_encoder(path: str | Path) -> Encoder:
    """The encoder of a run as a plain `nn.Module`, in evaluation mode.

    Args:
        path: `encoder.pt`.

    Returns:
        The encoder; `encoder.spec` says which signal it expects, `encoder(x)` gives (B, D) features and
        `encoder.tokens(x)` gives (B, N, D) tokens for x (B, L, T) float32.

    Raises:
        UserError: see `read_checkpoint`.
    """
    return read_checkpoint(path).encoder


def is_own(content: Any) -> bool:
    """Whether what a file holds is an `encoder.pt` of this project."""
    return isinstance(content, dict) and content.get("format") == FORMAT and set(content) == KEYS


def write_plain(path: Path, content: Mapping[str, Any], *, alone: bool = False) -> None:
    """Write what `read_plain` reads, whole or not at all.

    Args:
        path: the file.
        content: plain containers and tensors.
        alone: see `replacing`.

    Raises:
        OSError: it cannot be written; torch, writing by itself, would make a fault of the program of a full disk.
    """
    buffer = BytesIO()
    torch.save(content, buffer)
    with replacing(path, alone=alone) as partial:
        partial.write_bytes(buffer.getbuffer())


def read_plain(path: Path) -> Any:
    """What a file of `torch.save` holds, None where it is broken or more than plain containers and tensors.

    Raises:
        UserError: there is no such file, or it may not be read.
    """
    try:
        with warnings.catch_warnings(action="ignore"):
            return torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise UnreadableCheckpoint(path, error.strerror) from None
    except Exception:  # a foreign or broken file raises nearly anything
        return None


def _load(path: Path) -> dict[str, Any]:
    content = read_plain(path)
    if not is_own(content):
        raise UserError(
            f"checkpoint={path}: no encoder.pt of this project, or broken; pass the encoder.pt of a run, or have "
            "adopt.py make one of another project's checkpoint"
        )
    assert isinstance(content, dict)
    return content


def _construct(config: Mapping[str, Any], spec: SignalSpec) -> Encoder:
    """Make the encoder; a file may name no class but this package's encoders."""
    module, _, name = str(config.get("_target_", "")).rpartition(".")
    found = None
    if module.startswith(__package__ + "."):
        with suppress(ImportError):
            found = getattr(import_module(module), name, None)
    if not (isinstance(found, type) and issubclass(found, Encoder)):
        raise UserError(f"{module}.{name} is no encoder of {__package__}")
    return found(**{key: value for key, value in config.items() if key != "_target_"}, spec=spec)


def _digest(content: Mapping[str, Any]) -> str:
    state = hashlib.blake2b(
        repr((sorted(content["encoder"].items()), sorted(content["spec"].items()))).encode(), digest_size=8
    )
    for key, value in sorted(content["weights"].items()):
        state.update(key.encode())
        state.update(value.contiguous().numpy().tobytes())
    return state.hexdigest()
