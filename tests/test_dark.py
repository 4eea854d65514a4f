"""Charts on white and on a dark ground: contrast by the formula of WCAG 2.2, and pixels that say where things are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from ecg_lightning.reporting.curves import label_efficiency
from ecg_lightning.reporting.dark import GROUND, LIGHT, on_dark
from ecg_lightning.reporting.ecg_paper import draw_record
from ecg_lightning.reporting.style import BLUE, GREY, INK, PALETTE, dark_name, new_figure, save_png


def luminance(colour: object) -> float:
    """Relative luminance as WCAG 2.2 writes it down."""
    from matplotlib.colors import to_rgb

    r, g, b = (v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in to_rgb(colour))  # type: ignore[arg-type]
    return 0.2126 * r + 0.7152 * g + 0.0722 * b


def contrast(one: object, other: object) -> float:
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def pixels(path: Path) -> NDArray[np.float64]:
    from matplotlib.image import imread

    return imread(path)[..., :3].astype(float)


def test_contrast_is_that_of_known_pairs() -> None:
    assert contrast("black", "white") == pytest.approx(21)
    assert contrast("#767676", "white") == pytest.approx(4.54, abs=0.005)


@pytest.mark.parametrize("colour", [*PALETTE, GREY, INK])
def test_every_colour_stands_out_on_both_grounds(colour: str) -> None:
    least = 4.5 if colour in (GREY, INK) else 3.0  # words are written in them
    assert contrast(colour, "white") >= least
    assert contrast(on_dark(colour)[:3], GROUND) >= least - 1e-6


def test_greys_change_places_and_other_colours_keep_their_hue_and_opacity() -> None:
    from matplotlib.colors import rgb_to_hsv, to_rgb

    assert on_dark("white")[:3] == pytest.approx(to_rgb(GROUND))
    assert on_dark("black")[:3] == pytest.approx(to_rgb(LIGHT))
    steps = [luminance(on_dark(str(grey))[:3]) for grey in np.linspace(0, 1, 9)]
    assert steps == sorted(steps, reverse=True)
    for colour in PALETTE:
        before, after = rgb_to_hsv(to_rgb(colour)), rgb_to_hsv(on_dark(colour)[:3])
        assert abs((before[0] - after[0] + 0.5) % 1 - 0.5) < 0.03
    assert on_dark((0.2, 0.4, 0.8, 0.3))[3] == 0.3
    assert on_dark("none")[3] == 0 and on_dark([]).shape == (0, 4)
    assert on_dark([INK, BLUE]).shape == (2, 4)


def test_a_chart_lies_beside_its_dark_version_and_stays_as_it_was(tmp_path: Path) -> None:
    figure = new_figure(60, 40)
    axes = figure.add_axes((0.2, 0.2, 0.7, 0.7), xlim=(0, 1), ylim=(0, 1))
    axes.plot([0, 1], [0.5, 0.5], "o-", color=BLUE, markeredgecolor="white", linewidth=4)
    axes.fill_between([0, 1], 0.7, 0.9, color=INK, alpha=0.1)
    axes.text(0.5, 0.2, "ink", color=INK)
    first = save_png(figure, tmp_path / "a.png")
    again = save_png(figure, tmp_path / "b.png")
    assert first.read_bytes() == again.read_bytes()
    assert dark_name(first).read_bytes() == dark_name(again).read_bytes()

    light, dark = pixels(first), pixels(dark_name(first))
    centre = round(40 * 6 * (1 - 0.2 - 0.7 * 0.5)), round(60 * 6 * 0.5)
    assert contrast(light[0, 0], "white") == 1 and contrast(dark[0, 0], GROUND) == pytest.approx(1, abs=1e-3)
    assert light[centre] == pytest.approx(dark[centre], abs=0.01), "blue is bright enough as it is"
    assert contrast(dark[:, 40:].reshape(-1, 3)[dark[:, 40:].sum(axis=-1).argmax()], GROUND) > 10, "words are light"
    assert dark.mean() < 0.2 and light.mean() > 0.8


def test_the_dark_curves_are_drawn_where_the_light_ones_are(tmp_path: Path) -> None:
    rows = [
        {"method": method, "budget": budget, "seed": seed, "value": 0.5 + seed / 10 + shift}
        for shift, method in enumerate(("MAE", "classical"))
        for budget in (10, 100)
        for seed in range(3)
    ]
    path = label_efficiency(rows, tmp_path / "a.png", title="title")
    light, dark = pixels(path), pixels(dark_name(path))
    assert light.shape == dark.shape
    on_white = np.abs(light - 1).max(axis=-1) > 0.3
    on_ground = np.abs(dark - dark[0, 0]).max(axis=-1) > 0.25
    assert (on_white == on_ground).mean() > 0.99 and on_white.mean() > 0.01


def test_ecg_paper_is_pink_everywhere(tmp_path: Path) -> None:
    path = draw_record(np.zeros((1, 300)), 100.0, ["II"], tmp_path / "a.png")
    assert [each.name for each in tmp_path.iterdir()] == [path.name]
