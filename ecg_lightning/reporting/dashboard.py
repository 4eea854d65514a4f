"""The dashboard of a W&B project: a workspace and a report, built in code.

python -m ecg_lightning.reporting.dashboard entity=NAME                 saves both; each time as new ones
python -m ecg_lightning.reporting.dashboard entity=NAME out=FILE.json   writes what would be saved; needs no account
"""

from __future__ import annotations

import importlib.util
import json
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig

from ecg_lightning.cli import command_line, composed_command
from ecg_lightning.errors import UserError
from ecg_lightning.files import replacing

if TYPE_CHECKING:
    from wandb_workspaces.reports.v2 import Report
    from wandb_workspaces.workspaces import Workspace

log = logging.getLogger(__name__)

NAME = "ECG: pretraining and what it is worth"

STEP = "trainer/global_step"

CURVES = {
    "Training loss": ["train/loss"],
    "Validation loss": ["val/loss"],
    "Probe AUROC": ["val/probe_auroc", "val/knn_auroc"],
    "Directions in which features differ": ["val/effective_rank"],
}
"""Of a pretraining, over its steps."""

LEADING = ("test/macro_f1", "test/macro_auroc")
"""What evaluations are ranked by."""

COLUMNS = (
    *("run:displayName", "run:group", "tags:__ALL__", "summary:labels"),
    *(f"summary:{name}{end}" for name in LEADING for end in ("", "_low", "_high")),
    "summary:cost/seconds",
)
"""Of the leaderboard."""


def build(config: DictConfig) -> int:
    """Write the dashboard, or save it in W&B.

    Args:
        config: as `conf/dashboard.yaml` composes it.

    Returns:
        How many parts it has.

    Raises:
        UserError: the package is missing, or W&B cannot be reached or does not know the account.
    """
    for key in ("entity", "project"):
        if not isinstance(config[key], str):
            raise UserError(f"{key}={config[key]!r} must be text")
    if importlib.util.find_spec("wandb_workspaces") is None:
        raise UserError("the dashboard needs the package wandb-workspaces: pip install 'ecg_lightning[dashboard]'")
    parts = (workspace(config.entity, config.project), report(config.entity, config.project))
    if config.out is not None:
        _write(Path(config.out), *parts)
    else:
        _save(*parts)
    return len(parts)


def workspace(entity: str, project: str) -> Workspace:
    """The project's runs, sweep by sweep: how they learn, and what their evaluations say.

    Args:
        entity: whose project it is.
        project: its name.
    """
    from wandb_workspaces import workspaces as ws

    sections = [
        ws.Section(name=name, panels=panels, is_open=number < 2, pinned=number == 0)
        for number, (name, panels) in enumerate(_panels().items())
    ]
    settings = ws.RunsetSettings(groupby=[ws.Metric("Group")], pinned_columns=list(COLUMNS))
    return ws.Workspace(entity=entity, project=project, name=NAME, sections=sections, runset_settings=settings)


def report(entity: str, project: str) -> Report:
    """The same panels to be read from above, behind the leaderboard of evaluations.

    Args:
        entity: whose project it is.
        project: its name.
    """
    from wandb_workspaces.reports import v2 as wr

    def runs(job_type: str, *, ranked: bool = False) -> Any:
        first = {"order": [wr.OrderBy(wr.SummaryMetric(LEADING[0]), ascending=False)]} if ranked else {}
        return wr.Runset(  # without entity and project: those of the report
            name=job_type, filters=f"JobType = '{job_type}'", groupby=["group"], pinned_columns=list(COLUMNS), **first
        )

    panels = _panels()
    blocks: list[Any] = [wr.TableOfContents()]
    for name, of_section in panels.items():
        kind = "pretrain" if name == "Pretraining" else "evaluate"
        grid = wr.PanelGrid(runsets=[runs(kind, ranked=name == "Leaderboard")], panels=of_section)
        blocks += [wr.H2(name), grid]
    about = "Which pretraining is worth it with few labels: losses, probes, label efficiency, robustness, cost."
    return wr.Report(entity=entity, project=project, title=NAME, description=about, blocks=blocks, width="fluid")


def _panels() -> dict[str, list[Any]]:
    """The panels of each section, the names of what runs log in them; see `tracking`."""
    from wandb_workspaces.reports import v2 as wr

    f1, auroc = (wr.SummaryMetric(name) for name in LEADING)
    labels, seconds = wr.SummaryMetric("labels"), wr.SummaryMetric("cost/seconds")
    return {
        "Leaderboard": [
            wr.BarPlot(title="Macro F1 by sweep", metrics=[f1], groupby="Group", groupby_aggfunc="mean"),
            wr.BarPlot(title="Macro AUROC by sweep", metrics=[auroc], groupby="Group", groupby_aggfunc="mean"),
            wr.WeavePanelSummaryTable(table_name="methods", layout=wr.Layout(w=24, h=10)),
        ],
        "Pretraining": [
            *(wr.LinePlot(title=title, x=STEP, y=list(y)) for title, y in CURVES.items()),
            wr.MediaBrowser(title="Reconstructions", media_keys=["reconstruction"]),
        ],
        "Label efficiency": [
            wr.ScatterPlot(title="Macro F1 over labels", x=labels, y=f1, log_x=True),
            wr.ScatterPlot(title="Macro AUROC over labels", x=labels, y=auroc, log_x=True),
            wr.MediaBrowser(title="Curves of grids and sweeps", media_keys=["label_efficiency"]),
        ],
        "Robustness": [
            wr.LinePlot(title="Macro F1 under stress", x="robustness/level", y=["robustness/macro_f1"]),
            wr.LinePlot(title="Macro AUROC under stress", x="robustness/level", y=["robustness/macro_auroc"]),
        ],
        "Features": [
            wr.MediaBrowser(title="Embedding maps", media_keys=["pictures/embedding"]),
            wr.MediaBrowser(title="Confusions", media_keys=["pictures/confusion"]),
        ],
        "Cost": [
            wr.ScatterPlot(title="Macro F1 over seconds", x=seconds, y=f1, log_x=True),
            wr.BarPlot(title="Peak memory in MB", metrics=[wr.SummaryMetric("cost/peak_memory_mb")]),
        ],
    }


def _write(path: Path, page: Workspace, told: Report) -> None:
    """What W&B would be sent, as one JSON file."""
    models = {"workspace": page._to_model(), "report": told._to_model()}
    content = {name: model.model_dump(mode="json", by_alias=True, exclude_none=True) for name, model in models.items()}
    with replacing(path) as partial:
        partial.write_text(json.dumps(content, indent=1) + "\n")
    log.info(f"workspace and report in {path}")


def _save(page: Workspace, told: Report) -> None:
    import wandb

    try:
        wandb.login()
        for part in (page, told):
            part.save()
            print(part.url)
    except Exception as error:  # wandb-workspaces raises plain ones too
        reason = " ".join(str(error).split())
        raise UserError(f"W&B did not take the dashboard ({reason}); try `wandb login`, or write it with "
                        "out=dashboard.json") from error  # fmt: skip


def main() -> None:
    """The command line."""
    composed_command("dashboard", lambda config: bool(build(config)))


if __name__ == "__main__":
    command_line(main)
