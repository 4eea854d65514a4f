"""Fine-tuning: what it learns, how fast each depth of an encoder learns, and when."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from omegaconf import OmegaConf
from torch import Tensor, nn
from waves import waves as wave_data

from ecg_lightning.build import build_encoder
from ecg_lightning.encoders.base import Encoder
from ecg_lightning.encoders.checkpoint import EncoderCheckpoint, read_checkpoint
from ecg_lightning.errors import UserError
from ecg_lightning.evaluation.cell import Cell, Part
from ecg_lightning.evaluation.condition import Condition
from ecg_lightning.evaluation.finetune import FineTune
from ecg_lightning.evaluation.recipes import RECIPES, Recipe, Stage, depth_groups
from ecg_lightning.signal import TWELVE_LEADS, SignalSpec

CONF = Path(__file__).parents[1] / "conf" / "encoder"
ENCODERS = sorted(path.stem for path in CONF.glob("*.yaml"))
LR = 3e-3


@pytest.fixture(scope="module")
def checkpoint(tiny_checkpoint: Path) -> EncoderCheckpoint:
    return read_checkpoint(tiny_checkpoint)


@pytest.fixture(scope="module")
def convolutional(convolutional_checkpoint: Path) -> EncoderCheckpoint:
    return read_checkpoint(convolutional_checkpoint)


@pytest.fixture
def waves(checkpoint: EncoderCheckpoint, make_cell: Callable[..., Cell], tmp_path: Path) -> Callable[..., Cell]:
    data = wave_data(checkpoint.encoder.spec)
    return lambda seed=0, pretrained=checkpoint: make_cell(pretrained, data, tmp_path, 20, seed)


def finetune(init: Any = "pretrained", steps: int = 5, recipe: Any = "full") -> FineTune:
    return FineTune(init, recipe, steps, batch_size=8, lr=LR, weight_decay=0.05)


def predicted(protocol: FineTune, cell: Cell) -> NDArray[Any]:
    """What it says of the cell's test split."""
    return protocol.fit(cell).predict(cell.part("test"))


def same_state(one: nn.Module, other: nn.Module) -> bool:
    return all(torch.equal(value, other.state_dict()[key]) for key, value in one.state_dict().items())


# ---------------------------------------------------------------- what it learns


@pytest.mark.parametrize(("init", "recipe"), [("pretrained", "full"), ("random", "full"), ("pretrained", "head_first")])
def test_the_loss_falls_and_fresh_examples_are_told_apart(waves, init, recipe):
    cell = waves()
    first, last = (finetune(init, steps, recipe).fit(cell) for steps in (1, 80))
    assert last.details["train_loss"] < 0.2 * first.details["train_loss"]
    truth = cell.data.labelled.of("test").y
    assert (last.predict(cell.part("test")).argmax(axis=1) == truth).mean() > 0.9


@pytest.mark.parametrize("init", ["pretrained", "random"])
def test_the_model_seed_alone_decides_the_outcome(waves, init):
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = predicted(finetune(init), waves())
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    np.testing.assert_array_equal(predicted(finetune(init), waves()), first)
    assert not np.allclose(predicted(finetune(init), waves(seed=1)), first, atol=1e-4)


def test_training_from_scratch_knows_nothing_of_the_pretrained_weights(waves, checkpoint):
    other = replace(checkpoint, encoder=checkpoint.fresh())
    from_scratch, fine_tuned = (
        [predicted(finetune(init), waves(pretrained=each)) for each in (checkpoint, other)]
        for init in ("random", "pretrained")
    )
    np.testing.assert_array_equal(*from_scratch)
    assert not np.allclose(*fine_tuned, atol=1e-4)
    assert not np.allclose(from_scratch[0], fine_tuned[0], atol=1e-4)


def test_fine_tuning_leaves_the_checkpoints_encoder_alone(waves, checkpoint):
    before = {key: value.clone() for key, value in checkpoint.encoder.state_dict().items()}
    finetune().fit(waves())
    after = checkpoint.encoder.state_dict()
    assert all(torch.equal(after[key], value) for key, value in before.items())
    assert not checkpoint.encoder.training
    assert all(parameter.grad is None for parameter in checkpoint.encoder.parameters())


def test_predicting_changes_nothing_and_heeds_no_neighbour(waves, convolutional):
    """The norms go by what they learned, not by the batch."""
    cell = waves(pretrained=convolutional)
    fitted, test = finetune().fit(cell), cell.part("test")
    before = deepcopy(fitted.model)
    whole = fitted.predict(test)
    few = Part(test.data, test.examples.take(np.arange(len(test)) < 7), test.label)
    np.testing.assert_allclose(fitted.predict(few), whole[:7], atol=1e-5)
    assert same_state(before, fitted.model)


def test_the_condition_of_a_part_is_that_of_its_signals(waves):
    class Silence(nn.Module):
        def forward(self, x_BLT: Tensor, valid_BT: Tensor | None) -> tuple[Tensor, Tensor | None]:
            return 0 * x_BLT, valid_BT

    cell = waves()
    silence = Condition("silence", Silence())
    heard, deaf = finetune().fit(cell), finetune().fit(replace(cell, condition=silence))
    assert np.ptp(heard.predict(cell.part("test")), axis=0).min() > 1e-3
    assert np.ptp(heard.predict(cell.part("test", silence)), axis=0).max() < 1e-6
    assert not np.allclose(heard.predict(cell.part("test")), deaf.predict(cell.part("test")), atol=1e-3)


# ---------------------------------------------------------------- depth


