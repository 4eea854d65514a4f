"""Reliability diagrams: what is drawn is what scikit-learn and a formula by hand say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure
from scipy.special import expit
from sklearn.calibration import calibration_curve

from ecg_lightning.reporting import reliability
from ecg_lightning.reporting.reliability import BINS, MOST_PANELS, draw_reliability
from ecg_lightning.reporting.style import save_png

CLASSES = tuple(f"label {c}" for c in range(15))


@pytest.fixture
def said() -> tuple[Any, Any]:
    """500 rows of 15 labels, the later ones the more frequent; the last is always there, the first never."""
    rng = np.random.default_rng(0)
    z = rng.normal(np.linspace(-3, 1, 15), 1.5, (500, 15))
    y = (rng.random((500, 15)) < expit(z)).astype(np.uint8)
    y[:, 0], y[:, -1] = 0, 1
    return y, expit(2 * z)


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """The figures that were written since."""
    figures: list[Figure] = []

    def saving(figure: Figure, path: str | Path, margin_mm: float | None = None) -> Path:
        figures.append(figure)
        return save_png(figure, path, margin_mm)

    monkeypatch.setattr(reliability, "save_png", saving)
    return figures


def test_points_are_the_shares_of_equal_bins_with_wilson_intervals(said, drawn, tmp_path):
    y, p = said
    path = draw_reliability(y[:, :3], {"none": p[:, :3]}, CLASSES[:3], tmp_path / "new" / "picture.png")
    assert path.read_bytes()[:4] == b"\x89PNG"
    diagrams = drawn[0].axes[::2]
    assert [axes.get_title(loc="left") for axes in diagrams] == ["label 1", "label 2"]
    for c, axes in enumerate(diagrams, start=1):
        share, mean = calibration_curve(y[:, c], p[:, c], n_bins=BINS, strategy="quantile")
        np.testing.assert_allclose(axes.lines[1].get_xydata(), np.c_[mean, share])
        bars = np.array([bar.vertices for bar in axes.collections[0].get_paths()])
        n, z = 500 / BINS, 1.95996
        middle = (share + z**2 / (2 * n)) / (1 + z**2 / n)
        half = z / (1 + z**2 / n) * np.sqrt(share * (1 - share) / n + z**2 / (4 * n**2))
        np.testing.assert_allclose(bars[:, 0, 0], mean)
        np.testing.assert_allclose(bars[:, :, 1], np.c_[middle - half, middle + half], atol=1e-6)


def test_the_most_frequent_labels_are_drawn_that_can_be(said, drawn, tmp_path):
    y, p = said
    draw_reliability(y, {"none": p}, CLASSES, tmp_path / "picture.png")
    assert [axes.get_title(loc="left") for axes in drawn[0].axes[::2]] == list(CLASSES[2:14])
    assert len(drawn[0].axes) == 2 * MOST_PANELS
    with pytest.raises(ValueError, match="no class has both"):
        draw_reliability(y[:, :1], {"none": p[:, :1]}, CLASSES[:1], tmp_path / "picture.png")


def test_two_exclusive_classes_are_one_diagram_and_three_are_three(said, drawn, tmp_path):
    p = said[1][:, 4:7] / said[1][:, 4:7].sum(axis=1, keepdims=True)
    y = np.arange(500) % 2
    draw_reliability(y, {"none": p[:, :2]}, ("healthy", "ill"), tmp_path / "two.png")
    draw_reliability(np.arange(500) % 3, {"none": p}, CLASSES[:3], tmp_path / "three.png")
    assert [axes.get_title(loc="left") for axes in drawn[0].axes[::2]] == ["ill"]
    assert drawn[0].axes[0].lines[1].get_ydata() == pytest.approx(
        calibration_curve(y, p[:, 1], n_bins=BINS, strategy="quantile")[0]
    )
    assert len(drawn[1].axes) == 6


def test_before_and_after_lie_upon_one_another_with_their_names_and_counts(said, drawn, tmp_path):
    y, p = said
    draw_reliability(y[:, 5:6], {"none": p[:, 5:6], "platt": p[:, 5:6] ** 2}, ["MI_$x$"], tmp_path / "a.png", "a title")
    diagram, strip = drawn[0].axes
    assert [text.get_text() for text in drawn[0].legends[0].get_texts()] == ["unscaled", "platt"]
    assert "a title" in [text.get_text() for text in drawn[0].texts]
    for line, each in zip((diagram.lines[1], diagram.lines[3]), (p[:, 5], p[:, 5] ** 2), strict=True):
        assert line.get_xdata() == pytest.approx(calibration_curve(y[:, 5], each, n_bins=BINS, strategy="quantile")[1])
    outlines = [strip.patches[1], strip.patches[2]]
    for outline, each in zip(outlines, (p[:, 5], p[:, 5] ** 2), strict=True):
        np.testing.assert_array_equal(outline.get_data().values, np.histogram(each, 20, (0, 1))[0])
    assert outlines[0].get_edgecolor() != outlines[1].get_edgecolor()


def test_the_same_predictions_give_the_same_bytes(said, tmp_path):
    y, p = said
    first, second = (draw_reliability(y[:, 3:5], {"none": p[:, 3:5]}, CLASSES[3:5], tmp_path / name) for name in "ab")
    assert first.read_bytes() == second.read_bytes()
