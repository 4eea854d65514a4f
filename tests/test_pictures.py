"""Pictures are measured on their pixels: 6 px are 1 mm, 150 px are 1 s, 60 px are 1 mV at the standard gain."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from scipy import stats

from ecg_lightning.evaluation.intervals import seed_interval
from ecg_lightning.reporting.curves import label_efficiency, spread
from ecg_lightning.reporting.ecg_layout import (
    GAINS,
    REACH,
    Strip,
    clinical,
    fitting_gain,
    one_row_per_lead,
    stack_bands,
)
from ecg_lightning.reporting.ecg_paper import draw_reconstruction, draw_record
from ecg_lightning.reporting.style import BLUE, GREY, INK, method_colours
from ecg_lightning.signal import TWELVE_LEADS

FS = 100.0
START = 180  # px: where a trace starts
PX_PER_S, PX_PER_MV = 150, 60


def pixels(path: Path) -> NDArray[np.int_]:
    from matplotlib.image import imread

    return np.rint(imread(path)[..., :3] * 255).astype(int)


def is_colour(image: NDArray[np.int_], colour: str, tolerance: int = 60) -> NDArray[np.bool_]:
    wanted = [int(colour[i : i + 2], 16) for i in (1, 3, 5)]
    return np.abs(image - wanted).max(axis=-1) < tolerance


def runs(mask: NDArray[np.bool_]) -> NDArray[np.int_]:
    return np.flatnonzero(np.diff(mask, prepend=False, append=False)).reshape(-1, 2)


def trace(image: NDArray[np.int_], colour: str = INK) -> NDArray[np.bool_]:
    """Pixels of that colour on the paper right of the calibration pulse, header and footer left out."""
    found = is_colour(image, colour)
    found[:, : START - 6] = False
    found[:42] = False
    found[-60:] = False
    return found


def spiky(seconds: float, at: list[float], height: float, leads: int = 1) -> NDArray[np.float64]:
    signal = np.zeros((leads, round(seconds * FS)))
    signal[:, np.rint(np.array(at) * FS).astype(int)] = height
    return signal


# -- ECG paper ------------------------------------------------------------------------------------------------------


def test_a_second_is_25_mm_and_a_millivolt_10_mm(tmp_path: Path) -> None:
    image = pixels(draw_record(spiky(3, [0.5, 1.5, 2.5], 1.0), FS, ["II"], tmp_path / "deep" / "er" / "a.png", "one"))
    dark = trace(image)
    baseline = np.argmax(dark.sum(axis=1))
    heights = baseline - np.argmax(dark, axis=0)
    peaks = runs((heights > 0.9 * PX_PER_MV) & dark.any(axis=0)).mean(axis=1)
    assert peaks == pytest.approx([START + PX_PER_S * t for t in (0.5, 1.5, 2.5)], abs=1)
    assert heights[dark.any(axis=0)].max() == pytest.approx(PX_PER_MV, abs=2)
    assert runs(dark.any(axis=0)) == pytest.approx(np.array([[START, START + PX_PER_S * 2.99]]), abs=2)


@pytest.mark.parametrize(("height", "mm_per_mv"), [(0.5, 10), (2.9, 10), (4.0, 5), (9.0, 2.5), (29.0, 1)])
def test_the_calibration_pulse_is_1_mv_for_200_ms_at_the_gain_in_use(
    tmp_path: Path, height: float, mm_per_mv: float
) -> None:
    image = pixels(draw_record(spiky(3, [1.0, 1.01, 2.0, 2.01], height), FS, ["II"], tmp_path / "a.png"))
    pulse = is_colour(image, INK)[:-60, 108:162]
    strokes = runs(pulse.sum(axis=1) > 12)
    assert np.diff(strokes.mean(axis=1)) == pytest.approx([6 * mm_per_mv], abs=1)
    plateau = runs(pulse[strokes[0, 0]])
    assert np.diff(plateau) == pytest.approx(np.array([[PX_PER_S * 0.2]]), abs=3)


def test_the_paper_has_square_millimetres(tmp_path: Path) -> None:
    image = pixels(draw_record(np.full((1, 300), np.nan), FS, ["II"], tmp_path / "a.png"))
    paper = image[6 * 5 : -6 * 10, 6 * 30 :].min(axis=-1) < 245
    columns, rows = paper.mean(axis=0) > 0.9, paper.mean(axis=1) > 0.7
    for lines in (columns, rows):
        assert set(np.diff(runs(lines)[1:-1, 0])) == {6}


def test_missing_samples_leave_a_gap(tmp_path: Path) -> None:
    signal = np.zeros((1, 300))
    signal[0, 100:150], signal[0, 200:220] = np.nan, np.inf
    drawn = trace(pixels(draw_record(signal, FS, ["II"], tmp_path / "a.png"))).any(axis=0)
    expected = [[START, START + 0.99 * 150], [START + 225, START + 1.99 * 150], [START + 330, START + 2.99 * 150]]
    assert runs(drawn) == pytest.approx(np.array(expected), abs=2)


def test_a_wild_sample_stays_on_its_own_row(tmp_path: Path) -> None:
    calm = spiky(10, [1.0, 2.0], 1.0, leads=2)
    wild = calm.copy()
    wild[1, 500] = 1e6
    image = pixels(draw_record(wild, FS, ["II", "V5"], tmp_path / "a.png"))
    spike = START + 5 * PX_PER_S
    upper, lower = runs(trace(image)[:, spike - 3 : spike + 4].any(axis=1))
    assert upper[1] - upper[0] < 5  # the flat line of II alone
    assert lower[1] - lower[0] == pytest.approx(REACH * 6, abs=3)


@settings(max_examples=60, deadline=None)
@given(
    signal=arrays(float, (3, 40), elements=st.floats(-1e4, 1e4) | st.just(float("nan"))),
    scale=st.sampled_from([1e-3, 1.0, 50.0]),
)
def test_rows_tile_the_paper_and_hold_what_they_show(signal: NDArray[np.float64], scale: float) -> None:
    signal, strips = signal * scale / 1e4, one_row_per_lead(3, 40)
    gain = fitting_gain([signal], strips)
    bands = stack_bands([signal], strips, gain, bottom=10)
    assert bands[-1].bottom == 10
    assert all(upper.bottom == lower.top for upper, lower in pairwise(bands))
    for band, row in zip(bands, signal, strict=True):
        assert band.bottom < band.baseline < band.top
        assert (band.baseline % 5, band.bottom % 5) == (0, 0)
        shown = band.baseline + np.clip(gain * row[~np.isnan(row)], -REACH, REACH)
        assert ((band.bottom <= shown) & (shown <= band.top)).all()
    tighter = [g for g in GAINS if g > gain]
    reach = max((np.percentile(np.abs(r[~np.isnan(r)]), 99.8) for r in signal if (~np.isnan(r)).any()), default=0)
    assert gain * reach <= REACH
    assert all(g * reach > REACH for g in tighter)


def test_the_clinical_sheet_shows_each_lead_for_its_quarter_and_lead_ii_throughout() -> None:
    strips = clinical(TWELVE_LEADS, 1000)
    shown = {TWELVE_LEADS[s.lead]: (s.row, s.start, s.stop) for s in strips if s.row < 3}
    assert len(shown) == 12
    assert shown["I"] == (0, 0, 250)
    assert shown["aVL"] == (1, 250, 500)
    assert shown["V3"] == (2, 500, 750)
    assert shown["V4"] == (0, 750, 1000)
    assert [s for s in strips if s.row == 3] == [Strip(lead=1, row=3, start=0, stop=1000)]


def test_the_clinical_sheet_follows_names_not_the_order_of_rows(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    signal = rng.normal(0, 0.3, (12, 1000))
    order = rng.permutation(12)
    one = draw_record(signal, FS, TWELVE_LEADS, tmp_path / "a.png")
    two = draw_record(signal[order], FS, [TWELVE_LEADS[i] for i in order], tmp_path / "b.png")
    assert one.read_bytes() == two.read_bytes()


def test_shade_begins_and_ends_half_a_sample_around_its_samples(tmp_path: Path) -> None:
    shade = np.zeros(300, bool)
    shade[100:150] = shade[299] = True
    plain = pixels(draw_record(np.zeros((1, 300)), FS, ["II"], tmp_path / "a.png"))
    shaded = pixels(draw_record(np.zeros((1, 300)), FS, ["II"], tmp_path / "b.png", shade=shade))
    tinted = (np.abs(shaded - plain).max(axis=-1) > 15).any(axis=0)
    edges = START + PX_PER_S * np.array([[99.5, 149.5], [298.5, 299.5]]) / FS
    assert runs(tinted) == pytest.approx(edges, abs=1.01)


def test_the_reconstruction_is_drawn_only_where_its_lead_was_masked(tmp_path: Path) -> None:
    masked = np.zeros((2, 300), bool)
    masked[0, 50:100] = masked[1, 200:250] = True
    wrong = np.full((2, 300), 0.5)
    path = draw_reconstruction(np.zeros((2, 300)), wrong, masked, FS, ["II", "V5"], tmp_path / "a.png", "title")
    image = pixels(path)
    blue = is_colour(image, BLUE, tolerance=40)
    blue[:100] = False  # the legend
    rows = runs(blue.any(axis=1))
    assert len(rows) == 2
    for (top, bottom), (start, stop) in zip(rows, ((50, 99), (200, 249)), strict=True):
        ((left, right),) = runs(blue[top:bottom].any(axis=0))
        assert (left, right) == pytest.approx((START + 1.5 * start, START + 1.5 * stop), abs=3)
    # What was seen is drawn in ink, what was hidden is not; the guess lies 0.5 mV above both.
    baseline = np.rint(rows.mean(axis=1) + 0.5 * PX_PER_MV).astype(int)
    ink = is_colour(image, INK, tolerance=40)[baseline[0] - 2 : baseline[0] + 2, START:].any(axis=0)
    assert runs(ink)[:, 0] == pytest.approx([0, 150], abs=3)


def test_one_mask_for_all_leads_is_that_mask_for_each(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    original, guess = rng.normal(0, 0.3, (2, 2, 300))
    masked = np.arange(300) % 100 < 40
    one = draw_reconstruction(original, guess, masked, FS, ["II", "V5"], tmp_path / "a.png")
    two = draw_reconstruction(original, guess, np.stack([masked] * 2), FS, ["II", "V5"], tmp_path / "b.png")
    assert one.read_bytes() == two.read_bytes()


def test_bytes_depend_on_the_input_alone_also_in_threads(tmp_path: Path) -> None:
    import matplotlib.pyplot as plt

    rng = np.random.default_rng(0)
    signals = [rng.normal(0, 0.3, (2, 300)) for _ in range(4)]

    def draw(job: tuple[str, int]) -> bytes:
        folder, i = job
        return draw_record(signals[i], FS, ["II", "V5"], tmp_path / folder / f"{i}.png", f"record $x_{i}$").read_bytes()

    alone = [draw(("alone", i)) for i in range(4)]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(draw, [("together", i) for i in range(4)])) == alone
    assert len(set(alone)) == 4
    assert plt.get_fignums() == []


def test_shapes_that_disagree_are_refused(tmp_path: Path) -> None:
    path, signal, mask = tmp_path / "a.png", np.zeros((2, 300)), np.zeros(300, bool)
    leads = ["II", "V5"]
    with pytest.raises(ValueError, match=r"\(300,\)"):
        draw_record(signal[0], FS, leads, path)
    with pytest.raises(ValueError, match="leads"):
        draw_record(signal, FS, ["II"], path)
    with pytest.raises(ValueError, match="draw a window"):
        draw_record(np.zeros((2, 6001)), FS, leads, path)
    with pytest.raises(ValueError, match="0 Hz"):
        draw_record(signal, 0, leads, path)
    with pytest.raises(ValueError, match="overlay_LT"):
        draw_record(signal, FS, leads, path, overlay_LT=signal[:, 1:])
    with pytest.raises(ValueError, match="shade"):
        draw_record(signal, FS, leads, path, shade=mask[1:])
    with pytest.raises(ValueError, match="reconstruction_LT"):
        draw_reconstruction(signal, signal[:1], mask, FS, leads, path)
    with pytest.raises(ValueError, match="bool"):
        draw_reconstruction(signal, signal, mask.astype(int), FS, leads, path)  # type: ignore[arg-type]
    assert not path.exists()


@pytest.mark.realdata
def test_every_beat_of_a_real_record_stands_where_its_annotation_says(tmp_path: Path, data_root: Path) -> None:
    import wfdb

    record = wfdb.rdrecord(str(data_root / "mitdb" / "100"), sampto=3600, channels=[0])
    beats = wfdb.rdann(str(data_root / "mitdb" / "100"), "atr", sampto=3600).sample[1:]  # the first marks the rhythm
    lead = record.p_signal[:, 0]
    path = draw_record(record.p_signal.T, record.fs, record.sig_name, tmp_path / "a.png")
    dark = trace(pixels(path))
    isoelectric = dark.shape[0] - 6 * 15  # the footer and the least room below a baseline
    assert len(beats) == 13
    for beat in beats:
        x = round(START + PX_PER_S * beat / record.fs)
        y = round(isoelectric - PX_PER_MV * (lead[beat - 5 : beat + 6].max() - np.median(lead)))
        top = np.flatnonzero(dark[:, x - 3 : x + 4].any(axis=1))[0]
        assert top == pytest.approx(y, abs=3)


# -- label-efficiency curves ----------------------------------------------------------------------------------------


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(-10, 10), min_size=2, max_size=12))
def test_seed_interval_is_scipys_t_interval(values: list[float]) -> None:
    mean, low, high = seed_interval(values)
    assert mean == pytest.approx(np.mean(values))
    if np.std(values) > 1e-6:
        expected = stats.t.interval(0.95, len(values) - 1, loc=np.mean(values), scale=stats.sem(values))
        assert (low, high) == pytest.approx(expected)


def test_seed_interval_by_hand() -> None:
    # Five values: t(.975, 4) = 2.776, standard deviation sqrt(2.5).
    assert seed_interval([0, 1, 2, 3, 4]) == pytest.approx((2, 2 - 2.776 * 0.5**0.5, 2 + 2.776 * 0.5**0.5), abs=1e-3)
    assert seed_interval([0.5]) == (0.5, None, None)
    for bad in ([], [0.5, float("nan")], [[0.5]]):
        with pytest.raises(ValueError, match="finite"):
            seed_interval(bad)  # type: ignore[arg-type]


@settings(max_examples=100, deadline=None)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=10))
def test_spread_keeps_order_distance_and_bounds(levels: list[float]) -> None:
    pitch, levels_N = 0.1, np.array(levels)
    moved = spread(levels_N, pitch)
    by_level = moved[np.argsort(levels_N, kind="stable")]
    assert (np.diff(by_level) >= pitch - 1e-9).all()
    assert moved.min() >= -1e-9
    assert moved.max() <= 1 + 1e-9
    if (np.diff(np.sort(levels_N)) >= pitch).all():
        assert moved == pytest.approx(levels_N)


def test_spread_moves_two_neighbours_alike() -> None:
    assert spread(np.array([0.52, 0.5, 0.9]), 0.1) == pytest.approx([0.56, 0.46, 0.9])


def test_roles_keep_their_colours_whatever_else_is_in_the_figure() -> None:
    few = method_colours(["random encoder", "MAE, linear probe"])
    many = method_colours(
        ["SimCLR", "MAE, linear probe", "from scratch", "classical", "random encoder", "something else", "cpc"]
    )
    assert few == {name: many[name] for name in few}
    assert (many["random encoder"], many["classical"]) == (GREY, INK)
    assert len(set(many.values())) == len(many)
    both = method_colours(["MAE, linear probe", "MAE, fine-tuned"])
    assert len(set(both.values())) == 2


def results(values: dict[int | str, list[float]], method: str = "MAE, linear probe") -> list[dict[str, object]]:
    return [
        {"method": method, "budget": budget, "seed": seed, "value": value}
        for budget, of_seeds in values.items()
        for seed, value in enumerate(of_seeds)
    ]


def test_budgets_stand_at_their_logarithm_and_full_behind_them(tmp_path: Path) -> None:
    rows = results({10: [0.5], 25: [0.5], 100: [0.5], "full": [0.5]})
    blue = is_colour(pixels(label_efficiency(rows, tmp_path / "new" / "a.png")), BLUE, tolerance=30)
    markers = runs(blue.sum(axis=0) > 8).mean(axis=1)[:4]  # then comes the name
    assert (markers[1] - markers[0]) / (markers[2] - markers[0]) == pytest.approx(np.log10(2.5), abs=0.01)
    assert markers[3] - markers[2] > markers[2] - markers[1] - 5


def test_the_order_of_rows_does_not_matter_and_a_table_is_as_good_as_a_list(tmp_path: Path) -> None:
    import pandas as pd

    rng = np.random.default_rng(0)
    rows = [
        row
        for method in ("MAE, linear probe", "from scratch")
        for row in results({b: rng.uniform(0.5, 0.9, 3).tolist() for b in (10, 50)}, method)
    ]
    one = label_efficiency(rows, tmp_path / "a.png", "macro_auc", "title", chance=0.5)
    two = label_efficiency(pd.DataFrame(rows[::-1]), tmp_path / "b.png", "macro_auc", "title", chance=0.5)
    assert one.read_bytes() == two.read_bytes()


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([], "all rows|missing"),
        ([{"method": "MAE", "budget": 10, "seed": 0}], "value"),
        (results({0: [0.5]}), "budget 0"),
        (results({"ten": [0.5]}), "budget 'ten'"),
        (results({2.5: [0.5]}), "budget 2.5"),  # type: ignore[dict-item]
        (results({10: [float("nan")]}), "MAE, linear probe, budget 10, seed 0"),
        (results({10: [0.5]}) * 2, "second value"),
    ],
)
def test_rows_that_make_no_curve_are_refused(rows: list[dict[str, object]], message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message):
        label_efficiency(rows, tmp_path / "a.png")