@pytest.fixture(scope="module", params=ENCODERS)
def encoder(request: pytest.FixtureRequest) -> Encoder:
    """On no device: it has shapes and no numbers."""
    with torch.device("meta"):
        return build_encoder(OmegaConf.load(CONF / f"{request.param}.yaml"), SignalSpec(100, TWELVE_LEADS, 300))


@pytest.mark.parametrize("count", [1, 2, 3, None])
def test_every_parameter_of_every_encoder_lies_at_one_depth(encoder, count):
    groups = depth_groups(encoder, count)
    ours = [id(parameter) for group in groups for parameter in group]
    assert len(ours) == len(set(ours)) and set(ours) == set(map(id, encoder.parameters()))
    assert all(groups) and (count is None or len(groups) == min(count, len(depth_groups(encoder, None))))
    assert len(depth_groups(encoder, None)) > 1


def test_layers_lie_in_the_order_in_which_signals_pass_through_them(encoder):
    layers, order = [layer for layer in encoder.depth_order() if list(layer.parameters())], []
    hooks = [layer.register_forward_hook(lambda layer, *_: order.append(layer)) for layer in layers]
    encoder(torch.randn(2, 12, encoder.fit_length(10), device="meta"))
    for hook in hooks:
        hook.remove()
    assert order == layers


def test_a_vision_transformers_layers_are_those_of_layer_wise_decay():
    """Embedding, blocks, norm: the groups of BEiT and MAE, in which the first block learns at decay ** depth."""
    with torch.device("meta"):
        config = OmegaConf.load(CONF / "vit_tiny.yaml")
        encoder = build_encoder(config, SignalSpec(100, TWELVE_LEADS, 300))
    rates = {id(p): share for group, share in RECIPES["layerwise"].rates(encoder) for p in group}
    for name, parameter in encoder.named_parameters():
        depth = {"project": 0, "transformer.norm": 13}.get(name.rpartition(".")[0])
        depth = int(name.split(".")[2]) + 1 if depth is None else depth
        assert rates[id(parameter)] == pytest.approx(0.65 ** (14 - depth)), name


def test_the_published_ratios_fall_on_convolutions_and_lstm():
    with torch.device("meta"):
        config = OmegaConf.load(CONF / "cpc.yaml")
        encoder = build_encoder(config, SignalSpec(100, TWELVE_LEADS, 300))
    (lower, hundredth), (upper, tenth) = RECIPES["head_first"].rates(encoder)
    assert (hundredth, tenth) == pytest.approx((0.01, 0.1))
    assert list(map(id, lower)) == list(map(id, encoder.stem.parameters()))
    assert list(map(id, upper)) == list(map(id, encoder.lstm.parameters()))


# ---------------------------------------------------------------- rates


def moved(before: nn.Module, after: nn.Module) -> float:
    """How far the weights are from what they were, in the middle."""
    pairs = zip(before.parameters(), after.parameters(), strict=True)
    distance = torch.cat([(new - old).detach().abs().flatten() for old, new in pairs])
    return float(distance[distance > 0].median())


SHARES = {"full": (1, 1), "discriminative": (0.1, 0.1), "layerwise": (0.65**3, 0.65**2)}


@pytest.mark.parametrize("recipe", SHARES)
def test_a_step_moves_each_depth_as_far_as_its_rate_says(waves, checkpoint, recipe):
    """The first step of Adam moves every weight by its rate, here one that rounding does not hide."""
    still, model = (
        FineTune("pretrained", recipe, 1, 8, lr, weight_decay=0.0).classifier(waves()) for lr in (0.0, 10.0)
    )
    step = moved(still.head, model.head)
    before, after = checkpoint.encoder, model.encoder
    assert same_state(still.encoder, before)
    parts = ((before.project, after.project), (before.transformer.blocks, after.transformer.blocks))
    assert [moved(*part) / step for part in parts] == pytest.approx(SHARES[recipe], rel=0.02)


def test_stages_add_up_to_the_steps_that_were_asked_for():
    for recipe in RECIPES.values():
        for steps in (1, 2, 3, 200):
            stages = list(recipe.stages(steps))
            assert sum(stage.steps for stage in stages) == steps and all(stage.steps for stage in stages)
    assert list(RECIPES["head_first"].stages(200)) == [Stage(100, True), Stage(100, False)]
    assert list(RECIPES["full"].stages(200)) == [Stage(200, False)]


def test_while_the_head_learns_alone_nothing_in_the_encoder_changes(waves, convolutional, monkeypatch):
    cell, start = waves(pretrained=convolutional), deepcopy(convolutional.encoder)
    monkeypatch.setitem(RECIPES, "head_first", Recipe(decay=0.1, groups=2, head_alone=1.0))
    first, last = (finetune(steps=steps, recipe="head_first").classifier(cell) for steps in (1, 30))
    assert same_state(last.encoder, start) and any("running_mean" in key for key in start.state_dict())
    assert all(parameter.grad is None for parameter in last.encoder.parameters())  # which would cost time
    assert last.last_loss < first.last_loss and not same_state(last.head, first.head)


def test_then_all_of_it_learns_for_the_steps_that_are_left(waves, convolutional):
    model = finetune(steps=9, recipe="head_first").classifier(waves(pretrained=convolutional))
    counted = {key: int(value) for key, value in model.encoder.state_dict().items() if "num_batches" in key}
    assert counted and set(counted.values()) == {5}
    pairs = zip(model.encoder.parameters(), convolutional.encoder.parameters(), strict=True)
    assert all(not torch.equal(new, old) for new, old in pairs)


def test_a_recipe_that_there_is_not_is_told_with_those_there_are():
    with pytest.raises(UserError, match=r"recipe='slowly' must be full or discriminative or layerwise or head_first"):
        finetune(recipe="slowly")
