"""What drove a class: the attribution lies where the model looks, adds up, and belongs to what was predicted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.special import logit
from torch import Tensor, nn

from ecg_lightning.data.mitbih import MITBIH
from ecg_lightning.data.module import ECGDataModule
from ecg_lightning.data.ptbxl import PTBXL
from ecg_lightning.encoders.base import Encoder
from ecg_lightning.encoders.checkpoint import EncoderCheckpoint, read_checkpoint
from ecg_lightning.evaluation.attribution import Attribution, attribute, integrated_gradients, log_odds, signal_path
from ecg_lightning.evaluation.cell import Cell, EvaluationProtocol
from ecg_lightning.evaluation.condition import Condition
from ecg_lightning.evaluation.features import describe
from ecg_lightning.evaluation.finetune import FineTune
from ecg_lightning.evaluation.frozen import FrozenFit
from ecg_lightning.evaluation.knn import NearestNeighbours
from ecg_lightning.evaluation.linear import LinearProbe
from ecg_lightning.readout import read_out
from ecg_lightning.reporting.attribution import draw_attribution, smoothed
from ecg_lightning.reporting.style import BLUE, ORANGE

MakeCell = Callable[..., Cell]
LOOKED_AT = slice(150, 230)  # samples of a window of 400


class Blinkered(Encoder):
    """Sees one stretch of a window alone."""

    def __init__(self, inner: Encoder) -> None:
        super().__init__(inner.spec, inner.dim)
        self.inner = inner

    def tokens(self, x_BLT: Tensor, valid_BT: Tensor | None = None) -> Tensor:
        seen = torch.zeros_like(x_BLT)
        seen[..., LOOKED_AT] = x_BLT[..., LOOKED_AT]
        return self.inner.tokens(seen, valid_BT)


@pytest.fixture(scope="module")
def checkpoint(tiny_checkpoint: Path) -> EncoderCheckpoint:
    return read_checkpoint(tiny_checkpoint)


@pytest.fixture(scope="module")
def cells(
    synthetic_root: Path, tmp_path_factory: pytest.TempPathFactory, checkpoint: EncoderCheckpoint, make_cell: MakeCell
) -> dict[str, Cell]:
    """One about beats, one about whole recordings of several labels, cut into windows."""
    cache, spec = tmp_path_factory.mktemp("cache"), checkpoint.encoder.spec
    data: dict[str, ECGDataModule] = {
        "beats": MITBIH(
            name="mitbih", root=synthetic_root / "mitdb", task="binary", spec=spec, cache_dir=cache, batch_size=64
        ),
        "records": PTBXL(
            name="ptbxl", root=synthetic_root / "ptbxl", spec=spec, cache_dir=cache, long_records="windows"
        ),
    }
    return {name: make_cell(checkpoint, each, cache, 16) for name, each in data.items()}


PROTOCOLS: dict[str, Callable[[], EvaluationProtocol]] = {
    "linear": LinearProbe,
    "random_encoder": lambda: LinearProbe("random"),
    "finetune": lambda: FineTune("pretrained", "full", steps=2, batch_size=8, lr=1e-2, weight_decay=0.0),
}


def test_integrated_gradients_of_a_sum_of_squares_are_the_squares() -> None:
    x_BLT, weight_LT = torch.randn(3, 2, 50), torch.randn(2, 50)
    share = integrated_gradients(lambda x: (weight_LT * x.square()).sum(dim=(1, 2)), x_BLT)
    torch.testing.assert_close(share, weight_LT * x_BLT.square(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("kind", ["beats", "records"])
def test_the_way_from_the_signal_leads_to_what_is_predicted(cells: dict[str, Cell], kind: str, protocol: str) -> None:
    cell = cells[kind]
    test, fitted = cell.part("test"), PROTOCOLS[protocol]().fit(cell)
    predicted = fitted.predict(test)
    for number in (0, len(test) // 2, len(test) - 1):
        path = signal_path(fitted, test, number)
        assert path is not None
        logits = path.logits(path.batch).detach().double()[0]
        found = logits.sigmoid() if cell.data.multi_label else logits.softmax(dim=0)
        np.testing.assert_allclose(found, predicted[number], atol=2e-5)
        odds = log_odds(path, path.batch.x, 1, cell.data.multi_label)
        assert float(odds.detach()) == pytest.approx(logit(predicted[number, 1]), abs=1e-3)


def test_another_signal_in_a_beats_place_is_judged_beside_the_same_median_beat_and_rhythm(
    cells: dict[str, Cell], checkpoint: EncoderCheckpoint
) -> None:
    cell, number = cells["beats"], 5
    test, fitted = cell.part("test"), LinearProbe().fit(cell)
    path = signal_path(fitted, test, number)
    assert path is not None
    noise = torch.randn(path.batch.x.shape, generator=torch.Generator().manual_seed(0))
    other = path.batch._replace(x=path.batch.x + noise.to(path.batch.x))
    encoder = checkpoint.encoder
    beat, relative, window, rhythm = (block[number] for block in describe(encoder, test, "test"))
    with torch.no_grad():
        told = read_out(encoder, other)[0].numpy()
    median = beat - relative
    features = [told[: len(beat)], told[: len(beat)] - median, told[len(beat) :], rhythm]
    assert len(features[2]) == len(window)
    usual = describe(encoder, cell.train, "train")
    standardised = [
        (feature - block.mean(axis=0)) / (block.std(axis=0) + 1e-6) / np.sqrt(block.shape[1])
        for feature, block in zip(features, usual, strict=True)
    ]
    assert isinstance(fitted, FrozenFit)
    expected = fitted.classifier(np.concatenate(standardised)[None].astype(np.float32))
    found = path.logits(other).softmax(dim=1).detach().numpy()
    np.testing.assert_allclose(found, expected, atol=1e-4)
    assert np.abs(np.log(found / fitted.predict(test)[number])).max() > 0.05, "the signal matters"


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("kind", ["beats", "records"])
def test_shares_add_up_to_what_sets_the_signal_apart_from_flat_leads(
    cells: dict[str, Cell], kind: str, protocol: str
) -> None:
    cell = cells[kind]
    test, fitted = cell.part("test"), PROTOCOLS[protocol]().fit(cell)
    found = attribute(fitted, test, np.array([3]), 1)
    assert found is not None and found.number == 3
    assert found.share.shape == found.signal.shape == (2, 400)
    scale = np.abs(found.share).sum()
    assert found.share.sum() == pytest.approx(found.log_odds - found.flat, abs=0.02 * scale)
    assert abs(found.log_odds - found.flat) > 0.05 * scale or scale > 1e-3, "there is something to add up"


class Flat(nn.Module):
    """Holds every lead at 0 mV."""

    def forward(self, x_BLT: Tensor, valid_BT: Tensor | None) -> tuple[Tensor, Tensor | None]:
        return torch.zeros_like(x_BLT), valid_BT


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_flat_leads_score_what_the_protocol_says_of_flat_recordings(cells: dict[str, Cell], protocol: str) -> None:
    cell = cells["records"]
    fitted = PROTOCOLS[protocol]().fit(cell)
    found = attribute(fitted, cell.part("test"), np.array([2]), 1)
    flat = fitted.predict(cell.part("test", Condition("flat", Flat())))[2, 1]
    assert found is not None and found.flat == pytest.approx(logit(flat), abs=1e-3)


@pytest.mark.parametrize("protocol", ["linear", "finetune"])
def test_the_attribution_lies_where_the_model_looks(
    checkpoint: EncoderCheckpoint, cells: dict[str, Cell], tmp_path: Path, protocol: str
) -> None:
    for cell in cells.values():
        blinkered = replace(checkpoint, encoder=Blinkered(checkpoint.encoder).eval(), digest="blinkered")
        looking = replace(cell, checkpoint=blinkered, cache_dir=tmp_path)
        fitted = PROTOCOLS[protocol]().fit(looking)
        found = attribute(fitted, looking.part("test"), np.array([1]), 0)
        assert found is not None
        inside = np.abs(found.share[:, LOOKED_AT]).sum()
        assert inside > 0.9 * np.abs(found.share).sum() > 0
        value = np.abs(smoothed(found.share, 100))
        assert value[:, 148:232].sum() == pytest.approx(value.sum()), "smoothed within 20 ms to either side"


def test_of_the_windows_of_a_recording_the_one_that_speaks_most_for_the_class_is_taken(cells: dict[str, Cell]) -> None:
    cell = cells["records"]
    test, fitted = cell.part("test"), LinearProbe().fit(cell)
    unit = test.examples.unit
    assert unit is not None
    windows = np.flatnonzero(unit == unit[0])
    assert len(windows) > 1
    for target in range(2):
        found = attribute(fitted, test, windows, target)
        assert found is not None and found.number == windows[fitted.predict(test)[windows, target].argmax()]


def test_what_has_no_gradient_has_no_attribution(cells: dict[str, Cell]) -> None:
    cell = cells["beats"]
    for protocol in (NearestNeighbours(), LinearProbe("classical")):
        assert attribute(protocol.fit(cell), cell.part("test"), np.array([0]), 1) is None


def pixels(path: Path) -> NDArray[np.float64]:
    from matplotlib.image import imread

    return imread(path)[..., :3].astype(float)


def test_the_colour_lies_behind_the_samples_that_count_and_says_which_way(tmp_path: Path) -> None:
    from matplotlib.colors import to_rgb

    share = np.zeros((2, 300))
    share[0, 60:90], share[1, 200:230] = 1.0, -1.0
    found = Attribution(0, np.zeros((2, 300), np.float32), share, 1.0, 0.0, (100, 150))
    image = pixels(draw_attribution(found, 100.0, ["II", "V1"], tmp_path / "a.png", "title", "V"))
    image[:110] = 1  # the legend
    spots = {}
    for name, colour in (("for", ORANGE), ("against", BLUE)):
        dense = 0.85 * np.array(to_rgb(colour)) + 0.15
        near = np.abs(image - dense).max(axis=-1) < 0.06
        rows, columns = np.flatnonzero(near.sum(axis=1) > 10), np.flatnonzero(near.sum(axis=0) > 10)
        spots[name] = (rows.mean(), columns[0], columns[-1])
    assert spots["for"][0] < spots["against"][0], "the first lead is the upper one"
    # 6 px are a millimetre, 25 mm a second; traces begin 30 mm from the left. Smoothing thins 20 ms at either end.
    for name, (first, last) in {"for": (60, 90), "against": (200, 230)}.items():
        assert spots[name][1:] == pytest.approx((180 + 1.5 * first, 180 + 1.5 * last), abs=6)
    bar = (image.max(axis=-1) < 0.15).sum(axis=1)
    marked = np.flatnonzero((bar > 70) & (bar < 120))
    assert len(marked), "the beat is marked, 50 samples or 75 px wide"
