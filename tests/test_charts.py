"""What the pictures of an evaluation say: shares, curves and neighbours against scikit-learn and naive versions."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from test_dark import contrast, pixels

from ecg_lightning.evaluation import mean_curves
from ecg_lightning.evaluation.bootstrap import draw_resamples
from ecg_lightning.evaluation.metrics import score
from ecg_lightning.evaluation.purity import NEIGHBOURS, purity
from ecg_lightning.evaluation.telling import telling_predictions
from ecg_lightning.reporting import confusion, embedding_map, ranking_curves
from ecg_lightning.reporting.style import dark_name

Capture = Callable[..., Any]


@pytest.fixture
def captured(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Capture:
    """Calls a drawing function of a module and gives the figure instead of a file."""

    def call(module: Any, name: str, *arguments: Any) -> Any:
        figures: list[Any] = []
        monkeypatch.setattr(module, "save_png", lambda figure, path, **how: figures.append(figure) or path)
        getattr(module, name)(*arguments, tmp_path / "a.png", "title")
        return figures[0]

    return call


def texts(figure: Any) -> list[str]:
    return [text.get_text() for axes in figure.axes for text in axes.texts]


# -- confusion ------------------------------------------------------------------------------------------------------


def test_cells_say_the_shares_of_the_true_class_and_are_shaded_by_them(captured: Capture) -> None:
    from sklearn.metrics import confusion_matrix

    rng = np.random.default_rng(0)
    y = rng.integers(0, 3, 200)
    predicted = np.where(rng.random(200) < 0.6, y, rng.integers(0, 3, 200))
    figure = captured(confusion, "draw_confusion", confusion_matrix(y, predicted), ["N", "S", "V"])
    shares = confusion_matrix(y, predicted, normalize="true")
    written = [text for text in texts(figure) if text.endswith("%")]
    assert written == [f"{round(100 * share)} %" for share in shares.ravel()]
    shades = [patch.get_alpha() for patch in figure.axes[0].patches if patch.get_fill()]
    assert np.array(shades) / max(shades) == pytest.approx(shares.ravel() / shares.max())
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == [
        f"{name} ({(y == c).sum()})" for c, name in enumerate("NSV")
    ]


def test_of_many_classes_the_rarest_are_joined_and_nothing_is_lost() -> None:
    rng = np.random.default_rng(0)
    counts = rng.integers(1, 50, (20, 20)) * np.arange(1, 21)[:, None]
    joined, names = confusion._joined(counts, [f"c{i}" for i in range(20)])
    assert joined.shape == (12, 12) and names == [*(f"c{i}" for i in range(9, 20)), "9 others"]
    assert joined.sum() == counts.sum()
    assert (joined[:-1, :-1] == counts[9:, 9:]).all() and joined[-1, -1] == counts[:9, :9].sum()
    with pytest.raises(ValueError, match="2 classes"):
        confusion.draw_confusion(counts, ["a", "b"], "a.png", "")


def test_words_in_the_fullest_cell_can_be_read_on_both_grounds(tmp_path: Path) -> None:
    path = confusion.draw_confusion(np.diag([5, 7]), ["N", "V"], tmp_path / "a.png", "")
    for picture in (pixels(path), pixels(dark_name(path))):
        flat = picture.reshape(-1, 3)
        blue = flat[np.argmax(flat[:, 2] - flat[:, 0])]
        in_cell = picture[(np.abs(picture - blue).max(axis=-1) < 0.02).sum(axis=1) > 60]
        on_blue = in_cell[:, : picture.shape[1] * 3 // 5].reshape(-1, 3)
        words = np.unique(on_blue[np.abs(on_blue - blue).max(axis=-1) > 0.02], axis=0)
        inked = words[[contrast(colour, picture[0, 0]) > 10 for colour in words]]
        assert len(inked) and max(contrast(colour, blue) for colour in inked) > 4.5


def test_a_share_is_never_rounded_to_nothing_or_all() -> None:
    said = [confusion.percent(share) for share in (0, 0.001, 0.5, 0.999, 1)]
    assert said == ["0 %", "< 1 %", "50 %", "> 99 %", "100 %"]


def test_labels_stand_with_their_recall_and_precision(captured: Capture) -> None:
    from sklearn.metrics import precision_score, recall_score

    rng = np.random.default_rng(1)
    y = (rng.random((300, 20)) < np.linspace(0.02, 0.5, 20)).astype(int)
    probability = np.clip(0.5 * y + rng.uniform(0, 0.7, y.shape), 0, 1)
    probability[:, 19] = 0.1
    figure = captured(confusion, "draw_decisions", y, probability, [f"L{i}" for i in range(20)])
    most = np.argsort(-y.sum(axis=0), kind="stable")[:16]
    names = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert names == [f"L{c}" for c in most]
    given = probability > 0.5
    for axes, metric in zip(figure.axes, (recall_score, precision_score), strict=True):
        shares = metric(y, given, average=None, zero_division=0)[most]
        assert [bar.get_width() for bar in axes.patches][1::2] == pytest.approx(shares)
    hits, written = (y & given).sum(axis=0), texts(figure)
    for c in most:
        assert any(text.endswith(f" {hits[c]} of {y[:, c].sum()}") for text in written)
        assert c == 19 or any(text.endswith(f" {hits[c]} of {given[:, c].sum()}") for text in written)
    assert "never given" in written


# -- curves ---------------------------------------------------------------------------------------------------------


def naive(truth: NDArray[np.bool_], scores: NDArray[Any], rows: NDArray[np.int64]) -> tuple[Any, Any]:
    """ROC and precision at the same places, one resample at a time, by scikit-learn."""
    from sklearn.metrics import precision_recall_curve, roc_curve

    false, true, _ = roc_curve(truth[rows], scores[rows], drop_intermediate=False)
    precision, recall, _ = precision_recall_curve(truth[rows], scores[rows])
    reached = [precision[recall >= max(rate - 1e-9, 1e-9)][-1] for rate in mean_curves.RATES]
    return np.interp(mean_curves.RATES, false, true), np.array(reached)


def test_mean_curves_are_those_of_scikit_learn_in_every_resample() -> None:
    rng = np.random.default_rng(0)
    truth, groups = rng.random((120, 3)) < 0.3, rng.integers(0, 12, 120)
    scores = np.round(rng.random((120, 3)) + 0.4 * truth, 2)  # some are tied, some belong to negatives alone
    found = mean_curves.mean_curves(truth, scores, groups, resamples=50)
    of_group = [truth[groups == g] for g in range(12)]
    holds = np.array([[rows.any(axis=0), (~rows).any(axis=0)] for rows in of_group])
    counts = draw_resamples(holds.reshape(12, 6), 50, seed=0).counts
    for r in (0, 1, 7, 50):
        times = np.ones(12, int) if r == 0 else counts[:, r - 1]
        rows = np.repeat(np.arange(120), times[groups])
        of_classes = [naive(truth[:, c], scores[:, c], rows) for c in range(3)]
        roc, precision = np.mean(of_classes, axis=0)
        np.testing.assert_allclose(found.roc[r], roc, atol=1e-6)
        np.testing.assert_allclose(found.precision[r], precision, atol=1e-6)


def test_the_areas_below_the_means_are_the_macro_metrics_and_their_resamples_alike() -> None:
    rng = np.random.default_rng(0)
    y, groups = rng.integers(0, 3, 6000), rng.integers(0, 30, 6000)  # more positives than thresholds
    probability = rng.dirichlet(np.ones(3), 6000) * 0.6 + 0.4 * np.eye(3)[y] * rng.random((6000, 1))
    probability /= probability.sum(axis=1, keepdims=True)
    found = mean_curves.mean_curves(y[:, None] == np.arange(3), probability, groups, resamples=100)
    report = score(y, probability, list("abc"), groups, resamples=100)
    for curves, name in ((found.roc, "macro_auroc"), (found.precision, "average_precision")):
        areas = np.trapezoid(curves, mean_curves.RATES, axis=1)
        assert areas[0] == pytest.approx(report[name]["value"], abs=0.004)
        low, high = np.percentile(areas[1:], [2.5, 97.5])
        assert (low, high) == pytest.approx((report[name]["low"], report[name]["high"]), abs=0.004)


def test_a_class_without_examples_is_named_and_not_drawn(captured: Capture) -> None:
    from sklearn.metrics import roc_auc_score

    rng = np.random.default_rng(0)
    y, probability = rng.integers(0, 3, 300), rng.dirichlet(np.ones(4), 300)
    classes = ["N", "S", "V", "nowhere"]
    figure = captured(ranking_curves, "draw_ranking_curves", y, probability, classes, rng.integers(0, 20, 300))
    said = texts(figure)
    assert any("none carry it: nowhere" in text for text in said) and "nowhere" not in said
    for c, name in enumerate(classes[:3]):
        assert f"{roc_auc_score(y == c, probability[:, c]):.3f}" in said and name in said
    drawn = [line for line in figure.axes[0].lines if len(line.get_xdata()) > 2]
    assert len(drawn) == 4  # three classes and their mean
    assert all(line.get_xdata()[0] == 0 and line.get_ydata()[-1] == 1 for line in drawn)


def test_at_most_eight_classes_have_a_curve_of_their_own_and_all_are_in_the_mean(captured: Capture) -> None:
    rng = np.random.default_rng(0)
    y = (rng.random((200, 12)) < np.linspace(0.1, 0.6, 12)).astype(int)
    classes = [f"L{i}" for i in range(12)]
    figure = captured(ranking_curves, "draw_ranking_curves", y, rng.random((200, 12)), classes, np.arange(200) // 60)
    most = {f"L{c}" for c in np.argsort(-y.sum(axis=0), kind="stable")[:8]}
    said = texts(figure)
    assert {text for text in said if text in classes} == most and "mean of 12" in said
    assert any("too few patients for a band" in text for text in said)
    assert not figure.axes[0].collections


# -- the map --------------------------------------------------------------------------------------------------------


def test_purity_is_that_of_scikit_learns_neighbours() -> None:
    from sklearn.neighbors import NearestNeighbors

    rng = np.random.default_rng(0)
    features, group = rng.normal(size=(150, 7)), rng.integers(0, 4, 150)
    features[:, 0] += group
    nearest = NearestNeighbors(n_neighbors=NEIGHBOURS).fit(features).kneighbors(return_distance=False)
    found = purity(features, group)
    assert found is not None and found.share == pytest.approx((group[nearest] == group[:, None]).mean())
    counts = np.bincount(group)
    assert found.chance == pytest.approx((counts * (counts - 1)).sum() / (150 * 149))


def test_an_encoder_of_people_has_pure_classes_only_among_the_same_patient() -> None:
    rng = np.random.default_rng(0)
    patient = np.repeat(np.arange(20), 15)
    diagnosis = patient % 2  # each patient has one
    features = 50 * rng.normal(size=(20, 5))[patient] + rng.normal(size=(300, 5))
    alike, apart = purity(features, diagnosis), purity(features, diagnosis, patient)
    assert alike is not None and apart is not None
    assert alike.share == 1 and apart.share < 0.75
    assert purity(features, diagnosis, np.zeros(300)) is None


def test_a_map_shows_each_example_once_and_patients_where_they_are_groups(captured: Capture) -> None:
    rng = np.random.default_rng(0)
    y, patient = rng.integers(0, 3, 90), np.array([f"mitdb/{100 + i // 6}" for i in range(90)])
    figure = captured(embedding_map, "draw_embedding_map", rng.normal(size=(90, 8)), y, list("NSV"), patient)
    assert [sum(len(dots.get_offsets()) for dots in axes.collections) for axes in figure.axes] == [90, 90]
    named = [text.get_text() for text in figure.axes[1].get_legend().get_texts()]
    assert len(named) == 13 and named[-1] == "3 others (18)" and "100 (6)" in named
    assert any("perplexity 29.6667" in text or "perplexity 30" in text for text in texts(figure))


def test_labels_that_go_together_and_patients_of_one_example_each(captured: Capture) -> None:
    rng = np.random.default_rng(0)
    y = (rng.random((60, 3)) < 0.4).astype(int)
    figure = captured(embedding_map, "draw_embedding_map", rng.normal(size=(60, 8)), y, list("ABC"), np.arange(60))
    (axes,) = figure.axes
    named = [text.get_text() for text in axes.get_legend().get_texts()]
    alone = y[y.sum(axis=1) == 1].sum(axis=0)
    assert {f"{name} ({count})" for name, count in zip("ABC", alone, strict=True)} <= set(named)
    assert (
        f"several labels ({(y.sum(axis=1) > 1).sum()})" in named and f"others ({(y.sum(axis=1) == 0).sum()})" in named
    )


def test_the_points_of_a_map_are_drawn_once_for_all() -> None:
    chosen = embedding_map.drawn_points(50_000)
    assert len(chosen) == embedding_map.MOST_POINTS == len(set(chosen)) and (np.diff(chosen) > 0).all()
    assert (chosen == embedding_map.drawn_points(50_000)).all()
    assert embedding_map.drawn_points(7).tolist() == list(range(7))


# -- predictions to look at -----------------------------------------------------------------------------------------


def test_the_most_certain_predictions_of_exclusive_classes() -> None:
    y = np.array([0, 0, 0, 1, 1, 2])
    p = np.array([[0.9, 0.1, 0], [0.6, 0.4, 0], [0.1, 0.8, 0.1], [0.3, 0.7, 0], [0.95, 0.05, 0], [0.2, 0.3, 0.5]])
    found = telling_predictions(y, p, 4)
    assert [tuple(each) for each in found] == [(0, 0, True), (3, 1, True), (5, 2, True), (4, 0, False)]
    assert [each.row for each in telling_predictions(y, p, 2)] == [0, 4]
    assert [each.row for each in telling_predictions(y, p, 1)] == [0]
    assert telling_predictions(y, p, 0) == []


def test_the_most_certain_predictions_of_labels() -> None:
    y = np.array([[1, 1], [1, 0], [0, 0]])
    found = telling_predictions(y, np.array([[0.9, 0.95], [0.8, 0.2], [0.4, 0.7]]), 4)
    assert [tuple(each) for each in found] == [(0, 0, True), (2, 1, False)], "a row is shown once"
