"""Weights from elsewhere: other projects' checkpoints, and runs that begin where another ended."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import PROJECT, Train
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig
from torch import Tensor, nn

from ecg_lightning import question
from ecg_lightning.adoption import adopt_checkpoint
from ecg_lightning.assessment import assess
from ecg_lightning.data.history import stated, united
from ecg_lightning.data.identity import shared
from ecg_lightning.encoders.base import Encoder
from ecg_lightning.encoders.checkpoint import read_checkpoint
from ecg_lightning.encoders.conv_lstm import ConvLSTM
from ecg_lightning.encoders.ecg1dcnn import ECG1DCNN
from ecg_lightning.encoders.foreign import adopt, read_weights
from ecg_lightning.encoders.layouts import LAYOUTS, rename
from ecg_lightning.encoders.vit import ViT
from ecg_lightning.encoders.xresnet import XResNet
from ecg_lightning.errors import UserError
from ecg_lightning.reporting.sweep import _leakage_notes
from ecg_lightning.signal import TWELVE_LEADS, SignalSpec

SPEC = SignalSpec.of_seconds(100, TWELVE_LEADS, 2, standardise="zscore")


class TheirBlock(nn.Module):
    def __init__(self, wide: int, width: int, kernel: int, stride: int) -> None:
        super().__init__()
        self.block = nn.Sequential(
            nn.Conv1d(wide, width, kernel, stride, kernel // 2, bias=False), nn.BatchNorm1d(width), nn.ReLU()
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.block(x)


class TheirCNN(nn.Module):
    """Names and shapes of ECGEncoder1DCNN."""

    def __init__(self, leads: int = 12, width: int = 4) -> None:
        super().__init__()
        one, two, four = width, 2 * width, 4 * width
        self.features = nn.Sequential(
            TheirBlock(leads, one, 11, 2), TheirBlock(one, one, 7, 1), TheirBlock(one, two, 7, 2),
            TheirBlock(two, two, 5, 1), TheirBlock(two, four, 5, 2), TheirBlock(four, four, 3, 1),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        return self.features(x).mean(dim=2)


class TheirClassifier(nn.Module):
    def __init__(self, encoder: nn.Module, width: int = 16) -> None:
        super().__init__()
        self.encoder, self.classifier = encoder, nn.Linear(width, 5)


def shaken(network: nn.Module) -> nn.Module:
    """Every weight, bias and statistic another one than it begins with."""
    generator = torch.Generator().manual_seed(5)
    for value in network.state_dict().values():
        if value.is_floating_point():
            value.add_(0.1 * torch.rand(value.shape, generator=generator))
        else:
            value.add_(7)
    return network.eval()


@pytest.fixture
def cnn() -> nn.Module:
    torch.manual_seed(0)
    return shaken(TheirCNN())


def ours() -> ECG1DCNN:
    torch.manual_seed(1)
    return ECG1DCNN(SPEC, width=4).eval()


def lightning(network: nn.Module) -> dict[str, Any]:
    """What Lightning writes around a network, with an optimiser's moments."""
    weights = {f"online_network.{key}": value for key, value in TheirClassifier(network).state_dict().items()}
    moments = {0: {"exp_avg": torch.zeros(3), "step": torch.tensor(4.0)}}
    return {
        "state_dict": weights,
        "epoch": 3,
        "optimizer_states": [{"state": moments}],
        "hyper_parameters": {"lr": 1.0},
    }


FORMS: dict[str, Callable[[nn.Module], Any]] = {
    "encoder": lambda network: {"encoder": network.state_dict()},
    "model": lambda network: {"model": TheirClassifier(network).state_dict(), "epoch": 4},
    "a state_dict": lambda network: network.state_dict(),
    "of a classifier": lambda network: TheirClassifier(network).state_dict(),
    "of DataParallel": lambda network: {f"module.{key}": value for key, value in network.state_dict().items()},
    "of Lightning": lightning,
    "twice the same": lambda network: {"encoder": network.state_dict(), "best": network.state_dict()},
    "double precision": lambda network: {
        "encoder": {key: value.double() for key, value in network.state_dict().items()}
    },
}


