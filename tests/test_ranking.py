"""AUROC and average precision of many samples at once, against scikit-learn on rows that are really repeated."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sk

from ecg_lightning.evaluation import ranking
from ecg_lightning.evaluation.bootstrap import Samples
from ecg_lightning.evaluation.ranking import weighted_ranking


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_every_sample_equals_scikit_learn_on_repeated_rows(data: st.DataObject) -> None:
    """Few groups and many, ties and none, classes without a positive or without a negative."""
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32), label="seed"))
    rows, groups = data.draw(st.integers(1, 80), label="rows"), data.draw(st.integers(1, 80), label="groups")
    levels = data.draw(st.sampled_from([1, 3, 20, 10**6]), label="score levels")
    samples = data.draw(st.sampled_from([1, 6]), label="samples")
    truth, group = rng.random((rows, 3)) < rng.random(3), rng.integers(groups, size=rows)
    scores = rng.integers(levels, size=(rows, 3)) / levels
    counts = rng.integers(4, size=(samples, groups)).astype(float)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ranking, "_FEW", data.draw(st.sampled_from([0, 1000]), label="few"))
        patch.setattr(ranking, "_WIDTH", data.draw(st.sampled_from([1, 4]), label="width"))
        patch.setattr(ranking, "_CELLS", data.draw(st.sampled_from([4, 12, 1000]), label="cells"))
        auroc, precision = weighted_ranking(truth, scores, Samples(group, counts))
    for (r, c), ours in np.ndenumerate(auroc):
        drawn = np.repeat(np.arange(rows), counts[r, group].astype(int))
        positive, said = truth[drawn, c], scores[drawn, c]
        expected = sk.average_precision_score(positive, said) if positive.any() else np.nan
        np.testing.assert_allclose(precision[r, c], expected, atol=1e-12)
        expected = sk.roc_auc_score(positive, said) if positive.any() and not positive.all() else np.nan
        np.testing.assert_allclose(ours, expected, atol=1e-12)


@pytest.mark.parametrize("groups", [7, 3000])
def test_many_thresholds_equal_scikit_learn(groups: int) -> None:
    rng = np.random.default_rng(1)
    truth, group = rng.random((3000, 2)) < [0.7, 0.01], rng.integers(groups, size=3000)
    scores = rng.normal(size=(3000, 2)).astype(np.float32) + truth
    counts = rng.multinomial(groups, np.ones(groups) / groups, size=200).astype(float)
    auroc, precision = weighted_ranking(truth, scores, Samples(group, counts))
    for r, c in ((0, 0), (99, 1), (130, 0), (199, 1)):
        weight = counts[r, group]
        expected = sk.roc_auc_score(truth[:, c], scores[:, c], sample_weight=weight)
        assert auroc[r, c] == pytest.approx(expected, abs=1e-9)
        expected = sk.average_precision_score(truth[:, c], scores[:, c], sample_weight=weight)
        assert precision[r, c] == pytest.approx(expected, abs=1e-9)
