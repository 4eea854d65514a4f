"""Does this run learn anything? Measured as it goes, warned of early, told at its end in plain words."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from copy import deepcopy
from typing import Any, cast

import numpy as np
import torch
from lightning import Callback, LightningModule, Trainer
from torch import Tensor

from ecg_lightning.data.mix import MixedWindows
from ecg_lightning.data.module import ECGDataModule
from ecg_lightning.data.unlabelled import UnlabelledData
from ecg_lightning.data.windows import Draw, UnlabelledWindows, to_signal
from ecg_lightning.encoders.base import Encoder
from ecg_lightning.errors import UserError
from ecg_lightning.evaluation.online import OnlineProbe
from ecg_lightning.evaluation.spread import Spread, measure_spread
from ecg_lightning.objectives.base import Objective, Verdict

log = logging.getLogger(__name__)

METRICS = "validation_metrics"
"""Key of the figures in a checkpoint."""

COLLAPSED_RANK, COLLAPSED_DEVIATION = 1.5, 1e-3
"""Below either of these all windows look the same to the encoder; random encoders lie far above both."""

PROBES = {"probe_auroc": "linear", "knn_auroc": "nearest neighbours"}
"""What the sentence at the end calls them."""


class LearningCheck(Callback):
    """Looks at the encoder's features at each validation, and lays its figures into each checkpoint.

    Logged are `val/effective_rank` and `val/deviation` of the features (see `evaluation.spread`), and where the data
    have labels `val/probe_auroc` and `val/knn_auroc` (see `evaluation.online`). All of them are taken before the first
    step too, as `start/NAME`.

    Args:
        data: what is trained on.
        labelled: whose labels the probes read; None for none.

    Attributes:
        features: (N, D) of the validation windows that were looked at last; None before.
    """

    WARN_AFTER = 5
    """Epochs; by then every objective here has left its trivial solution when it ever will."""

    WINDOWS = 256
    """Validation windows whose features are looked at."""

    def __init__(self, data: UnlabelledData, labelled: ECGDataModule | None) -> None:
        self.data, self.labelled = data, labelled
        self.judged = False
        self.start: dict[str, float] = {}
        self.features: Tensor | None = None
        self._probe: OnlineProbe | None = None

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Before the first step of a run, not of a continued one."""
        if self.labelled is not None:
            try:
                self._probe = OnlineProbe(self.labelled)
            except UserError as error:
                log.info(f"no probes during training: {error}")
        if not self.start:
            measured = self._measure(trainer, cast(Objective, pl_module))
            self.start = {f"start/{name}": value for name, value in measured.items()}

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Measure and log."""
        if not trainer.sanity_checking:
            measured = self._measure(trainer, cast(Objective, pl_module))
            pl_module.log_dict({f"val/{name}": value for name, value in measured.items()}, rank_zero_only=False)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Judge once, at the first validation after `WARN_AFTER` epochs."""
        if trainer.sanity_checking or trainer.current_epoch + 1 < self.WARN_AFTER or self.judged:
            return
        self.judged = True
        verdict = judge(cast(Objective, pl_module), self._figures(trainer))
        if not verdict.learned and trainer.is_global_zero:
            log.warning(f"After {trainer.current_epoch + 1} epochs: {verdict.sentence}")

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """The last validation's figures, and those of the start, by name."""
        checkpoint[METRICS] = self._figures(trainer)

    def state_dict(self) -> dict[str, Any]:
        """A continued run is not warned again, and remembers its start."""
        return {"judged": self.judged, "start": self.start}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """See `state_dict`."""
        self.judged, self.start = state_dict["judged"], state_dict["start"]

    def _figures(self, trainer: Trainer) -> dict[str, float]:
        logged = {key: float(value) for key, value in trainer.callback_metrics.items() if key.startswith("val/")}
        return logged | self.start

    def _measure(self, trainer: Trainer, objective: Objective) -> dict[str, float]:
        """The figures of the first process, in all of them."""
        found = self._look_at(objective) if trainer.is_global_zero else {}
        return trainer.strategy.broadcast(found)

    @torch.no_grad()
    def _look_at(self, objective: Objective) -> dict[str, float]:
        encoder = deepcopy(objective.exported).float().eval()  # single precision whatever the training's
        spread = self._spread(encoder, objective.device)
        found = {} if spread is None else spread._asdict()
        if self._probe is not None:
            found |= self._probe.measure(encoder, objective.device)
        return found

    def _spread(self, encoder: Encoder, device: torch.device) -> Spread | None:
        """Of validation windows spread evenly over all there are; None where there is only one."""
        windows = cast("UnlabelledWindows | MixedWindows", self.data.unlabelled("val"))
        if len(windows) < 2:
            return None
        which = np.unique(np.linspace(0, len(windows) - 1, self.WINDOWS).astype(np.int64))
        parts = []
        for few in np.array_split(which, -(-len(which) // self.data.batch_size)):
            batch = to_signal(windows[Draw(few, np.full(len(few), 0.5))].to(device), self.data.spec)
            parts.append(encoder(batch.x, batch.valid))
        self.features = torch.cat(parts)
        return measure_spread(self.features)


def judge(objective: Objective, metrics: Mapping[str, float]) -> Verdict:
    """Whether a run learned something, by its objective's own measure and by its features.

    Args:
        objective: which was trained.
        metrics: `val/NAME` of a validation, and `start/NAME` of what was measured before the first step.
    """
    rank, deviation = metrics.get("val/effective_rank"), metrics.get("val/deviation")
    if rank is None or deviation is None:
        return objective.verdict(metrics)
    features = f"its features differ in {rank:.1f} directions of {objective.exported.dim}"
    if not (rank > COLLAPSED_RANK and deviation > COLLAPSED_DEVIATION):
        return Verdict(False, f"This run has collapsed: to its encoder all windows look the same ({features}). Lower "
                              "optimizer.lr or take more windows a batch (data.batch_size).")  # fmt: skip
    verdict = objective.verdict(metrics)
    told = [f"{verdict.sentence} {features[0].upper()}{features[1:]}", *_probes(metrics)]
    return Verdict(verdict.learned, "; ".join(told) + ".")


def _probes(metrics: Mapping[str, float]) -> list[str]:
    """What the probes read from the features, beside what they read from them before the first step."""
    both = {name: (metrics[f"val/{key}"], metrics[f"start/{key}"]) for key, name in PROBES.items()
            if {f"val/{key}", f"start/{key}"} <= metrics.keys()}  # fmt: skip
    if not both:
        return []
    better = [now > before for now, before in both.values()]
    change = "more from them than" if all(better) else "about as much as" if any(better) else "no more from them than"
    told = ", ".join(f"{name} {now:.3f}, before {before:.3f}" for name, (now, before) in both.items())
    return [f"probes read {change} before training (macro AUROC: {told})"]
