"""What every test may ask for."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from ecg_lightning.data.module import ECGDataModule
    from ecg_lightning.data.unlabelled import UnlabelledData
    from ecg_lightning.encoders.checkpoint import EncoderCheckpoint
    from ecg_lightning.evaluation.cell import Cell
    from ecg_lightning.objectives.base import Objective

PROJECT = Path(__file__).resolve().parent.parent

NO_LEAKAGE = {
    "pretraining_patients": 0,
    "pretraining_populations_unclear": [],
    "training_patients": 0,
    "pretraining_copies": 0,
    "training_copies": 0,
    "allowed": False,
}
"""What a result says of a test split that nothing was learned from."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    import torch

    reasons = {
        "realdata": None if os.environ.get("ECG_DATA_ROOT") else "ECG_DATA_ROOT is not set",
        "gpu": None if torch.cuda.is_available() else "no CUDA device",
    }
    for item in items:
        for marker, reason in reasons.items():
            if reason and item.get_closest_marker(marker):
                item.add_marker(pytest.mark.skip(reason=reason))


def build_training(config: DictConfig) -> tuple[UnlabelledData, Objective]:
    """The data of a pretraining run, and the objective around a fresh encoder."""
    from ecg_lightning.build import build_encoder, build_objective, build_optimizer, build_training_data

    data = build_training_data(config)
    encoder = build_encoder(config.encoder, data.spec)
    return data, build_objective(config.objective, encoder, build_optimizer(config.optimizer), data)


@pytest.fixture(scope="session")
def data_root() -> Path:
    """The folder of real recordings; only for tests marked `realdata`."""
    return Path(os.environ["ECG_DATA_ROOT"]).resolve()


@pytest.fixture(scope="session")
def synthetic_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with 60 synthetic 12-lead records in `ptbxl/` and 4 one-minute Holter records in `mitdb/`."""
    from ecg_lightning.data.synthetic.write import write_dataset

    root = tmp_path_factory.mktemp("synthetic")
    write_dataset(root, records=60, holter=4, holter_minutes=1.0, workers=0)
    return root


@pytest.fixture(scope="session")
def noise_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with half a minute of each kind of noise in `nstdb/`, slow, of steps, and white."""
    import numpy as np

    from ecg_lightning.data.synthetic.format16 import write_record

    root, rng = tmp_path_factory.mktemp("noise"), np.random.default_rng(0)
    (root / "nstdb").mkdir()
    white = rng.normal(size=(3, 2, 30 * 360))
    kinds = {"bw": white[0].cumsum(axis=1), "em": np.repeat(white[1, :, ::90], 90, axis=1), "ma": white[2]}
    for kind, noise in kinds.items():
        steps = (1000 * noise / np.abs(noise).max()).astype(np.int16)
        write_record(root / "nstdb" / kind, 360, ("noise1", "noise2"), steps)
    return root


def save_random(path: Path, target: str, seed: int, **size: Any) -> Path:
    """An `encoder.pt` with random weights, for two leads and windows of 4 s, that saw nobody."""
    import torch
    from hydra.utils import get_class

    from ecg_lightning.encoders.checkpoint import save_encoder
    from ecg_lightning.signal import SignalSpec

    torch.manual_seed(seed)
    encoder = get_class(f"ecg_lightning.encoders.{target}")(SignalSpec.of_seconds(100, ("II", "V1"), 4), **size)
    trained_on = {"name": "elsewhere", "fingerprint": "0", "patients": [], "skipped": {}, "substituted_leads": {}}
    training = {"data": trained_on, "config": {}, "objective": "MAE", "epoch": 0, "metrics": {}, "learned": True,
                "verdict": "it learned", "commit": "unknown"}  # fmt: skip
    save_encoder(path, encoder, {"_target_": f"ecg_lightning.encoders.{target}", **size}, training)
    return path


