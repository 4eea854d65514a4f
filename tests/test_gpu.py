"""What only a GPU shows: the resident store, training in mixed precision, features as on the CPU."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from conftest import PROJECT, Train

from ecg_lightning import load_encoder
from ecg_lightning.data.mitbih import MITBIH
from ecg_lightning.encoders.checkpoint import read_checkpoint
from ecg_lightning.evaluation.cell import Part
from ecg_lightning.evaluation.features import embed

pytestmark = pytest.mark.gpu


def beats(synthetic_root: Path, cache: Path, spec: Any, residency: Any = "auto") -> MITBIH:
    return MITBIH(name="mitbih", root=synthetic_root / "mitdb", spec=spec, cache_dir=cache, residency=residency)


def test_a_resident_store_gives_the_same_windows_without_the_host(synthetic_root, tiny_checkpoint, tmp_path):
    spec = load_encoder(tiny_checkpoint).spec
    resident, on_host = (beats(synthetic_root, tmp_path, spec, residency) for residency in ("auto", "cpu"))
    for data in (resident, on_host):
        data.trainer = SimpleNamespace(strategy=SimpleNamespace(root_device=torch.device("cuda")))
        data.setup()
    for there, here in zip(resident.train_dataloader(), on_host.train_dataloader(), strict=True):
        assert there.steps.is_cuda and not here.steps.is_cuda
        assert torch.equal(there.steps.cpu(), here.steps) and (there.valid is None) == (here.valid is None)


def test_training_in_mixed_precision_writes_a_finite_encoder(train: Train, tmp_path):
    encoder = load_encoder(train(tmp_path / "run", "trainer=gpu"))
    assert all(weight.isfinite().all() for weight in encoder.state_dict().values())


def test_features_are_those_of_the_cpu(synthetic_root, tiny_checkpoint, tmp_path, monkeypatch):
    checkpoint = read_checkpoint(tiny_checkpoint)
    data = beats(synthetic_root, tmp_path, checkpoint.encoder.spec)
    examples = data.labelled.of("test")
    on_gpu = embed(checkpoint.encoder, Part(data, examples, "gpu"), "gpu")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    np.testing.assert_allclose(on_gpu, embed(checkpoint.encoder, Part(data, examples, "cpu"), "cpu"), atol=5e-3)


@pytest.mark.parametrize("objective", sorted(path.stem for path in (PROJECT / "conf" / "objective").glob("*.yaml")))
def test_every_objective_trains_in_mixed_precision(objective: str, train: Train, tmp_path):
    encoder = load_encoder(train(tmp_path, "trainer=gpu", "trainer.max_epochs=1", objective=objective))
    assert all(weight.isfinite().all() for weight in encoder.state_dict().values())
