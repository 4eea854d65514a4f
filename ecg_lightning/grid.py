"""`protocol=all`: a whole grid of cells, every method that learns from frozen features, solved together."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from omegaconf import DictConfig, OmegaConf
from tqdm import tqdm

from ecg_lightning.assessment import Solved, answer, finished
from ecg_lightning.build import build_protocol, plain
from ecg_lightning.data.budget import LabelBudget
from ecg_lightning.evaluation.frozen import FrozenMethod
from ecg_lightning.evaluation.setting import Setting
from ecg_lightning.precheck import check_evaluation, check_grid
from ecg_lightning.question import cell_folder, open_cell, open_setting, without_run_keys


def assess_grid(config: DictConfig) -> list[Path]:
    """Evaluate every cell of a grid that is not done yet.

    Each is the very cell that its protocol, budget and seed make by themselves, in the same folder.

    Args:
        config: as `conf/evaluate.yaml` composes it with `protocol=all`.

    Returns:
        The folders of the cells.

    Raises:
        UserError: checkpoint, data or budgets do not fit together.
    """
    check_grid(config)
    config = without_run_keys(config)
    cells = list(_cells(config))
    for cell in cells:
        check_evaluation(cell)
    return assess_cells(cells, open_setting(config))


def assess_cells(cells: Sequence[DictConfig], setting: Setting) -> list[Path]:
    """Evaluate some cells of one setting that are not done yet, those on the same frozen features together.

    Args:
        cells: their configurations; see `cell_config`.
        setting: from `open_setting`.

    Returns:
        The folders of the cells.
    """
    folders = [cell_folder(cell, setting.checkpoint, setting.data) for cell in cells]
    pending = {folder: cell for folder, cell in zip(folders, cells, strict=True) if finished(folder) is None}
    solved = _solve(pending, setting)
    with tqdm(total=len(cells), desc="scoring", unit=" cells", disable=None) as bar:
        for cell in cells:
            answer(cell, setting, solved)
            bar.update()
    return folders


def _cells(config: DictConfig) -> Iterator[DictConfig]:
    """The configuration of every cell; what others are compared with comes first."""
    grid = config.protocol
    for kind in reversed(grid.features):
        for method in grid.methods:
            protocol = _protocol(config, method, kind)
            for budget in grid.budgets:
                for seed in range(grid.seeds):
                    yield cell_config(config, protocol, str(budget), seed)


def _protocol(config: DictConfig, name: str, features: str) -> DictConfig:
    """A method on some features, under the name that `conf/protocol/` has for the pair, if any."""
    method = {**plain(config.beside[name].method), "features": features}
    for other, known in config.beside.items():
        if plain(known.method) == method:
            return OmegaConf.create({"name": str(other), "beside": [], "method": method})
    return OmegaConf.create({"name": f"{name}_{features}", "beside": [], "method": method})


def cell_config(config: DictConfig, protocol: DictConfig, budget: str, seed: int) -> DictConfig:
    """The configuration of one cell of a grid.

    Args:
        config: of the grid.
        protocol: of the cell.
        budget: its name, see `LabelBudget.of_name`.
        seed: of the labels and of the model.
    """
    given = LabelBudget.of_name(budget)
    size = {key: value for key, value in vars(given).items() if value is not None}
    cell = config.copy()
    cell.protocol, cell.seed, cell.model_seed = protocol, seed, seed
    cell.budget = {"_target_": f"{LabelBudget.__module__}.{LabelBudget.__name__}", **size}
    return cell


def _solve(pending: dict[Path, DictConfig], setting: Setting) -> dict[Path, Solved]:
    """Learn from the labels of the cells on frozen features, those of one method together; others learn one by one."""
    by_method: dict[str, dict[Path, DictConfig]] = {}
    for folder, config in pending.items():
        by_method.setdefault(json.dumps(plain(config.protocol.method)), {})[folder] = config
    solved: dict[Path, Solved] = {}
    for alike in by_method.values():
        config = next(iter(alike.values()))
        method = build_protocol(config.protocol.method)
        if not isinstance(method, FrozenMethod):
            continue
        begin = time.perf_counter()
        cells = [open_cell(each, setting) for each in alike.values()]
        fits = method.fit_all(cells)
        seconds = (time.perf_counter() - begin) / len(cells)
        solved |= {folder: Solved(cell, fit, seconds) for folder, cell, fit in zip(alike, cells, fits, strict=True)}
    return solved