@pytest.fixture(scope="session")
def tiny_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An `encoder.pt` with random weights, for two leads and windows of 4 s: a small ViT."""
    path = tmp_path_factory.mktemp("run") / "encoder.pt"
    return save_random(path, "vit.ViT", seed=7, dim=32, depth=1, heads=2, patch_seconds=0.2)


@pytest.fixture(scope="session")
def convolutional_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An `encoder.pt` like `tiny_checkpoint`, of convolutions with BatchNorm."""
    return save_random(tmp_path_factory.mktemp("run") / "encoder.pt", "ecg1dcnn.ECG1DCNN", seed=8, width=4)


@pytest.fixture(scope="session")
def tiny(synthetic_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., list[str]]:
    """What to say to `train.py` for a training of seconds, by data set and objective."""
    from ecg_lightning.data.synthetic.write import write_dataset

    holter, cache = tmp_path_factory.mktemp("holter"), tmp_path_factory.mktemp("cache")
    write_dataset(holter, records=0, holter=16, holter_minutes=0.5, workers=0)  # enough for a validation patient
    root = {"synthetic": synthetic_root / "ptbxl", "mitbih": holter / "mitdb"}
    encoder = ["encoder.dim=32", "encoder.depth=1", "encoder.heads=2"]
    decoder = ["objective.decoder_dim=32", "objective.decoder_depth=1"]
    short = ["data.batch_size=16", "trainer.max_epochs=6", "+trainer.limit_train_batches=3"]
    told = ["trainer.log_every_n_steps=1", "trainer.enable_progress_bar=false"]

    def overrides(data: str, objective: str = "mae") -> list[str]:
        where = [f"data={data}", f"data.root={root[data]}", f"cache_dir={cache}", *short, *told]
        chosen = f"objective={objective}"
        return [chosen, *where, *({"mae": [*encoder, *decoder], "cpc": ["encoder.dim=32"]}.get(objective, encoder))]

    return overrides


Train = Callable[..., Path]


@pytest.fixture(scope="session")
def train(tiny: Callable[..., list[str]]) -> Train:
    """What `train.py` does, in this process: `train(run_dir, *overrides, data, objective)` gives `encoder.pt`."""
    from hydra import compose, initialize_config_dir

    from ecg_lightning.pretraining import pretrain

    def run(run_dir: Path, *overrides: str, data: str = "synthetic", objective: str = "mae") -> Path:
        with initialize_config_dir(str(PROJECT / "conf"), version_base="1.3"):
            config = compose("train", [*tiny(data, objective), f"run_dir={run_dir}", *overrides])
        return pretrain(config, run_dir)

    return run


@pytest.fixture(scope="session")
def finished_run(train: Train, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of a finished tiny training on synthetic recordings; to be read only."""
    return train(tmp_path_factory.mktemp("run") / "finished").parent


@pytest.fixture(scope="session")
def evaluation(
    tiny_checkpoint: Path, synthetic_root: Path, tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., DictConfig]:
    """Composes `conf/evaluate.yaml` for the tiny checkpoint and a synthetic set; its name, then overrides."""
    from hydra import compose, initialize_config_dir

    from ecg_lightning.words import quote_numeric_options

    cache = tmp_path_factory.mktemp("cache")
    folders = {"ptbxl": "ptbxl", "mitbih": "mitdb"}

    def make(data: str, *overrides: str) -> DictConfig:
        where = [f"checkpoint={tiny_checkpoint}", f"data.root={synthetic_root / folders[data]}", f"cache_dir={cache}"]
        with initialize_config_dir(str(PROJECT / "conf"), version_base="1.3"):
            return compose("evaluate", quote_numeric_options([f"data={data}", *where, *overrides], "budget"))

    return make


@pytest.fixture(scope="session")
def make_cell() -> Callable[..., Cell]:
    """Makes the cell of a checkpoint, a data set, a folder for features, a number of labels and a model's seed."""
    from ecg_lightning.data.budget import LabelBudget, SealedLabels
    from ecg_lightning.evaluation.cell import Cell

    def make(checkpoint: EncoderCheckpoint, data: ECGDataModule, cache: Path, total: int = 10, seed: int = 0) -> Cell:
        train = data.labelled.of("train")
        chosen = LabelBudget(total).draw(train.y, data.store.patient[train.row], data.classes, seed=0)
        return Cell(checkpoint, data, SealedLabels(train.y, chosen), chosen, seed, cache)

    return make
