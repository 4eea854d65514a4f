"""A chart that was drawn on white, on a dark ground: no drawing function knows of themes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from matplotlib.figure import Figure

GROUND, LIGHT = "#14161A", "#ECEEF2"
"""What becomes of white, and of black."""

LEAST_CONTRAST = 3.0
"""Of a colour with its ground: WCAG 2.2, 1.4.11, for the parts of graphics that carry meaning."""

COLOURLESS = 0.06
"""Largest difference between the channels of what is white, grey or ink."""

LUMINANCE = np.array([0.2126, 0.7152, 0.0722])


@contextmanager
def on_dark_ground(figure: Figure) -> Iterator[None]:
    """Recolour every artist of a figure, and take it back at the end.

    Args:
        figure: drawn once already, so that all its ticks are there. Colours that a colour map gives stay.
    """
    from matplotlib.collections import Collection
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch
    from matplotlib.text import Text

    coloured = {Line2D: ("color", "markerfacecolor", "markeredgecolor"), Text: ("color",),
                Patch: ("facecolor", "edgecolor"), Collection: ("facecolor", "edgecolor")}  # fmt: skip
    before = [
        (artist, name, getattr(artist, f"get_{name}")())
        for kind, names in coloured.items()
        for artist in set(figure.findobj(kind))
        for name in names
    ]
    for artist, name, colour in before:
        getattr(artist, f"set_{name}")(on_dark(colour))
    try:
        yield
    finally:
        for artist, name, colour in before:
            getattr(artist, f"set_{name}")(colour)


def on_dark(colour: Any) -> NDArray[np.float64]:
    """What a colour on white becomes: greys change places, others are mixed with white until they can be told.

    Args:
        colour: anything that matplotlib takes for one colour or a sequence of them.

    Returns:
        (N, 4) red, green, blue and opacity for N colours, (4,) for one.
    """
    from matplotlib.colors import is_color_like, to_rgba, to_rgba_array

    single = is_color_like(colour)
    rgba_N4 = np.array([to_rgba(colour)]) if single else to_rgba_array(colour)
    rgb_N3 = rgba_N4[:, :3]
    ground, light = np.array(to_rgba(GROUND)[:3]), np.array(to_rgba(LIGHT)[:3])
    swapped_N3 = light + rgb_N3.mean(axis=1, keepdims=True) * (ground - light)
    grey_N1 = np.ptp(rgb_N3, axis=1, keepdims=True) < COLOURLESS
    mapped_N4 = np.hstack([np.where(grey_N1, swapped_N3, _brightened(rgb_N3, ground)), rgba_N4[:, 3:]])
    return mapped_N4[0] if single else mapped_N4


def _brightened(rgb_N3: NDArray[np.float64], ground: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mixed with as much white light as the contrast needs; WCAG defines it by the luminance, which is linear."""
    linear_N3 = _to_linear(rgb_N3)
    have_N1 = (linear_N3 @ LUMINANCE)[:, None]
    need = LEAST_CONTRAST * (_to_linear(ground) @ LUMINANCE + 0.05) - 0.05
    white_N1 = np.clip((need - have_N1) / np.clip(1 - have_N1, 1e-9, None), 0, 1)
    return _from_linear(linear_N3 + white_N1 * (1 - linear_N3))


def _to_linear(rgb: NDArray[np.float64]) -> NDArray[np.float64]:
    """From sRGB (IEC 61966-2-1) to light."""
    return np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)


def _from_linear(light: NDArray[np.float64]) -> NDArray[np.float64]:
    """The inverse of `_to_linear`."""
    return np.where(light <= 0.0031308, light * 12.92, 1.055 * light ** (1 / 2.4) - 0.055)
