"""`protocol=transfer`: an encoder pretrained on a data set A, evaluated on a data set B over shares of B's labels."""

from __future__ import annotations

import logging
from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from ecg_lightning.build import build_budget, plain
from ecg_lightning.encoders.checkpoint import read_checkpoint
from ecg_lightning.errors import UserError
from ecg_lightning.evaluation.setting import Setting
from ecg_lightning.grid import assess_cells, cell_config
from ecg_lightning.precheck import check_evaluation, check_transfer
from ecg_lightning.question import open_setting, results_folder, without_run_keys
from ecg_lightning.reporting.transfer import summarise_transfer
from ecg_lightning.zero_label import assess_zero_label, correspond, find_teacher

log = logging.getLogger(__name__)


def assess_transfer(config: DictConfig) -> list[Path]:
    """Evaluate every cell of the grid that is not done yet, and tell what pretraining is worth on the data set.

    Each is the very cell that its protocol, budget and seed make by themselves, in the same folder. With
    `protocol.map`, a head that learned from the labels of pretraining's data set, or of `data@learn_from=NAME`, is
    judged too, on the classes that the map explains; so are the cells, once more.

    Args:
        config: as `conf/evaluate.yaml` composes it with `protocol=transfer`.

    Returns:
        The folders of the cells.

    Raises:
        UserError: checkpoint, data, budgets and map do not fit together.
    """
    check_transfer(config)
    config = _with_missing(without_run_keys(config))
    cells = _cells(config)
    for cell in cells:
        check_evaluation(cell)
    teacher = None if config.protocol.map is None else find_teacher(config, read_checkpoint(config.checkpoint))
    setting = open_setting(config)
    correspondence = None if teacher is None else correspond(config, teacher, setting)
    cells, undrawn = _drawable(cells, setting)
    folders = assess_cells(cells, setting)
    zero_label = None
    if teacher is not None and correspondence is not None:
        zero_label = assess_zero_label(config, teacher, setting, correspondence, folders)
    summarise_transfer(results_folder(config), setting.checkpoint.digest, zero_label, undrawn)
    return folders


def _with_missing(config: DictConfig) -> DictConfig:
    """With the rule for missing leads among the data's keys, which name a cell and stand in its result."""
    if config.protocol.missing is not None:
        config.data = OmegaConf.create({**plain(config.data), "missing": config.protocol.missing})
    return config


def _cells(config: DictConfig) -> list[DictConfig]:
    """The configuration of every cell."""
    methods = ({**plain(config.beside[name]), "beside": []} for name in config.protocol.methods)
    return [
        cell_config(config, OmegaConf.create(method), str(budget), seed)
        for method in methods
        for budget in config.protocol.budgets
        for seed in range(config.protocol.seeds)
    ]


def _drawable(cells: list[DictConfig], setting: Setting) -> tuple[list[DictConfig], list[str]]:
    """The cells whose labels the data can serve, and what is to be said of the others.

    Raises:
        UserError: there are none.
    """
    kept: list[DictConfig] = []
    reasons: dict[str, list[int]] = {}
    for cell in cells:
        try:
            setting.draw(build_budget(cell.budget), cell.seed)
            kept.append(cell)
        except UserError as error:
            reasons.setdefault(str(error), []).append(cell.seed)
    if not kept:
        raise UserError(f"protocol.budgets: none can be drawn: {'; '.join(reasons)}")
    told = [f"not drawn, label seeds {', '.join(map(str, sorted(set(of))))}: {why}" for why, of in reasons.items()]
    for sentence in told:
        log.warning(sentence)
    return kept, told