@torch.no_grad()
@pytest.mark.parametrize("form", FORMS)
def test_features_are_those_of_the_foreign_network_whatever_the_file_looks_like(
    form: str, cnn: nn.Module, tmp_path: Path
) -> None:
    torch.save(FORMS[form](cnn), tmp_path / "theirs.pt")
    encoder, x = ours(), torch.randn(3, 12, 203)
    adoption = adopt(encoder, read_weights(tmp_path / "theirs.pt"), "theirs.pt")
    torch.testing.assert_close(encoder(x), cnn(x))
    assert adoption.names.keys() == encoder.state_dict().keys()
    assert adoption.names["blocks.0.0.weight"].endswith("features.0.block.0.weight")
    assert ("classifier" in str(adoption)) == any("classifier" in name for name in adoption.left)
    assert "36 weights taken over" in str(adoption) and "ECGEncoder1DCNN" in adoption.layout


def test_the_published_encoder_has_the_published_shapes() -> None:
    encoder = ECG1DCNN(SignalSpec.of_seconds(100, TWELVE_LEADS, 10))
    shapes = {rename(key, LAYOUTS["ECGEncoder1DCNN of SSL-for-ECG-classification"]): value.shape
              for key, value in TheirCNN(width=64).state_dict().items()}  # fmt: skip
    assert shapes == {key: value.shape for key, value in encoder.state_dict().items()}
    assert encoder.dim == 256 and encoder.tokens(torch.randn(1, 12, 1000)).shape == (1, 125, 256)
    with pytest.raises(UserError, match=r"encoder\.width=0 must be at least 1"):
        ECG1DCNN(SPEC, width=0)


def without(key: str) -> Callable[[dict[str, Tensor]], dict[str, Tensor]]:
    return lambda weights: {name: value for name, value in weights.items() if name != key}


