"""What happens around training: checkpoints, the early stop, an end on demand, pictures of reconstructions."""

from __future__ import annotations

import signal
import threading
import time
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint
from lightning.pytorch.callbacks.early_stopping import EarlyStoppingReason
from torch.utils.data import DataLoader

from ecg_lightning.checkpoint_io import LAST, SUFFIX
from ecg_lightning.data.mix import MixedWindows
from ecg_lightning.data.unlabelled import UnlabelledData
from ecg_lightning.data.windows import Batch, Batches, Draw, RawBatch, UnlabelledWindows, to_signal
from ecg_lightning.objectives.mae import MAE
from ecg_lightning.reporting.ecg_paper import draw_reconstruction
from ecg_lightning.signal import TYPICAL_SPREAD_MV
from ecg_lightning.tracking.media import show


class Checkpoint(ModelCheckpoint):
    """A checkpoint that moves with its run directory.

    Lightning notes where a checkpoint lies with the best score, and forgets the score when it lies elsewhere.

    Args:
        folder: of the checkpoint.
        name: of the file, without its suffix.
        monitor: what is lowest in the best epoch; None keeps the last epoch.
    """

    def __init__(self, folder: Path, name: str, monitor: str | None = None) -> None:
        super().__init__(folder, name, monitor=monitor, enable_version_counter=False)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over what is noted, with the paths as they are now."""

        def here(path: str) -> str:
            return str(Path(str(self.dirpath)) / Path(path).name) if path else path

        paths = {key: here(state_dict[key]) for key in ("best_model_path", "kth_best_model_path", "last_model_path")}
        scores = {here(path): score for path, score in state_dict["best_k_models"].items()}
        super().load_state_dict({**state_dict, **paths, "best_k_models": scores, "dirpath": self.dirpath})


class EarlyStop(EarlyStopping):
    """Ends a run whose monitored figure no longer falls; a run continued after its end ends at once.

    Args:
        patience: validations without a lower one.
        monitor: the figure.
    """

    def __init__(self, patience: int, monitor: str) -> None:
        # At the end of validation, before the checkpoint is written, so that the checkpoint counts this validation too.
        super().__init__(monitor, patience=patience, check_on_train_epoch_end=False)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """A stop is no part of Lightning's own state."""
        trainer.should_stop = self.stopping_reason is not EarlyStoppingReason.NOT_STOPPED


class MidEpoch(Callback):
    """Writes the last checkpoint now and then in the middle of an epoch too, to go on from there with the next batch.

    Args:
        folder: of the checkpoints.
    """

    SECONDS = 600.0
    """Between two: what a killed run has to repeat at most."""

    LOOK_EVERY = 20
    """Batches: processes that train together have to agree on the time, which takes longer than to look at it."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / f"{LAST}{SUFFIX}"
        self._written = time.monotonic()

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Of an epoch that is taken up in the middle, leave out the batches that were learned from."""
        done = trainer.fit_loop.epoch_loop.batch_progress.current.ready
        batches = _batches(trainer)
        if batches is not None:
            batches.begun = done if done < trainer.num_training_batches else 0

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Write one when it is time, after a step of the optimiser that is not the epoch's last."""
        done = batch_idx + 1
        is_step = done % trainer.accumulate_grad_batches == 0 and done < trainer.num_training_batches
        if not is_step or done % (self.LOOK_EVERY if trainer.world_size > 1 else 1) or _batches(trainer) is None:
            return
        if trainer.strategy.broadcast(time.monotonic() - self._written >= self.SECONDS):
            trainer.save_checkpoint(self.path)
            self._written = time.monotonic()

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """One is written now anyway."""
        self._written = time.monotonic()


def _batches(trainer: Trainer) -> Batches | None:
    """What draws the batches, None where Lightning has put something of its own around it."""
    sampler = cast("DataLoader[RawBatch]", trainer.train_dataloader).sampler
    return sampler if isinstance(sampler, Batches) else None


class PromptEnd(Callback):
    """Signals that ask for an end get it as before the training, and processes that train together end together.

    Lightning's own handler of SIGTERM would wait for the others in the middle of what they do together.
    """

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Before Lightning puts in its own."""
        self._handler = signal.getsignal(signal.SIGTERM)

    def on_sanity_check_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """After it."""
        self._put_back()

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """After it, without a sanity check."""
        self._put_back()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """The other processes would wait for this one."""
        launcher = trainer.strategy.launcher
        if launcher is not None:
            launcher.kill(signal.SIGKILL)

    def _put_back(self) -> None:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, self._handler)


DRAWN = {"none": (1.0, "mV"), "scale": (TYPICAL_SPREAD_MV, "mV"), "zscore": (1.0, "SD")}
"""Factor and unit that bring standardised samples onto paper."""


class ReconstructionPicture(Callback):
    """Draws a validation window on ECG paper, as it was, as the autoencoder saw it and as it guessed the rest.

    Args:
        folder: where `reconstruction.png` goes.
        every: epochs between two pictures; one more is drawn at the end.
    """

    def __init__(self, folder: Path, every: int = 10) -> None:
        self.folder, self.every = folder, every

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """A picture now and then."""
        if not trainer.sanity_checking and (trainer.current_epoch + 1) % self.every == 0:
            self._draw(trainer, pl_module, trainer.current_epoch + 1)

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """The picture at the end."""
        self._draw(trainer, pl_module, trainer.current_epoch)

    def _draw(self, trainer: Trainer, pl_module: LightningModule, epochs: int) -> None:
        if not isinstance(pl_module, MAE) or not trainer.is_global_zero:
            return
        data: UnlabelledData = trainer.datamodule  # type: ignore[attr-defined]
        batch = _one_window(data, pl_module)
        devices = [pl_module.device] if pl_module.device.type == "cuda" else []
        with torch.random.fork_rng(devices):
            torch.manual_seed(0)
            result = pl_module.reconstruct(batch.x, batch.valid)
        scale, unit = DRAWN[data.spec.standardise]
        path = draw_reconstruction(
            scale * result.signal[0].float().cpu().numpy(),
            scale * result.guess[0].float().cpu().numpy(),
            result.masked[0].cpu().numpy(),
            data.spec.fs,
            data.spec.leads,
            self.folder / "reconstruction.png",
            title=f"{data.name}: masked autoencoder after {epochs} epochs",
            unit=unit,
        )
        show(trainer.loggers, "reconstruction", path, trainer.global_step)


def _one_window(data: UnlabelledData, module: MAE) -> Batch:
    """The window in the middle of the validation recordings, on the module's device."""
    dataset = cast("UnlabelledWindows | MixedWindows", data.val_dataloader().dataset)
    raw = dataset[Draw(np.array([len(dataset) // 2]), np.array([0.5]))]
    batch = to_signal(raw.to(module.device), data.spec)
    return batch._replace(x=batch.x.to(next(module.parameters()).dtype))
