"""What every objective of conf/objective promises, with every encoder of conf/encoder."""

from __future__ import annotations

import ast
import json
import os
import re
from functools import cache, partial
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import PROJECT
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig, OmegaConf
from torch import Tensor

from ecg_lightning.build import build_encoder, build_objective
from ecg_lightning.data.taught import Task, Taught
from ecg_lightning.data.windows import Batch
from ecg_lightning.encoders.base import Encoder
from ecg_lightning.errors import UserError
from ecg_lightning.evaluation.spread import measure_spread
from ecg_lightning.objectives.base import Objective
from ecg_lightning.signal import TWELVE_LEADS, SignalSpec

CONF = PROJECT / "conf"
GOLDEN = Path(__file__).parent / "golden" / "objectives.json"
"""Made by `ECG_WRITE_GOLDEN=1 python -m pytest tests/test_objectives.py -k golden`; say why in the commit."""

SPEC = SignalSpec.of_seconds(100, ("II", "V1"), 4)
adamw = partial(torch.optim.AdamW, lr=2e-3)


def options(group: str) -> list[str]:
    return sorted(path.stem for path in (CONF / group).glob("*.yaml"))


OBJECTIVES, ENCODERS = options("objective"), options("encoder")
SAME_CLASS = {"vit_tiny", "vit_small", "vit_base", "xresnet1d101", "cpc"}
"""Larger sizes of what is tried in another size."""


@cache
def training_config(objective: str) -> DictConfig:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return compose("train", [f"objective={objective}"])


def taught() -> Taught:
    """Two classes, as in `recordings`."""
    data = object.__new__(Taught)
    vars(data)["task"] = Task(("slow", "quick"), multi_label=False, beats=False, counts=np.array([8, 8]), examples=16)
    return data


def labels_for(config: DictConfig) -> Taught | None:
    """What an objective that learns from labels is given."""
    module, _, name = config.objective._target_.rpartition(".")
    return taught() if getattr(import_module(module), name).needs_labels else None


def make(objective: str, encoder: Encoder | None = None) -> Objective:
    """The objective as its yaml says, around its own encoder or another one."""
    torch.manual_seed(0)
    config = training_config(objective)
    made = encoder or build_encoder(config.encoder, SPEC)
    return build_objective(config.objective, made, adamw, labels_for(config))


