"""Lets the libraries say only what concerns the run."""

from __future__ import annotations

import logging
import warnings

QUIET = (
    r".*does not have many workers.*",  # whole batches come from one fancy index; workers only slow it
    r".*Checkpoint directory .* exists and is not empty.*",  # a continued run's own
    r".*your dataloader is not resumable.*",  # its sampler is, see callbacks.MidEpoch
    r".*isinstance\(treespec, LeafSpec\).*",
    r".*torch\.distributed\.nn\.functional\..* is deprecated.*",  # what replaces it is private, or has no gradient
    r".*in eval mode at the start of training.*",  # an encoder that stays as it is while its head learns
    r".*when logging on epoch level in distributed setting.*",  # what is logged is already of all processes
)

CHATTER = ("Tip:", "TPU available", "GPU available", "Loading `train_dataloader`", "Restoring states", "Restored all",
           "Initializing distributed", "All distributed processes registered")  # fmt: skip


class _Chatter(logging.Filter):
    """Drops what says nothing about the run."""

    def filter(self, record: logging.LogRecord) -> bool:
        message = record.getMessage()
        return not any(part in message for part in CHATTER)


def quieten() -> None:
    """Silence what is known to be of no use, for the rest of the process."""
    for pattern in QUIET:
        warnings.filterwarnings("ignore", message=pattern)
    for name in ("lightning", "lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).handlers.clear()  # Hydra's root handler prints what they hand up
    for name in ("pytorch.utilities.rank_zero", "fabric.utilities.rank_zero", "fabric.utilities.distributed"):
        library = logging.getLogger(f"lightning.{name}")
        if not any(isinstance(each, _Chatter) for each in library.filters):
            library.addFilter(_Chatter())
