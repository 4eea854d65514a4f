"""Self-supervised learning on ECG: pretrain an encoder without labels, then learn what it is worth with few."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"
__all__ = ["SignalSpec", "__version__", "load_encoder"]

if TYPE_CHECKING:
    from ecg_lightning.encoders.checkpoint import load_encoder
    from ecg_lightning.signal import SignalSpec


def __getattr__(name: str) -> Any:
    """Import torch only when somebody asks for what needs it."""
    if name == "load_encoder":
        from ecg_lightning.encoders.checkpoint import load_encoder

        return load_encoder
    if name == "SignalSpec":
        from ecg_lightning.signal import SignalSpec

        return SignalSpec
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