def recordings(B: int, seed: int = 0, padded: bool = False) -> Batch:
    """Beats of a shape and at a pace of each patient's own, two windows a patient."""
    generator = np.random.default_rng(seed)
    t = np.arange(SPEC.samples) / SPEC.fs
    x = np.empty((B, 2, SPEC.samples), np.float32)
    for b in range(B):
        own = np.random.default_rng(b // 2 + 1000 * seed)
        pace, width, lift = own.uniform(0.5, 1.2), own.uniform(0.02, 0.06), own.uniform(0.1, 0.6)
        beat = (t + generator.uniform(0, pace)) % pace
        wave = 4 * np.exp(-(((beat - 0.2) / width) ** 2)) + 4 * lift * np.exp(-(((beat - 0.45) / 0.08) ** 2))
        x[b] = np.stack([wave, own.uniform(-1, 1) * wave]) + 0.1 * generator.normal(size=(2, len(t)))
    x -= x.mean(axis=-1, keepdims=True)
    valid = None
    if padded:
        length = generator.integers(SPEC.samples // 2, SPEC.samples, B)
        valid = torch.from_numpy(np.arange(SPEC.samples) < length[:, None])
        x *= valid.numpy()[:, None]
    y = torch.arange(B) // 2 % 2
    return Batch(torch.from_numpy(x), torch.arange(B), y, None, valid, torch.arange(B) // 2)


def loss(objective: Objective, batch: Batch, seed: int = 0) -> dict[str, Tensor]:
    torch.manual_seed(seed)
    return objective.loss(batch)


def descend(objective: Objective, batch: Batch, steps: int) -> None:
    """What a Trainer does with one batch again and again."""
    optimizer = adamw([p for p in objective.parameters() if p.requires_grad])
    for step in range(steps):
        optimizer.zero_grad()
        loss(objective, batch, seed=1 + step)["loss"].backward()
        optimizer.step()
        objective.after_step(step / steps)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_the_loss_falls_and_the_features_stay_apart(name: str) -> None:
    objective, batch = make(name), recordings(16)
    before = loss(objective.train(), batch)["loss"].item()
    descend(objective, batch, 25)
    after = loss(objective, batch)["loss"].item()
    assert after < before
    with torch.no_grad():
        spread = measure_spread(objective.exported.eval()(batch.x))
    assert spread.effective_rank > 1.5 and spread.deviation > 1e-3


@pytest.mark.parametrize("padded", [False, True], ids=["whole", "padded"])
@pytest.mark.parametrize("name", OBJECTIVES)
def test_gradient_is_finite_and_reaches_every_weight_of_the_encoder(name: str, padded: bool) -> None:
    objective = make(name).train()
    scalars = loss(objective, recordings(8, padded=padded))
    assert all(value.ndim == 0 and value.isfinite() for value in scalars.values())
    scalars["loss"].backward()
    for key, weight in objective.encoder.named_parameters():
        assert weight.grad is not None and weight.grad.isfinite().all() and weight.grad.any(), key


@pytest.mark.parametrize("name", OBJECTIVES)
def test_the_verdict_is_a_sentence_of_what_validation_measures(name: str) -> None:
    objective = make(name).eval()
    metrics = {f"val/{key}": float(value) for key, value in loss(objective, recordings(8)).items()}
    untrained = objective.verdict(metrics)
    diverged = objective.verdict(dict.fromkeys(metrics, float("nan")))
    assert not diverged.learned
    for verdict in (untrained, diverged):
        assert verdict.sentence.endswith(".") and verdict.sentence[0].isupper()


@pytest.mark.parametrize("encoder", [name for name in ENCODERS if name not in SAME_CLASS])
@pytest.mark.parametrize("objective", OBJECTIVES)
def test_every_pairing_trains_or_is_refused_by_both_names_and_a_remedy(objective: str, encoder: str) -> None:
    loaded = OmegaConf.load(CONF / "encoder" / f"{encoder}.yaml")
    assert isinstance(loaded, DictConfig)
    torch.manual_seed(0)
    made = build_encoder(loaded, SPEC)
    try:
        paired = make(objective, made).train()
    except UserError as error:
        assert f"objective={objective}" in str(error) and type(made).__name__ in str(error)
        assert "encoder=" in str(error), "names an encoder that does"
        return
    value = loss(paired, recordings(4))["loss"]
    value.backward()
    gradients = [weight.grad for weight in made.parameters() if weight.grad is not None]
    assert value.isfinite() and any(gradient.any() for gradient in gradients)


def test_golden_losses() -> None:
    found: dict[str, list[float]] = {}
    for name in OBJECTIVES:
        objective, batch = make(name).train(), recordings(6)
        optimizer = torch.optim.SGD([p for p in objective.parameters() if p.requires_grad], lr=0.01)
        found[name] = []
        for step in range(3):
            value = loss(objective, batch, seed=step)["loss"]
            optimizer.zero_grad()
            value.backward()
            optimizer.step()
            objective.after_step(step / 3)
            found[name].append(value.item())
    if os.environ.get("ECG_WRITE_GOLDEN"):
        GOLDEN.write_text(json.dumps(found, indent=1) + "\n")
    golden = json.loads(GOLDEN.read_text())
    assert golden.keys() == found.keys()
    for name, values in found.items():
        assert values == pytest.approx(golden[name], rel=2e-3), name


@cache
def tested_modules() -> frozenset[str]:
    """Modules of the package that a test file imports by name."""
    files = [ast.parse(path.read_text()) for path in Path(__file__).parent.glob("test_*.py")]
    nodes = [node for file in files for node in ast.walk(file)]
    return frozenset(node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.module)


@pytest.mark.parametrize("group", ["objective", "encoder", "augment"])
def test_nothing_can_be_chosen_that_no_test_file_is_about(group: str) -> None:
    for name in options(group):
        for target in targets(OmegaConf.to_container(OmegaConf.load(CONF / group / f"{name}.yaml"))):
            module = target.rpartition(".")[0]
            assert module in tested_modules(), f"{group}={name}: no test imports {module}"


def targets(content: Any) -> list[str]:
    if isinstance(content, list):
        return [target for each in content for target in targets(each)]
    if not isinstance(content, dict):
        return []
    own = [content["_target_"]] if "_target_" in content else []
    return own + [target for each in content.values() for target in targets(each)]


def test_the_choices_and_their_sizes_are_told_in_the_documentation() -> None:
    text = (PROJECT / "docs" / "choices.md").read_text()
    named = set(re.findall(r"`(\w+)`", text))
    for group in ("objective", "encoder", "augment", "experiment"):
        assert set(options(group)) <= named, group
    spec, encoders = SignalSpec.of_seconds(100, TWELVE_LEADS, 10), text.split("## Encoders")[1].split("**Weights")[0]
    for name in set(ENCODERS) - {"vit_tiny", "vit_small"}:
        (row,) = (line for line in encoders.splitlines() if line.startswith("|") and f"`{name}`" in line.split("|")[1])
        with torch.device("meta"):
            encoder = build_encoder(OmegaConf.load(CONF / "encoder" / f"{name}.yaml"), spec)  # type: ignore[arg-type]
        assert f"{sum(weight.numel() for weight in encoder.parameters()):,}" in row, name


@pytest.mark.parametrize("name", [name for name in options("experiment") if name != "demo"])
def test_published_settings_can_be_built(name: str) -> None:
    """Those of large encoders without memory for their weights."""
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = compose("train", [f"+experiment={name}"])
    stated = OmegaConf.to_container(config.data.spec, resolve=True)
    assert isinstance(stated, dict)
    spec = SignalSpec.of_seconds(**{str(key): value for key, value in stated.items() if key != "_target_"})
    measures_its_kinds = "transformation" in config.objective._target_
    with torch.device("cpu" if measures_its_kinds else "meta"):
        encoder = build_encoder(config.encoder, spec)
        assert build_objective(config.objective, encoder, adamw, labels_for(config)).encoder is encoder
