"""What pretraining asks of its data, be they one data set or several: windows without labels, and whose they are."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import torch
from lightning import LightningDataModule
from numpy.typing import NDArray
from torch.utils.data import DataLoader, Dataset

from ecg_lightning.data.share import check_share
from ecg_lightning.data.store import Store
from ecg_lightning.data.windows import RawBatch, to_signal
from ecg_lightning.errors import UserError
from ecg_lightning.signal import SignalSpec

Split = Literal["train", "val", "test"]
SPLITS: tuple[Split, ...] = ("train", "val", "test")

SHORTEST_EPOCH = 100
"""Batches: a small data set is gone through several times an epoch, so that validations are worth their time."""


class UnlabelledData(LightningDataModule):
    """Base of whatever an encoder is pretrained on.

    Args:
        name: as results call it.
        spec: the signal to render to: an encoder's own, or the data's default when an encoder is born.
        batch_size: windows a batch.
        seed: of the order in which windows are drawn.
        residency: `auto` keeps all signals on the GPU where they fit into half of the free memory; `cpu` never.
        share: of the training patients, whose recordings pretraining sees; the seed draws them. Validation and
            evaluation see everybody.
    """

    def __init__(
        self,
        name: str,
        spec: SignalSpec,
        batch_size: int = 64,
        seed: int = 0,
        residency: Literal["auto", "cpu"] = "auto",
        share: float = 1.0,
    ) -> None:
        super().__init__()
        if residency not in ("auto", "cpu"):
            raise UserError(f"data.residency={residency!r} is not one of auto, cpu")
        if batch_size < 1:
            raise UserError(f"data.batch_size={batch_size} must be at least 1")
        if seed < 0:
            raise UserError(f"data.seed={seed} must be a whole number, 0 or more")
        check_share(share)
        self.name: str = name
        self.spec, self.batch_size, self.seed, self.residency = spec, batch_size, seed, residency
        self.share = share

    @property
    @abstractmethod
    def stores(self) -> Sequence[Store]:
        """The prepared recordings, built at first use."""

    @abstractmethod
    def unlabelled(self, split: Split) -> Dataset[RawBatch]:
        """Windows of the recordings of a split.

        Raises:
            UserError: there are none.
        """

    @abstractmethod
    def place(self, device: torch.device) -> None:
        """Keep all signals on a device from now on."""

    @abstractmethod
    def patients(self, split: Split) -> NDArray[np.str_]:
        """Sorted names of the patients whose recordings belong to a split."""

    @abstractmethod
    def seen(self) -> dict[str, Any]:
        """What pretraining sees, for `encoder.pt`: evaluation tells from it whether its own test split is unseen."""

    @abstractmethod
    def remarks(self) -> list[str]:
        """What is to be known of the recordings before they are trained on, in words."""

    @abstractmethod
    def train_dataloader(self) -> DataLoader[RawBatch]:
        """Windows of the training recordings, shuffled and shifted anew each epoch."""

    @abstractmethod
    def val_dataloader(self) -> DataLoader[RawBatch]:
        """Fixed windows of the validation recordings."""

    def state_dict(self) -> dict[str, Any]:
        """For checkpoints: which recordings a run is trained on."""
        return {"fingerprints": [store.fingerprint for store in self.stores]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """See that a continued run goes on with the same ones.

        Raises:
            UserError: it would not.
        """
        if state_dict != self.state_dict():
            raise UserError(
                f"data={self.name}: the recordings are no longer those that this run began with; put them back, or "
                "choose another run_dir to train on the new ones"
            )

    def prepare_data(self) -> None:
        """Build the stores; on one process a node."""
        _ = self.stores

    def setup(self, stage: str | None = None) -> None:
        """Place the signals where the batches are made, all of them or none."""
        del stage
        trainer = self.trainer
        device = trainer.strategy.root_device if trainer is not None else torch.device("cpu")
        if self.residency == "auto" and device.type == "cuda":
            free, _ = torch.cuda.mem_get_info(device)
            if sum(store.signals.nbytes for store in self.stores) < free / 2:
                self.place(device)

    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        """Steps to standardised float32, on the device."""
        del dataloader_idx
        return to_signal(batch, self.spec) if isinstance(batch, RawBatch) else batch