WRONG: dict[str, tuple[Callable[[dict[str, Tensor]], Any], str]] = {
    "one missing": (without("features.3.block.1.running_var"), r"1 missing \(blocks\.3\.1\.running_var\)"),
    "another width": (lambda _: TheirCNN(width=8).state_dict(),
                      r"of another shape \(blocks\.0\.0\.weight 4x12x11 here, 8x12x11 there, .*\.\.\.\)"),
    "other leads": (lambda _: TheirCNN(leads=2).state_dict(), r"1 of another shape \(.* 4x12x11 here, 4x2x11 there\)"),
    "one layer more": (lambda weights: weights | {"features.6.block.0.weight": torch.zeros(16, 16, 3)},
                       r"1 too many \(features\.6\.block\.0\.weight\)"),
    "another network": (lambda _: {"conv1.weight": torch.zeros(3)},
                        r"none of its weights \(conv1\.weight\) has a name of ECG1DCNN's \(blocks\.0\.0\.weight, "),
    "two that differ": (lambda weights: {"encoder": weights, "target_encoder": TheirCNN().state_dict()},
                        r"several encoders that fit: encoder, target_encoder; .*part=NAME"),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_what_does_not_fit_is_refused_by_name_and_changes_nothing(case: str, cnn: nn.Module, tmp_path: Path) -> None:
    change, told = WRONG[case]
    torch.save(change(cnn.state_dict()), tmp_path / "theirs.pt")
    encoder = ours()
    before = {key: value.clone() for key, value in encoder.state_dict().items()}
    with pytest.raises(UserError, match=told) as caught:
        adopt(encoder, read_weights(tmp_path / "theirs.pt"), "theirs.pt")
    assert "theirs.pt" in str(caught.value) and len(str(caught.value)) < 600
    assert all(torch.equal(value, before[key]) for key, value in encoder.state_dict().items())


@torch.no_grad()
def test_a_part_of_the_file_can_be_named(cnn: nn.Module, tmp_path: Path) -> None:
    other = shaken(shaken(TheirCNN()))
    torch.save({"encoder": cnn.state_dict(), "target": {"encoder": other.state_dict()}}, tmp_path / "theirs.pt")
    encoder, x = ours(), torch.randn(2, 12, 100)
    adoption = adopt(encoder, read_weights(tmp_path / "theirs.pt"), "theirs.pt", part="target.encoder")
    torch.testing.assert_close(encoder(x), other(x))
    assert adoption.names["blocks.0.0.weight"] == "target.encoder.features.0.block.0.weight"
    with pytest.raises(UserError, match=r"nothing in it lies below part=nowhere"):
        adopt(encoder, read_weights(tmp_path / "theirs.pt"), "theirs.pt", part="nowhere")


class Code:
    """Would leave a trace if it were run while loading."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, ("code-was-run",)


@pytest.mark.parametrize("content", [Code(), {"encoder": {"weight": torch.zeros(2)}, "args": Code()}, {"epoch": 3}, 7])
def test_a_file_with_code_or_without_weights_is_refused_in_one_line(
    content: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save(content, "theirs.pt")
    with pytest.raises(UserError, match=r"theirs\.pt: holds .*; save the bare weights"):
        read_weights("theirs.pt")
    assert not Path("code-was-run").exists()
    for broken in (b"", b"PK\x03\x04 and no more", b"a,b\n1,2\n"):
        Path("theirs.pt").write_bytes(broken)
        with pytest.raises(UserError, match=r"theirs\.pt: holds code or is broken"):
            read_weights("theirs.pt")
    with pytest.raises(UserError, match="nowhere"):
        read_weights("nowhere.pt")


@pytest.mark.parametrize("before", ["", "model.", "encoder.features.", "online_network.encoder.features.", "features."])
def test_names_of_xresnet1d_are_known_behind_any_prefix(before: str) -> None:
    layout = LAYOUTS["xresnet1d of ecg_ptbxl_benchmarking and ecg-selfsupervised"]
    expected = {
        "0.0.weight": "stem.0.convolution.weight",
        "2.1.running_mean": "stem.2.norm.running_mean",
        "4.0.convs.0.0.weight": "stages.0.0.path.0.convolution.weight",
        "4.0.convpath.0.0.0.weight": "stages.0.0.path.0.convolution.weight",
        "7.2.convpath.0.2.1.bias": "stages.3.2.path.2.norm.bias",
        "4.0.idpath.0.1.num_batches_tracked": "stages.0.0.shortcut.0.norm.num_batches_tracked",
        "8.2.weight": "8.2.weight",
    }
    stripped = before.removesuffix("features.")
    for there, here in expected.items():
        behind = before if there == here else stripped
        assert rename(before + there, layout) == behind + here


def test_names_of_cpc_are_known_behind_any_prefix() -> None:
    layout = LAYOUTS["CPC of ecg-selfsupervised"]
    for before in ("", "model_cpc.", "state_dict.model_cpc."):
        assert rename(f"{before}encoder.0.0.weight", layout) == f"{before}stem.layers.0.1.weight"
        assert rename(f"{before}encoder.3.1.running_var", layout) == f"{before}stem.layers.3.2.running_var"
        assert rename(f"{before}rnn.weight_ih_l0", layout) == f"{before}lstm.weight_ih_l0"
        assert rename(f"{before}proj.weight", layout) == f"{before}proj.weight"


class TheirConv(nn.Sequential):
    def __init__(
        self, wide: int, width: int, kernel: int, stride: int = 1, active: bool = True, bias: bool = False
    ) -> None:
        convolution = nn.Conv1d(wide, width, kernel, stride, (kernel - 1) // 2, bias=bias)
        super().__init__(convolution, nn.BatchNorm1d(width), *([nn.ReLU()] if active else []))


class TheirBottleneck(nn.Module):
    """Names and shapes of a block of xresnet1d, whose path has two names."""

    def __init__(self, wide: int, stride: int) -> None:
        super().__init__()
        self.convs = nn.Sequential(
            TheirConv(wide, 64, 1), TheirConv(64, 64, 5, stride), TheirConv(64, 256, 1, active=False)
        )
        self.convpath = nn.Sequential(self.convs)
        around = [nn.AvgPool1d(2, ceil_mode=True)] if stride > 1 else []
        self.idpath = nn.Sequential(*around, *([TheirConv(wide, 256, 1, active=False)] if wide != 256 else []))

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.convpath(x) + self.idpath(x))


def their_xresnet(blocks: tuple[int, ...], bias: bool) -> nn.Sequential:
    """With a bias in the first convolution, as `ResNetSimCLR` has it, or without, as the network around which it is."""
    stages = [
        nn.Sequential(
            *(TheirBottleneck(64 if (s, b) == (0, 0) else 256, 2 if s and not b else 1) for b in range(count))
        )
        for s, count in enumerate(blocks)
    ]
    stem = (TheirConv(12, 32, 5, 2, bias=bias), TheirConv(32, 32, 5), TheirConv(32, 64, 5), nn.MaxPool1d(3, 2, 1))
    return nn.Sequential(*stem, *stages)


@torch.no_grad()
@pytest.mark.parametrize("before", ["", "encoder.features.", "online_network.encoder.features."])
@pytest.mark.parametrize("bias", [False, True])
def test_xresnet1d_of_others_says_here_what_it_said_there(before: str, bias: bool) -> None:
    blocks, x = (2, 1, 2, 1), torch.randn(2, 12, 250)
    encoder = XResNet(SPEC, blocks=blocks).eval()
    theirs = shaken(their_xresnet(blocks, bias))
    weights = {before + key: value for key, value in theirs.state_dict().items()}
    adoption = adopt(encoder, weights | {"projection.model.0.weight": torch.zeros(3)}, "theirs.pt")
    torch.testing.assert_close(encoder.tokens(x), theirs(x).transpose(1, 2))
    assert adoption.left == ("projection.model.0.weight",)


@torch.no_grad()
def test_cpc_of_others_says_here_what_it_said_there() -> None:
    kind, x = ConvLSTM, torch.randn(2, 12, 60)
    encoder = kind(SPEC, dim=16, depth=2, kernels=[1] * 4, strides=[1] * 4).eval()
    theirs = nn.ModuleDict({
        "encoder": nn.Sequential(*(TheirConv(12 if i == 0 else 16, 16, 1) for i in range(4))),
        "rnn": nn.LSTM(16, 16, 2, batch_first=True),
        "proj": nn.Linear(16, 16, bias=False),
    })  # fmt: skip
    shaken(theirs)
    adoption = adopt(encoder, {f"model_cpc.{key}": value for key, value in theirs.state_dict().items()}, "theirs.ckpt")
    torch.testing.assert_close(encoder.tokens(x), theirs["rnn"](theirs["encoder"](x).transpose(1, 2))[0])
    assert adoption.left == ("model_cpc.proj.weight",)


# --- who was seen -------------------------------------------------------------------------------------------------


def test_of_people_whom_nobody_named_nobody_is_known_to_be_unseen() -> None:
    unnamed, nobody, stated_ones = (stated(populations)["patients"] for populations in (None, [], ["ptbxl"]))
    for test in (["ptbxl/1"], ["mine/folder:7"], ["mitbih/kaggle:train-1"]):
        assert shared(unnamed, test) and "nobody has named" in str(shared(unnamed, test))
        assert not shared(nobody, test)
        assert bool(shared(stated_ones, test)) == (test == ["ptbxl/1"])
    assert shared(stated_ones, ["ptbxl/cinc:HR00001"]) and not shared(unnamed, [])


def test_two_trainings_together_have_seen_what_either_saw() -> None:
    before = {"name": "ptbxl", "fingerprint": "a", "patients": ["ptbxl/1", "ptbxl/3"], "folds": [1, 2], "digests": [5],
              "skipped": {"x": "broken"}, "substituted_leads": {}}  # fmt: skip
    now = {**before, "fingerprint": "b", "patients": ["ptbxl/2", "ptbxl/3"], "folds": [2, 3], "digests": [5, 4],
           "skipped": {}, "shares": {"a": 1.0}}  # fmt: skip
    both = united(before, now)
    assert (both["name"], both["folds"], both["digests"]) == ("ptbxl", [1, 2, 3], [4, 5])
    assert both["patients"] == ["ptbxl/1", "ptbxl/2", "ptbxl/3"] and both["skipped"] == {} and both["shares"]
    assert both["fingerprint"] not in ("a", "b")
    other = united(before, {**now, "name": "g12ec+mitbih", "folds": ["mitbih:1"]})
    assert other["name"] == "ptbxl, then g12ec+mitbih" and other["folds"] == ["ptbxl:1", "ptbxl:2", "mitbih:1"]
    old = {key: value for key, value in before.items() if key not in ("digests", "folds")}
    assert united(old, now)["digests"] == [4, 5]
    assert "labels" not in both and united({**before, "labels": 7}, {**now, "labels": 5})["labels"] == 12


@pytest.fixture(autouse=True)
def fresh_setting() -> Iterator[None]:
    yield
    question._setting.cache_clear()


Adopt = Callable[..., Path]


@pytest.fixture
def adopted(cnn: nn.Module, tmp_path: Path) -> Adopt:
    """What `adopt.py` does, in this process, with a classifier of others."""

    def make(*overrides: str, encoder: Sequence[str] = ("encoder=ecg1dcnn", "encoder.width=4")) -> Path:
        torch.save({"model": TheirClassifier(cnn).state_dict()}, tmp_path / "theirs.pt")
        words = [f"checkpoint={tmp_path / 'theirs.pt'}", *encoder, "run_dir=none"]
        with initialize_config_dir(str(PROJECT / "conf"), version_base="1.3"):
            config = compose("adopt", [*words, *overrides])
        return adopt_checkpoint(config, tmp_path / "adopted")

    return make


@torch.no_grad()
def test_an_adopted_encoder_is_an_encoder_of_this_project_and_says_where_it_came_from(
    adopted: Adopt, cnn: nn.Module, caplog: Any
) -> None:
    caplog.set_level("INFO")
    path = adopted("populations=[ptbxl]", "method=SimCLR", "spec.seconds=5")
    read, x = read_checkpoint(path), torch.randn(2, 12, 500)
    torch.testing.assert_close(read.encoder(x), cnn(x))
    assert read.encoder.spec == SignalSpec.of_seconds(100, TWELVE_LEADS, 5, standardise="zscore")
    assert read.training["objective"] == "SimCLR" and read.training["data"]["name"] == "ptbxl"
    origin = read.training["init"]
    assert origin["file"] == "theirs.pt" and origin["left"] == ["model.classifier.weight", "model.classifier.bias"]
    assert origin["weights"]["blocks.5.1.bias"] == "model.encoder.features.5.block.1.bias"
    assert "blocks.0.0.weight <- model.encoder.features.0.block.0.weight" in caplog.text
    assert "left: model.classifier (2)" in caplog.text and "everybody of ptbxl, and nobody else" in caplog.text
    with pytest.raises(UserError, match=r"holds an encoder\.pt already; choose another run_dir"):
        adopted()


def test_the_guard_asks_whose_recordings_an_adopted_encoder_was_trained_on(
    adopted: Adopt, evaluation: Callable[..., DictConfig], tmp_path: Path
) -> None:
    def leakage(populations: str, *overrides: str) -> dict[str, Any]:
        (tmp_path / "adopted" / "encoder.pt").unlink(missing_ok=True)
        path = adopted(f"populations={populations}", "spec.seconds=2")
        question._setting.cache_clear()
        config = evaluation("ptbxl", "budget=10", "resamples=0", "protocol.beside=[]", f"checkpoint={path}",
                            f"results_dir={tmp_path / 'results'}", *overrides)  # fmt: skip
        result = json.loads((assess(config) / "result.json").read_text())
        found: dict[str, Any] = result["leakage"]
        return found

    assert leakage("[]")["pretraining_populations_unclear"] == []
    assert leakage("[mitbih]")["allowed"] is False
    for populations, told in (("null", "whom nobody has named, perhaps some of the test split"),
                              ("[mitbih,ptbxl]", "people of ptbxl under other names")):  # fmt: skip
        with pytest.raises(UserError, match=rf"{told}.*allow_seen_patients=true"):
            leakage(populations)
        allowed = leakage(populations, "allow_seen_patients=true")
        assert allowed["pretraining_populations_unclear"]
        (note,) = _leakage_notes(allowed, "inter-patient", "without")
        assert ("nobody has said whose" in note) == (populations == "null") and ("of ptbxl" in note) == (
            "ptbxl" in populations
        )


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ("populations=ptbxl", r"populations='ptbxl' must be null or a list"),
        ("populations=[ptbxl/1]", r"populations: 'ptbxl/1' must be a name"),
        ("part=3", r"part=3 must be a name in the file"),
        ("spec.fs=-1", r"spec\.fs=-1"),
        ("encoder.width=x", r"encoder\.width='x' must be a whole number"),
    ],
)
def test_an_adoption_that_cannot_be_is_refused_by_its_key(wrong: str, told: str, adopted: Adopt) -> None:
    with pytest.raises(UserError, match=told):
        adopted(wrong)


def test_a_file_of_another_encoder_or_of_this_project_is_refused(adopted: Adopt, tiny_checkpoint: Path) -> None:
    with pytest.raises(UserError, match=r"theirs\.pt: none of its weights .* has a name of ViT's"):
        adopted(encoder=["encoder=vit_mini"])
    with pytest.raises(UserError, match=r"is an encoder\.pt of this project; evaluate\.py takes it"):
        adopted(f"checkpoint={tiny_checkpoint}")


def test_the_command_writes_an_encoder_and_says_in_one_line_what_is_wrong(cnn: nn.Module, tmp_path: Path) -> None:
    torch.save({"encoder": cnn.state_dict()}, tmp_path / "theirs.pt")
    command = [sys.executable, str(PROJECT / "adopt.py"), "checkpoint=theirs.pt", "encoder=ecg1dcnn"]

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([*command, *words], check=False, cwd=tmp_path, capture_output=True, text=True)

    good = run("encoder.width=4", "run_dir=here")
    assert good.returncode == 0 and "Nobody has said whose recordings" in good.stderr, good.stderr
    assert isinstance(read_checkpoint(tmp_path / "here" / "encoder.pt").encoder, ECG1DCNN)
    bad = run("run_dir=there")
    assert bad.returncode == 2 and bad.stderr.startswith("error: theirs.pt does not fit ECG1DCNN: of 36 weights ")
    assert len(bad.stderr.splitlines()) == 1


# --- a run that begins where another ended ------------------------------------------------------------------------


class Halt(Exception):
    pass


def first_weights(monkeypatch: pytest.MonkeyPatch, train: Callable[[], object]) -> Encoder:
    """The encoder as it is when a training begins."""
    import lightning

    from ecg_lightning.objectives.base import Objective

    begun: list[Encoder] = []

    def halt(self: lightning.Trainer, model: Objective, **rest: Any) -> None:
        begun.append(model.encoder)
        raise Halt

    with monkeypatch.context() as patched, pytest.raises(Halt):
        patched.setattr(lightning.Trainer, "fit", halt)
        train()
    return begun[0]


def test_a_run_begins_with_the_weights_it_is_given_and_remembers_whom_they_saw(
    train: Train, finished_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = torch.load(finished_run / "encoder.pt", weights_only=True)
    content["training"]["data"] |= {"name": "before", "patients": ["elsewhere/1"], "digests": [7], "folds": [3]}
    file = tmp_path / "before.pt"
    torch.save(content, file)
    weights = read_checkpoint(file).encoder.state_dict()
    begun = first_weights(monkeypatch, lambda: train(tmp_path / "halted", f"init={file}")).state_dict()
    assert all(torch.equal(value, weights[key]) for key, value in begun.items())
    alone = first_weights(monkeypatch, lambda: train(tmp_path / "alone")).state_dict()
    assert not torch.equal(alone["project.weight"], weights["project.weight"])

    after = read_checkpoint(train(tmp_path / "run", f"init={file}", "trainer.max_epochs=1")).training
    now = read_checkpoint(finished_run / "encoder.pt").training["data"]
    assert set(after["data"]["patients"]) == {*now["patients"], "elsewhere/1"}
    assert set(after["data"]["digests"]) == {*now["digests"], 7}
    assert after["data"]["name"] == "before, then synthetic" and "before:3" in after["data"]["folds"]
    assert after["init"] == {"file": "before.pt", "digest": read_checkpoint(file).digest, "objective": "MAE"}
    assert after["config"]["init"] == str(file)


def test_a_continued_run_needs_the_file_no_more_and_still_remembers(
    train: Train, finished_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ecg_lightning.objectives.base import Objective

    file = tmp_path / "before.pt"
    content = torch.load(finished_run / "encoder.pt", weights_only=True)
    content["training"]["data"]["patients"] = ["elsewhere/1"]
    torch.save(content, file)

    def fail(self: Objective, outputs: Any, batch: Any, batch_idx: int) -> None:
        if (self.current_epoch, batch_idx) == (1, 1):
            raise Halt

    words = (f"init={file}", "trainer.max_epochs=2")
    with monkeypatch.context() as patched, pytest.raises(Halt):
        patched.setattr(Objective, "on_train_batch_end", fail, raising=False)
        train(tmp_path / "run", *words)
    straight = read_checkpoint(train(tmp_path / "straight", *words))
    file.unlink()
    continued = read_checkpoint(train(tmp_path / "run", *words))
    assert continued.digest == straight.digest and "elsewhere/1" in continued.training["data"]["patients"]
    with pytest.raises(UserError, match=r"another init;"):
        train(tmp_path / "run", "trainer.max_epochs=2")


def test_a_run_that_begins_with_a_foreign_file_has_seen_people_unknown(
    train: Train, finished_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    weights = read_checkpoint(finished_run / "encoder.pt").encoder.state_dict()
    torch.save({"model": {f"encoder.{key}": value for key, value in weights.items()}}, tmp_path / "theirs.pt")
    begun = first_weights(monkeypatch, lambda: train(tmp_path / "run", f"init={tmp_path / 'theirs.pt'}"))
    assert all(torch.equal(value, weights[key]) for key, value in begun.state_dict().items())
    assert "nobody has said whose recordings" in caplog.text
    seen = json.loads((tmp_path / "run" / "init.json").read_text())["data"]
    assert "nobody has named" in str(shared(seen["patients"], ["ptbxl/1"]))


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["data.spec.fs=50"], r"was trained with data\.spec\.fs=100\.0; say so here too"),
        (["data.spec.leads=[II,V1]"], r"data\.spec\.leads=\[I, II, "),
        (["data.spec.standardise=zscore"], r"data\.spec\.standardise=scale"),
        (["encoder.depth=2", "encoder.heads=4"], r"encoder\.depth=1, encoder\.heads=2"),
    ],
)
def test_a_run_with_another_signal_or_encoder_than_its_file_is_refused_by_name(
    words: list[str], told: str, train: Train, finished_run: Path, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=told):
        train(tmp_path, f"init={finished_run / 'encoder.pt'}", *words)
    with pytest.raises(UserError, match=r"init=3 must be the name of a file"):
        train(tmp_path, "init=3")


def test_windows_may_be_longer_than_those_of_the_file(
    train: Train, finished_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = (f"init={finished_run / 'encoder.pt'}", "data.spec.seconds=6")
    begun = first_weights(monkeypatch, lambda: train(tmp_path, *words))
    assert begun.spec.samples == 600 and isinstance(begun, ViT)
