"""One evaluation cell, from its configuration to `result.json`."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from omegaconf import DictConfig, OmegaConf

from ecg_lightning import provenance
from ecg_lightning.account import about_data, about_encoder, about_labels, headline, identity, peak_memory_mb
from ecg_lightning.build import build_protocol, plain
from ecg_lightning.evaluation.cell import Cell, Fitted
from ecg_lightning.evaluation.collapse import has_collapsed
from ecg_lightning.evaluation.leakage import Leakage, united
from ecg_lightning.evaluation.metrics import judge
from ecg_lightning.evaluation.recalibration import recalibrate
from ecg_lightning.evaluation.robustness.curve import withstand
from ecg_lightning.evaluation.setting import Setting
from ecg_lightning.precheck import check_evaluation
from ecg_lightning.question import (
    cell_folder,
    leakages_of,
    members_of,
    open_cell,
    open_setting,
    refuse_leakage,
    stress_of,
    without_run_keys,
)
from ecg_lightning.reporting.cell_pictures import PICTURES, draw_cell
from ecg_lightning.results import (
    Predictions,
    Truth,
    read_result,
    write_calibrated,
    write_predictions,
    write_result,
    write_truth,
)

log = logging.getLogger(__name__)


class Solved(NamedTuple):
    """What was learned from a cell's labels, together with other cells.

    Attributes:
        cell: the cell, some of its labels read.
        fitted: what was learned.
        seconds: that it took.
    """

    cell: Cell
    fitted: Fitted
    seconds: float


def assess(config: DictConfig, *, pictures: bool = False) -> Path:
    """Evaluate one cell, unless it is done already, together with the baselines beside it.

    Args:
        config: as `conf/evaluate.yaml` composes it.
        pictures: draw the cell too, unless that is done already.

    Returns:
        The cell's folder, which holds `result.json` and `predictions.npz`, and `pictures/` if they are asked for.

    Raises:
        UserError: checkpoint, data or budget do not fit together.
    """
    check_evaluation(config)
    config = without_run_keys(config)
    setting, solved = open_setting(config), dict[Path, Solved]()
    folder = answer(config, setting, solved)
    if not pictures:
        return folder
    if not (folder / PICTURES).exists():
        cell, fitted, _ = solved.get(folder) or learn(config, setting)
        draw_cell(folder, cell, fitted, config.attributions)
    log.info(f"pictures of it in {folder / PICTURES}")
    return folder


def answer(config: DictConfig, setting: Setting, solved: dict[Path, Solved]) -> Path:
    """Evaluate one cell of a setting, unless it is done already, together with the baselines beside it.

    Args:
        config: see `assess`.
        setting: from `open_setting`.
        solved: by cell folder, what was learned already; what is learned now is added.

    Returns:
        See `assess`.
    """
    folder = cell_folder(config, setting.checkpoint, setting.data, members_of(config, setting))
    done = finished(folder)
    if done is not None and _is_complete(done, config, united(list(leakages_of(config, setting).values()))):
        refuse_leakage(config, setting)  # also where an earlier command allowed it
        log.info(f"{folder.name}: done before; {headline(done['metrics'])}")
        return folder
    try:
        beside = {name: _baseline(config, setting, name, solved) for name in config.protocol.beside}
        content = _evaluate(config, setting, folder, solved)
    except Exception as error:
        if finished(folder) is None:  # nor has another process finished it in the meantime
            failed = {"status": "failed", "error": f"{type(error).__name__}: {error}"}
            write_result(folder, {**failed, **identity(config, setting.data)})
        raise
    write_result(folder, {**content, "baselines": beside})
    log.info(f"{folder.name}: {headline(content['metrics'])}")
    return folder


def finished(folder: Path) -> dict[str, Any] | None:
    """The result of a cell that is done."""
    before = read_result(folder)
    return before if before is not None and before["status"] == "done" else None


def _is_complete(result: Mapping[str, Any], config: DictConfig, leakage: Leakage) -> bool:
    """Whether a finished result says all that is asked of it: its intervals, who was seen, the baselines beside it.

    Scalers are part of a cell's folder already; a result from before there was calibration has none at all.
    """
    same_intervals: bool = result["config"]["resamples"] == config.resamples
    same_people = leakage.to_dict().items() <= result["leakage"].items()
    return (
        same_intervals
        and same_people
        and "calibration" in result
        and set(config.protocol.beside) <= result["baselines"].keys()
    )


def _baseline(config: DictConfig, setting: Setting, name: str, solved: dict[Path, Solved]) -> Mapping[str, Any]:
    """The result of the same cell under another protocol."""
    other = config.copy()
    other.protocol = config.beside[name]
    result = read_result(answer(other, setting, solved))
    assert result is not None
    return {key: result[key] for key in ("metrics", "calibration", "details")}


def learn(config: DictConfig, setting: Setting) -> Solved:
    """What a cell's protocol learns from its labels."""
    begin = time.perf_counter()
    cell = open_cell(config, setting)
    fitted = build_protocol(config.protocol.method).fit(cell)
    return Solved(cell, fitted, time.perf_counter() - begin)


def _evaluate(config: DictConfig, setting: Setting, folder: Path, solved: dict[Path, Solved]) -> dict[str, Any]:
    checkpoint, data = setting.checkpoint, setting.data
    leakage = united(list(leakages_of(config, setting).values()))
    if folder not in solved:
        solved[folder] = learn(config, setting)
    cell, fitted, seconds = solved[folder]
    begin = time.perf_counter()
    probability = setting.judged(fitted.predict(cell.part("test")))
    judged = judge(
        setting.truth, probability, data.classes, setting.test_patient,
        resamples=config.resamples, challenge=data.challenge_weights,
    )  # fmt: skip
    recalibrated = recalibrate(config.calibration, setting, cell, fitted, probability, config.resamples)
    write_truth(folder.parent, setting.truth_digest, Truth(setting.truth, setting.test_patient, setting.test_record))
    write_predictions(folder, Predictions(probability, judged.resampled))
    write_calibrated(folder, recalibrated.probability)
    return {
        "status": "done",
        **identity(config, data),
        "encoder": about_encoder(checkpoint),
        "split": data.split_kind,
        "leakage": {**leakage.to_dict(), "allowed": config.allow_seen_patients},
        "data": about_data(setting),
        "labels": about_labels(cell, setting),
        "truth": setting.truth_digest,
        "metrics": judged.report,
        **_robustness(config, setting, cell, fitted, judged.report),
        "calibration": recalibrated.report,
        "collapsed": has_collapsed(probability, data.multi_label, judged.report),
        "details": dict(fitted.details),
        "seconds": round(seconds + time.perf_counter() - begin, 3),
        "peak_memory_mb": round(peak_memory_mb()),
        "device": provenance.device(),
        "commit": provenance.commit(),
    }


def _robustness(
    config: DictConfig, setting: Setting, cell: Cell, fitted: Fitted, clean: Mapping[str, Any]
) -> dict[str, Any]:
    """What a cell says under stress, and the folder of its twin without, whose metrics are the same."""
    stress = stress_of(config, setting)
    if stress is None:
        return {}
    fit = build_protocol(config.protocol.method).fit
    twin = OmegaConf.create({key: value for key, value in plain(config).items() if key != "robustness"})
    found = withstand(stress, setting, cell, fitted, fit, clean, config.resamples)
    return {
        "robustness": {
            **found,
            "twin": cell_folder(twin, setting.checkpoint, setting.data, members_of(config, setting)).name,
        }
    }
