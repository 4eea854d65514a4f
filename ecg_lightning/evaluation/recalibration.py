"""What calibration is, and what scalers make of it that learn from the validation split."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from ecg_lightning.data.budget import SealedLabels
from ecg_lightning.evaluation.calibration import measure
from ecg_lightning.evaluation.cell import Cell, Fitted, Probability
from ecg_lightning.evaluation.metrics import MACRO, judge
from ecg_lightning.evaluation.scalers import SCALERS
from ecg_lightning.evaluation.setting import Setting, aggregate, first_of_each


class Recalibrated(NamedTuple):
    """What calibration is, and what it becomes.

    Attributes:
        report: `labels_used`, the validation labels read; `none`, see `measure`; the same of each scaler, with the
            values of the macro metrics and the scaler's details.
        probability: by scaler, (M, C) for what is judged.
    """

    report: dict[str, Any]
    probability: dict[str, Probability]


def recalibrate(
    scalers: Sequence[str], setting: Setting, cell: Cell, fitted: Fitted, probability: Probability, resamples: int
) -> Recalibrated:
    """Measure the calibration of test predictions, as they are and after scaling.

    Scalers learn from the validation split alone, and from whole recordings where windows of one are judged together.

    Args:
        scalers: some of `SCALERS`; without any no label is read.
        setting: of the cell.
        cell: that `fitted` comes from.
        fitted: says what it thinks of the validation split.
        probability: (M, C) what it thinks of the test split, as it is judged.
        resamples: of the test patients.

    Raises:
        UserError: a scaler is asked for, and the validation split is empty.
    """
    data, y, patient = setting.data, setting.truth, setting.test_patient
    report: dict[str, Any] = {"labels_used": 0}
    report["none"] = measure(y, probability, data.classes, patient, resamples=resamples)
    if not scalers:
        return Recalibrated(report, {})
    held = setting.validation
    once = first_of_each(held)
    labels = SealedLabels(held.y, once)
    said = aggregate(fitted.predict(cell.part("val")), held.unit, data.aggregate, data.multi_label)
    scaled = {name: SCALERS[name](said, labels[once], data.classes) for name in scalers}
    report["labels_used"] = len(labels.read)
    after = {name: scaler(probability) for name, scaler in scaled.items()}
    for name, each in after.items():
        metrics = judge(y, each, data.classes, patient, resamples=0).report
        report[name] = {
            **measure(y, each, data.classes, patient, resamples=resamples),
            "metrics": {metric: metrics[metric]["value"] for metric in MACRO},
            "details": dict(scaled[name].details),
        }
    return Recalibrated(report, after)
