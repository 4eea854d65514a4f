"""`encoder.pt`: gives back what went in, runs no code, and whatever else is refused in one sentence."""

from __future__ import annotations

import io
import os
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import ecg_lightning
from ecg_lightning.encoders.base import Encoder
from ecg_lightning.encoders.checkpoint import read_checkpoint, save_encoder
from ecg_lightning.encoders.vit import ViT
from ecg_lightning.errors import UserError
from ecg_lightning.signal import SignalSpec

SPEC = SignalSpec(fs=100, leads=("II", "V1"), samples=100, missing="zero", standardise="zscore")
CONFIG = {"_target_": "ecg_lightning.encoders.vit.ViT", "dim": 8, "depth": 1, "heads": 2, "patch_seconds": 0.2}
TRAINING = {"data": {"name": "synthetic", "patients": ["1", "2"]}, "objective": "MAE", "learned": True}


def vit() -> ViT:
    return ViT(SPEC, dim=8, depth=1, heads=2, patch_seconds=0.2)


@pytest.fixture
def encoder() -> Encoder:
    torch.manual_seed(1)
    return vit().eval()


@pytest.fixture
def file(tmp_path: Path, encoder: Encoder) -> Path:
    save_encoder(tmp_path / "encoder.pt", encoder, CONFIG, TRAINING)
    return tmp_path / "encoder.pt"


def test_gives_back_the_encoder_its_signal_and_its_history(file: Path, encoder: Encoder) -> None:
    read, x = read_checkpoint(file), torch.randn(3, 2, 100)
    assert torch.equal(read.encoder(x), encoder(x))
    assert torch.equal(ecg_lightning.load_encoder(file)(x), encoder(x))
    assert torch.equal(ecg_lightning.load_encoder(str(file)).tokens(x), encoder.tokens(x))
    assert (read.encoder.spec, dict(read.config), dict(read.training)) == (SPEC, CONFIG, TRAINING)
    assert not read.encoder.training


def test_holds_plain_containers_and_tensors_only(file: Path) -> None:
    def plain(content: Any) -> bool:
        if isinstance(content, dict):
            return type(content) is dict and all(type(key) is str and plain(each) for key, each in content.items())
        if isinstance(content, list | tuple):
            return all(map(plain, content))
        return content is None or type(content) in (str, int, float, bool, torch.Tensor)

    content = torch.load(file, weights_only=True)
    assert content.keys() == {"format", "encoder", "weights", "spec", "training"}
    assert plain(content)


def test_fresh_is_the_same_architecture_with_other_weights(file: Path, encoder: Encoder) -> None:
    checkpoint = read_checkpoint(file)
    torch.manual_seed(2)
    fresh = checkpoint.fresh()
    torch.manual_seed(2)
    again = checkpoint.fresh().state_dict()
    for key, value in fresh.state_dict().items():
        assert value.shape == encoder.state_dict()[key].shape
        assert torch.equal(value, again[key])
    assert not torch.equal(fresh.project.weight, encoder.project.weight)


def test_digest_tells_weights_configuration_and_signal_apart(tmp_path: Path, encoder: Encoder) -> None:
    def digest(spec: SignalSpec = SPEC, nudge: float = 0.0, **config: Any) -> str:
        other = ViT(spec, **{key: value for key, value in (CONFIG | config).items() if key != "_target_"})
        other.load_state_dict(encoder.state_dict())
        with torch.no_grad():
            other.project.bias[0] += nudge
        save_encoder(tmp_path / "encoder.pt", other, CONFIG | config, TRAINING)
        return read_checkpoint(tmp_path / "encoder.pt").digest

    longer = SignalSpec(fs=100, leads=("II", "V1"), samples=200)
    digests = [digest(), digest(nudge=1e-6), digest(heads=4), digest(spec=longer)]
    assert digests[0] == digest() and len(set(digests)) == 4


