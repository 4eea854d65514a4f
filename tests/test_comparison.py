"""The words of a comparison against a hand computation."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from ecg_lightning.reporting.comparison import comparisons


def results(protocol: str, values: list[float], budget: str = "10") -> list[dict[str, object]]:
    return [
        {"protocol": protocol, "budget": budget, "seed": seed, "metrics": {"macro_f1": {"value": value}}}
        for seed, value in enumerate(values)
    ]


@pytest.mark.parametrize(("shift", "word"), [(0.2, "better"), (-0.2, "worse"), (0.0, "no difference shown")])
def test_the_interval_of_paired_differences_decides_the_word(shift: float, word: str) -> None:
    rival = [0.30, 0.50, 0.40, 0.60, 0.35]
    noise = np.array([0.010, -0.020, 0.025, 0.005, -0.010])
    ours = (np.array(rival) + shift + noise).tolist()
    (sentence,) = comparisons(results("linear", ours) + results("classical", rival), "macro_f1")
    difference = shift + noise
    half = stats.t.ppf(0.975, 4) * stats.sem(difference)
    mean = difference.mean()
    assert f"{word} at 10 labels ({mean:+.3f} [{mean - half:+.3f}, {mean + half:+.3f}])" in sentence
    assert "classical" in sentence


def test_fewer_than_five_shared_seeds_say_nothing() -> None:
    assert comparisons(results("linear", [0.5] * 5) + results("scratch", [0.1] * 4), "macro_f1") == []
    assert comparisons(results("scratch", [0.1] * 5), "macro_f1") == []


def test_budgets_stand_in_order_and_undefined_values_are_left_out() -> None:
    done = []
    for budget in ("100", "10", "full"):
        done += results("linear", [0.5, 0.6, 0.7, 0.6, 0.5, 0.9], budget) + results("random_encoder", [0.1] * 6, budget)
    done[0]["metrics"] = {"macro_f1": {"value": None}}
    (sentence,) = comparisons(done, "macro_f1")
    assert sentence.index("10 labels") < sentence.index("100 labels") < sentence.index("at full")
