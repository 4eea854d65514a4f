"""An evaluation as a run of W&B: one for a cell, one for a grid, one for the tables of a sweep."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from omegaconf import DictConfig, OmegaConf

from ecg_lightning.account import about_encoder
from ecg_lightning.build import build_budget, build_loggers, plain
from ecg_lightning.encoders.checkpoint import read_checkpoint
from ecg_lightning.precheck import check_evaluation, check_followed, check_grid, check_prediction, check_transfer
from ecg_lightning.question import cell_folder, members_of, open_setting, results_folder, without_run_keys
from ecg_lightning.results import FILENAME
from ecg_lightning.tracking.findings import define_figures, tell_cell, tell_table
from ecg_lightning.tracking.lineage import use_encoder
from ecg_lightning.tracking.naming import RunIdentity, of_evaluation
from ecg_lightning.tracking.wandb_run import finishing, runs

TOLD = "wandb_told"
"""File beside a result that W&B was told of, and as old as the last time that it was."""

NOT_TOLD = ("beside", "logger")
"""Keys of the configuration that say nothing about an evaluation."""

CHECKS = {"predict": check_prediction, "all": check_grid, "transfer": check_transfer}


class Subject(NamedTuple):
    """What a run tells of.

    Attributes:
        folder: in which its id is kept, that of a cell beside its result.
        asked: what its name says beside encoder, protocol and data.
        tell: what it has to say, to a run of W&B.
    """

    folder: Path
    asked: tuple[str, ...]
    tell: Callable[[Any], None]

    @property
    def is_told(self) -> bool:
        """Whether its finished result was told before."""
        result, told = self.folder / FILENAME, self.folder / TOLD
        return result.exists() and told.exists() and told.stat().st_mtime >= result.stat().st_mtime


def followed(config: DictConfig, answer: Callable[[], object]) -> object:
    """Evaluate, and let W&B follow where `logger=wandb` asks for it.

    A cell that was finished and told of before begins no run.

    Args:
        config: as `conf/evaluate.yaml` composes it.
        answer: evaluates.

    Returns:
        What `answer` gives.

    Raises:
        UserError: W&B cannot follow, or the evaluation cannot be done.
    """
    if config.get("logger") is None:
        return answer()
    check_followed(config)
    CHECKS.get(config.protocol.name, check_evaluation)(config)
    subject = _subject(config)
    begin = partial(_begin, config, subject)
    with finishing():
        run = None if subject.is_told else begin()
        made = answer()
        if not subject.is_told:
            run = run or begin()
            subject.tell(run)
            (subject.folder / TOLD).touch()
    return made


def follow_sweep(config: DictConfig, folders: Iterable[Path]) -> None:
    """Tell W&B of the table and the curve of each folder of a sweep's cells.

    Args:
        config: of the sweep; what its jobs differ in is none of it.
        folders: of the cells of one checkpoint on one data set each.
    """
    sweep = Path(config.hydra.sweep.dir)
    told = {"sweep": list(config.hydra.overrides.task)}
    for folder in folders:
        identity = RunIdentity(f"table-{folder.name}", "evaluate", ("table",), sweep.name)
        with finishing():
            for run in runs(_wandb(config, sweep / "tables" / folder.name, told, identity)):
                tell_table(run, folder)


def _subject(config: DictConfig) -> Subject:
    if config.protocol.name in CHECKS:
        folder = results_folder(config)
        return Subject(folder / f"wandb-{config.protocol.name}", (), partial(tell_table, folder=folder))
    asked = (build_budget(config.budget).name, f"s{config.seed}")
    plainly = without_run_keys(config)
    setting = open_setting(plainly)
    folder = cell_folder(plainly, setting.checkpoint, setting.data, members_of(plainly, setting))
    return Subject(folder, asked, partial(tell_cell, folder=folder))


def _begin(config: DictConfig, subject: Subject) -> Any:
    """A run that says what is asked, and of which encoder."""
    checkpoint = read_checkpoint(config.checkpoint)
    asked = {key: value for key, value in plain(config).items() if key not in NOT_TOLD}
    identity = of_evaluation(config, checkpoint.training, subject.asked)
    told = {**asked, "encoder": about_encoder(checkpoint)}
    (run,) = runs(_wandb(config, subject.folder, told, identity))
    define_figures(run)
    use_encoder(run, Path(config.checkpoint), checkpoint)
    return run


def _wandb(config: DictConfig, folder: Path, told: dict[str, Any], identity: RunIdentity) -> list[Any]:
    """The one logger that follows evaluations."""
    folder.mkdir(parents=True, exist_ok=True)
    return build_loggers(OmegaConf.create({"wandb": config.logger.wandb}), folder, told, identity)
