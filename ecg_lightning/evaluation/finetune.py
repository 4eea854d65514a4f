"""Fine-tuning an encoder, or training it from scratch, on the labels of a budget."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass
from typing import Any, Literal

import torch

from ecg_lightning.errors import UserError
from ecg_lightning.evaluation.cell import Cell, Part, Probability
from ecg_lightning.evaluation.classifier import Classifier, Course, Network, Rate
from ecg_lightning.evaluation.one_pass import one_pass
from ecg_lightning.evaluation.recipes import RECIPES, RecipeName, Stage

Init = Literal["pretrained", "random"]


class FineTune:
    """Encoder and a linear head, trained through the Trainer for a fixed number of steps.

    Nothing is chosen by looking at labels, so that the budget covers all there is: no early stop, no validation.

    Args:
        init: the encoder's weights at the start: `pretrained`, or `random` to train from scratch.
        recipe: how fast the encoder learns beside the head, and when, see `recipes.RECIPES`.
        steps: optimiser steps, of all stages together.
        batch_size: labelled windows a step, at most.
        lr: peak learning rate of the head.
        weight_decay: of AdamW.

    Raises:
        UserError: a number is out of range, or there is no such recipe.
    """

    def __init__(
        self, init: Init, recipe: RecipeName, steps: int, batch_size: int, lr: float, weight_decay: float
    ) -> None:
        for key, value, least in (("steps", steps, 1), ("batch_size", batch_size, 1), ("lr", lr, 0),
                                  ("weight_decay", weight_decay, 0)):  # fmt: skip
            if value < least:
                raise UserError(f"protocol.method.{key}={value} must be {least} or more")
        if recipe not in RECIPES:
            raise UserError(f"protocol.method.recipe={recipe!r} must be {' or '.join(RECIPES)}")
        self.init, self.recipe = init, recipe
        self.steps, self.batch_size, self.lr, self.weight_decay = steps, batch_size, lr, weight_decay

    def fit(self, cell: Cell) -> FineTuned:
        """See `EvaluationProtocol`."""
        model = self.classifier(cell)
        return FineTuned(model, {"recipe": self.recipe, "steps": self.steps, "train_loss": model.last_loss})

    def classifier(self, cell: Cell) -> Classifier:
        """What is learned from the cell's labels."""
        beats, multi_label = cell.train.examples.span is not None, cell.labels[cell.budget].ndim == 2
        with torch.random.fork_rng():
            torch.manual_seed(cell.model_seed)
            pretrained = self.init == "pretrained"
            encoder = deepcopy(cell.checkpoint.encoder) if pretrained else cell.checkpoint.fresh()
            model = Classifier(encoder.train(), cell.data, beats, multi_label)
            for stage in RECIPES[self.recipe].stages(self.steps):
                model.keep_encoder(stage.head_alone)
                model.learn(cell, self.course([model], stage))
        return model

    def course(self, models: list[Classifier], stage: Stage) -> Course:
        """How a stage trains one or several classifiers."""
        rates = []
        for model in models:
            of_encoder = [] if stage.head_alone else RECIPES[self.recipe].rates(model.encoder)
            rates += [Rate(group, share * self.lr) for group, share in of_encoder]
            rates.append(Rate(list(model.head.parameters()), self.lr))
        return Course(rates, stage.steps, self.batch_size, self.weight_decay)


@dataclass(frozen=True)
class FineTuned:
    """See `Fitted`.

    Attributes:
        model: the trained network.
        details: see `Fitted`.
    """

    model: Network
    details: Mapping[str, Any]

    def predict(self, part: Part) -> Probability:
        """See `Fitted`."""
        model = self.model
        said = one_pass(part, model, lambda batch: model.probability(batch).cpu(), f"predicting {part.label}")
        return torch.cat(said).double().numpy()
