"""The page that shows what augmentations do: every one of them, in one file that needs no other."""

from __future__ import annotations

import base64
import inspect
import pkgutil
import re
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import pytest
from conftest import PROJECT
from hydra import compose, initialize_config_dir

import ecg_lightning.augment
from ecg_lightning.augment.base import Augmentation
from ecg_lightning.errors import UserError
from ecg_lightning.reporting.before_after import draw_before_after
from ecg_lightning.reporting.gallery import show

PNG = b"\x89PNG"
Page = Callable[..., str]


@pytest.fixture
def page(synthetic_root: Path, noise_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Page:
    """Writes the page of a synthetic data set, with further overrides, of all augmentations or some; returns it."""
    monkeypatch.setenv("ECG_DATA_ROOT", str(noise_root))

    def write(*overrides: str, only: tuple[str, ...] = ("",)) -> str:
        where = [
            f"data.root={synthetic_root / 'ptbxl'}",
            f"out={tmp_path / 'new' / 'page.html'}",
            "data.spec.seconds=4",
        ]
        with initialize_config_dir(str(PROJECT / "conf"), version_base="1.3"):
            config = compose("gallery", ["data=synthetic", *where, *overrides])
        config.shown = [entry for entry in config.shown if entry.step._target_.endswith(only)]
        show(config)
        assert [path.name for path in (tmp_path / "new").iterdir()] == ["page.html"]
        return (tmp_path / "new" / "page.html").read_text()

    return write


def augmentations() -> set[str]:
    """Every class that the package defines and an author can name."""
    package = ecg_lightning.augment
    modules = [import_module(found.name) for found in pkgutil.walk_packages(package.__path__, f"{package.__name__}.")]
    classes = {each for module in modules for _, each in inspect.getmembers(module, inspect.isclass)}
    return {each.__name__ for each in classes if issubclass(each, Augmentation) and not abstract(each)}


def abstract(kind: type) -> bool:
    """`nn.Module` keeps `inspect.isabstract` from knowing."""
    return any(getattr(getattr(kind, name, None), "__isabstractmethod__", False) for name in dir(kind))


def test_the_page_shows_every_augmentation_with_its_numbers_and_needs_no_other_file(page: Page) -> None:
    html = page()
    sections = re.findall(r"<section>.*?</section>", html, re.DOTALL)
    assert augmentations() - {"Unchanged"} <= set(re.findall(r"<h2>(\w+)</h2>", html))
    for section in sections:
        pictures = [base64.b64decode(each) for each in re.findall(r'src="data:image/png;base64,([^"]+)"', section)]
        assert len(pictures) == 4 and all(picture.startswith(PNG) for picture in pictures)
        assert "<code>" in section or "TimeReversal" in section, "which has no number"
        assert 'class="quiet"' in section and "Not on these recordings" not in section
    assert not re.findall(r'(?:src|href)="(?!data:)|@import|<script|<link', html)
    assert "prefers-color-scheme: dark" in html and "width=device-width" in html


def test_the_same_draw_gives_the_same_page_and_another_seed_another_one(page: Page) -> None:
    first = page(only=("EMG",))
    assert page(only=("EMG",)) == first and page("seed=1", only=("EMG",)) != first


def test_what_cannot_be_on_these_recordings_is_told_in_its_place(page: Page) -> None:
    html = page("data.spec.leads=[II,V1]", "data.spec.fs=100", "record=3", only=("VCGRotation", "Powerline", "Blur"))
    refused = dict(re.findall(r"<h2>(\w+)</h2>(?:(?!</section>).)*?Not on these recordings: ([^<]+)", html, re.DOTALL))
    assert set(refused) == {"VCGRotation", "Powerline"}
    assert "lacks I, V2" in refused["VCGRotation"] and "100 Hz" in refused["Powerline"]
    assert "Recording 3 of synthetic" in html


def test_an_unknown_recording_is_told_with_one_that_is_there(page: Page) -> None:
    with pytest.raises(UserError, match="record=nobody is no recording of synthetic; one is 1"):
        page("record=nobody")


def test_a_piece_that_lies_partly_outside_its_recording_is_drawn_with_a_gap() -> None:
    import numpy as np

    beat = np.sin(np.arange(200) / 9)
    beat[:40] = np.nan
    size = {"width_mm": 60, "height_mm": 40, "line_mm": 0.4}
    assert draw_before_after(beat, 100 * beat, 250, "II", **size).startswith(PNG)
