"""Does pretraining help? The linear probe against each rival on the same labels, in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ecg_lightning.evaluation.intervals import seed_interval
from ecg_lightning.reporting.tables import METHODS, budget_order

OURS = "linear"
RIVALS = ("random_encoder", "scratch", "classical")
NAMES = {"linear": "pretrained", "finetune": "fine-tuned"}
"""How a sentence begins."""

Values = dict[tuple[str, str], dict[int, float]]
"""By protocol and budget: the metric of each label seed."""


def comparisons(
    done: Sequence[Mapping[str, Any]], metric: str, ours: str = OURS, rivals: Sequence[str] = RIVALS
) -> list[str]:
    """A sentence for each rival of the pretrained encoder's probe.

    Differences are paired: both methods had the same labels under each seed. Their 95 % t-interval over at least five
    seeds decides the word; it is not corrected for the number of comparisons.

    Args:
        done: finished results of one checkpoint on one data set.
        metric: the one to compare.
        ours: the protocol that the rivals are compared with.
        rivals: protocols.
    """
    values: Values = {}
    for result in done:
        value = result["metrics"][metric]["value"]
        if value is not None:
            values.setdefault((result["protocol"], result["budget"]), {})[result["seed"]] = value
    sentences = (_sentence(values, ours, rival) for rival in rivals)
    return [sentence for sentence in sentences if sentence]


def _sentence(values: Values, protocol: str, rival: str) -> str:
    budgets = sorted((budget for each, budget in values if each == protocol), key=budget_order)
    entries = []
    for budget in budgets:
        ours, theirs = values[protocol, budget], values.get((rival, budget), {})
        shared = sorted(ours.keys() & theirs.keys())
        if len(shared) >= 5:
            entries.append(_entry(budget, [ours[seed] - theirs[seed] for seed in shared]))
    return f"{NAMES[protocol]} against {METHODS[rival]}: " + "; ".join(entries) if entries else ""


def _entry(budget: str, differences: list[float]) -> str:
    mean, low, high = seed_interval(differences)
    assert low is not None and high is not None
    word = "better" if low > 0 else "worse" if high < 0 else "no difference shown"
    labels = f"{budget} labels" if budget.isdigit() else budget
    return f"{word} at {labels} ({mean:+.3f} [{low:+.3f}, {high:+.3f}])"