def test_an_interrupted_write_leaves_the_old_file(file: Path, encoder: Encoder, monkeypatch: Any) -> None:
    before = file.read_bytes()

    def break_off(path: Path, content: bytes) -> None:
        with path.open("wb") as half:
            half.write(content[: len(content) // 2])
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "write_bytes", break_off)
    with pytest.raises(KeyboardInterrupt):
        save_encoder(file, encoder, CONFIG, TRAINING)
    assert file.read_bytes() == before


class Code:
    """Would leave a trace if it were run while loading."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, ("code-was-run",)


def pickled(path: Path) -> None:
    path.write_bytes(pickle.dumps(Code()))


def pickled_by_torch(path: Path) -> None:
    torch.save({"format": "ecg_lightning.encoder/1", "weights": Code()}, path)


def zipped(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("data.pkl", pickle.dumps(Code()))


def truncated(path: Path) -> None:
    save_encoder(path, vit(), CONFIG, TRAINING)
    path.write_bytes(path.read_bytes()[:-200])


FOREIGN: dict[str, Callable[[Path], object]] = {
    "missing": lambda path: None,
    "a folder": lambda path: path.mkdir(),
    "empty": lambda path: path.touch(),
    "text": lambda path: path.write_text("a,b\n1,2\n"),
    "a pickle with code": pickled,
    "a torch file with code": pickled_by_torch,
    "a zip": zipped,
    "truncated": truncated,
    "a state_dict": lambda path: torch.save(vit().state_dict(), path),
    "a tensor": lambda path: torch.save(torch.zeros(3), path),
    "another version": lambda path: torch.save({"format": "ecg_lightning.encoder/0"}, path),
}


@pytest.mark.parametrize("write", FOREIGN.values(), ids=FOREIGN.keys())
def test_a_foreign_file_is_refused_by_name(write: Callable[[Path], object], tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "encoder.pt")
    refused(tmp_path / "encoder.pt")
    assert not Path("code-was-run").exists()


def test_a_checkpoint_of_the_trainer_is_refused(finished_run: Path) -> None:
    refused(finished_run / "checkpoints" / "last.ckpt")


OTHER_CLASSES = ("os.mkdir", "torch.nn.Linear", "ecg_lightning.signal.SignalSpec", "ecg_lightning.encoders.vit.nothing",
                 "ecg_lightning.encoders.nowhere.ViT", "ecg_lightning.encoders.base.Tensor",
                 "ecg_lightning.encoders.vit.Transformer", "ecg_lightning.encoders_of_others.ViT", "")  # fmt: skip

WRONG: dict[str, dict[str, Any]] = {
    **{f"class {name}": {"encoder": CONFIG | {"_target_": name}} for name in OTHER_CLASSES},
    "no class": {"encoder": {}},
    "encoder is no dictionary": {"encoder": 3},
    "unknown argument": {"encoder": CONFIG | {"wings": 2}},
    "argument missing": {"encoder": {"_target_": CONFIG["_target_"]}},
    "other width": {"encoder": CONFIG | {"dim": 16}},
    "deeper": {"encoder": CONFIG | {"depth": 2}},
    "no weights": {"weights": {}},
    "weights are a list": {"weights": [1]},
    "unknown lead": {"spec": SPEC.to_dict() | {"leads": ["X"]}},
    "spec without leads": {"spec": {"fs": 100}},
    "windows of a broken patch": {"spec": SPEC.to_dict() | {"samples": 110}},
}


@pytest.mark.parametrize("change", WRONG.values(), ids=WRONG.keys())
def test_a_file_that_contradicts_itself_is_refused(change: dict[str, Any], file: Path) -> None:
    torch.save(torch.load(file, weights_only=True) | change, file)
    refused(file)


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(noise=st.binary(max_size=60), at=st.integers(0, 200))
def test_random_bytes_are_refused(noise: bytes, at: int, tmp_path: Path) -> None:
    stream = io.BytesIO()
    torch.save({"format": "no encoder"}, stream, _use_new_zipfile_serialization=False)
    content = stream.getvalue()
    for broken in (noise, content[:at] + noise + content[at + len(noise) :]):
        (tmp_path / "noise.pt").write_bytes(broken)
        refused(tmp_path / "noise.pt")


def refused(path: Path) -> None:
    """One message that names the file and the remedy, and tempts nobody to load it unsafely."""
    with pytest.raises(UserError) as caught:
        read_checkpoint(path)
    message = str(caught.value)
    assert message.startswith(f"checkpoint={path}: ") and "encoder.pt" in message.removeprefix(f"checkpoint={path}")
    assert "\n" not in message and len(message) < 600 and "weights_only" not in message
