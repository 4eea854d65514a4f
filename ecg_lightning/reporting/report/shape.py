"""What a finished result must say, and of which kind, before any page is made of it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import NoneType
from typing import Any

from ecg_lightning.reporting.robustness import SUFFERS
from ecg_lightning.reporting.tables import METRICS, budget_order

MEASURES = {"ece": "ECE", "classwise_ece": "classwise ECE", "brier": "Brier score", "nll": "log-loss"}
"""How the page calls what `evaluation.calibration.measure` gives; of each, less is better."""

NOT_SCALERS = ("labels_used",)
"""What else stands among the scalers of a result's `calibration`."""

Shape = Mapping[str, Any] | tuple[type, ...]
"""Keys and their shapes, or the types that a value may have."""

WORD, NUMBER, TRUTH, COUNT = (str,), (int, float), (bool,), (int,)
MAYBE_NUMBER = (int, float, NoneType)
MAYBE_WORD = (str, NoneType)
NUMBERS = {int, float, NoneType}
METRIC = {"value": MAYBE_NUMBER}
MEAN = {"value": MAYBE_NUMBER, "low": MAYBE_NUMBER, "high": MAYBE_NUMBER}
METRICS_SHAPE = dict.fromkeys(METRICS, METRIC)

RESULT: Shape = {
    "status": WORD,
    "protocol": WORD,
    "budget": WORD,
    "seed": COUNT,
    "model_seed": COUNT,
    "classes": (list,),
    "multi_label": TRUTH,
    "config": {"protocol": {"method": (dict,)}},
    "encoder": {"digest": WORD, "objective": WORD, "pretrained_on": MAYBE_WORD, "learned": TRUTH},
    "split": WORD,
    "leakage": {"pretraining_patients": COUNT, "pretraining_populations_unclear": (list,), "training_patients": COUNT,
                "pretraining_copies": COUNT, "training_copies": COUNT},
    "data": {"fingerprint": WORD, "test_examples": COUNT, "test_patients": COUNT, "substituted_leads": (dict,)},
    "truth": WORD,
    "metrics": METRICS_SHAPE,
    "collapsed": TRUTH,
    "seconds": NUMBER,
    "peak_memory_mb": NUMBER,
    "device": WORD,
    "commit": WORD,
}  # fmt: skip

STRESS: Shape = {"name": WORD, "axis": WORD, "applies_to": WORD, "twin": WORD, "levels": (list,)}
LEVEL: Shape = {"level": NUMBER, "metrics": dict.fromkeys(METRICS, MEAN)}


def check(result: Mapping[str, Any]) -> None:
    """That a finished result says all that the report needs; what older versions did not say may be missing.

    Raises:
        ValueError: something is missing, or of another kind; the message names it.
    """
    _fit(result, RESULT, "")
    if result["status"] != "done":
        raise ValueError("its status is neither done nor failed")
    budget_order(result["budget"])
    if not all(isinstance(name, str) for name in result["classes"]):
        raise ValueError("classes are no words")
    config, encoder = result["config"], result["encoder"]
    _fit(config.get("data", {}), {}, "config.data")
    _fit(config.get("calibration", []), (list,), "config.calibration")
    _fit(result.get("details", {}), {}, "details")
    _fit(result.get("details", {}).get("members", []), (list,), "details.members")
    _fit(encoder.get("pretraining_folds", []), (list,), "encoder.pretraining_folds")
    for key in ("parameters", "pretraining_labels"):
        _fit(encoder.get(key, 0), COUNT, f"encoder.{key}")
    for key in ("read", "patients"):
        _fit(result.get("labels", {}).get(key, 0), COUNT, f"labels.{key}")
    _fit(result["metrics"].get("undefined", []), (list,), "metrics.undefined")
    for name, metric in result["metrics"].items():
        if isinstance(metric, dict) and "value" in metric and not _is_mean(metric):
            _fit(metric, MEAN, f"metrics.{name}")
    _check_calibration(result.get("calibration", {}))
    if "robustness" in result:
        _check_stress(result)


def _is_mean(metric: Mapping[str, Any]) -> bool:
    """Whether a metric has its numbers, seen at a glance: a result has fifty of them."""
    if not MEAN.keys() <= metric.keys():
        return False
    value, low, high = metric["value"], metric["low"], metric["high"]
    return {type(value), type(low), type(high)} <= NUMBERS and math.isfinite((value or 0) + (low or 0) + (high or 0))


def _check_calibration(calibration: Any) -> None:
    _fit(calibration, {}, "calibration")
    _fit(calibration.get("labels_used", 0), COUNT, "calibration.labels_used")
    for scaler, report in calibration.items():
        if scaler not in NOT_SCALERS:
            _fit(report, {}, f"calibration.{scaler}")
            for name in MEASURES:
                _fit(report.get(name, {"value": None}), METRIC, f"calibration.{scaler}.{name}")


def _check_stress(result: Mapping[str, Any]) -> None:
    stress = result["robustness"]
    _fit(stress, STRESS, "robustness")
    _fit(result["config"].get("robustness"), {}, "config.robustness")
    if stress["applies_to"] not in SUFFERS or not stress["levels"]:
        raise ValueError("robustness has no levels, or applies to nothing known")
    for level in stress["levels"]:
        _fit(level, LEVEL, "robustness.levels")
    for name in METRICS:
        _fit(result["metrics"][name], MEAN, f"metrics.{name}")


def _fit(value: Any, shape: Shape, name: str) -> None:
    """Say what does not fit; of ten thousand results nearly all do, and need no words."""
    if not _fits(value, shape):
        raise ValueError(_misfit(value, shape, name))


def _fits(value: Any, shape: Shape) -> bool:
    if isinstance(shape, tuple):
        return isinstance(value, shape) and not (isinstance(value, float) and not math.isfinite(value))
    return isinstance(value, dict) and all(key in value and _fits(value[key], of) for key, of in shape.items())


def _misfit(value: Any, shape: Shape, name: str) -> str:
    """The first place in which a value does not fit."""
    if isinstance(shape, tuple):
        if not isinstance(value, shape):
            return f"{name} is a {type(value).__name__}"
        return f"{name} is {value}, no finite number"
    if not isinstance(value, dict):
        return f"{name or 'it'} is no mapping"
    key = next(key for key, of in shape.items() if key not in value or not _fits(value[key], of))
    below = f"{name}.{key}" if name else key
    return _misfit(value[key], shape[key], below) if key in value else f"{below} is missing"
