"""What pretraining on one data set is worth on another: over the share of either, and without a label of the second."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from ecg_lightning.reporting.comparison import LEAST_SEEDS, compare_methods, sentences
from ecg_lightning.reporting.curves import FULL, label_efficiency
from ecg_lightning.reporting.pretraining_share import draw_pretraining_shares
from ecg_lightning.reporting.robustness import without_twins
from ecg_lightning.reporting.sweep import circumstances, left_out
from ecg_lightning.reporting.tables import METRIC_NAMES, METRICS, flatten, markdown, method_name, print_table
from ecg_lightning.results import cells

Cells = Sequence[tuple[Path, Mapping[str, Any]]]
"""See `results.cells`."""

OF_ALL = "-of-all"
"""The end of a share's name, see `LabelBudget.name`."""


class Section(NamedTuple):
    """One table and its curve.

    Attributes:
        rows: `method`, `budget`, `seed` and the metrics; `budget` is the name of a share.
        metric: the one to show.
        title: above the table.
        notes: below it.
        axis: what the shares are of.
        name: of the curve's file; empty for none.
    """

    rows: pd.DataFrame
    metric: str
    title: str
    notes: Sequence[str]
    axis: str
    name: str


def summarise_transfer(
    folder: Path, encoder: str, zero_label: Mapping[str, Any] | None = None, remarks: Sequence[str] = ()
) -> Path:
    """Print what the cells of a folder say of an encoder, and write it beside them.

    Args:
        folder: of a data set's cells, of one encoder or of several.
        encoder: digest of the one to tell about. Where the others were pretrained on other shares of their data, a
            table and a curve over that share are made too.
        zero_label: content of `zero_label.json`, if there is one.
        remarks: what else is to be said below the table.

    Returns:
        The path of `transfer-ENCODER.md`, beside which the curves lie.
    """
    done = [
        (path, result)
        for path, result in without_twins(list(cells(folder)))
        if result["status"] == "done" and _is_share(result["budget"])
    ]
    own = [(path, result) for path, result in done if result["encoder"]["digest"] == encoder]
    sections = [_over_target(own, folder, remarks, encoder)]
    if zero_label is not None:
        sections.append(_without_labels(zero_label, folder.name))
    if len({_pretraining_share(result) for _, result in done}) > 1:
        sections.append(_over_source([result for _, result in done], folder.name))
        draw_pretraining_shares(done, folder, sections[0].metric)
    for section in sections:
        print_table(section.rows, section.metric, section.title, section.notes)
        _draw(section, folder)
    path = folder / f"transfer-{encoder[:8]}.md"
    path.write_text("\n".join(markdown(each.rows, each.metric, each.title, each.notes) for each in sections))
    print(f"{path}, curves and results beside it")
    return path


def _over_target(own: Cells, folder: Path, remarks: Sequence[str], encoder: str) -> Section:
    """What the encoder is worth for each share of the target's labels."""
    first, rows = own[0][1], flatten(own, folder)
    metric = "macro_auroc" if first["multi_label"] else "macro_f1"
    title = f"{_words(metric)} on {folder.name} by share of its labels; encoder pretrained on {_source(first)}"
    notes = [*circumstances([result for _, result in own], rows), *_leads(first)]
    notes += sentences(compare_methods(rows, folder, metric), metric)
    seeds = rows["seed"].nunique()
    if seeds < LEAST_SEEDS:
        notes.append(f"too few label seeds ({seeds}) to say which method is better: set protocol.seeds=5 or more")
    data = first["data"]["name"]
    return Section(rows, metric, title, [*notes, *remarks], f"% of the labels of {data}", f"transfer-{encoder[:8]}")


def _without_labels(result: Mapping[str, Any], where: str) -> Section:
    """The head that learned from the source alone, beside those that learned from the target, on the same classes."""
    source, target, known = result["learned_from"], result["data"]["name"], result["map"]
    rows = [{"method": f"head learned on {source['name']}", "budget": "0", "seed": 0, **_values(result["metrics"])}]
    for cell in result["beside"]:
        name = method_name({**cell, "encoder": result["encoder"]})
        rows.append({"method": name, "budget": cell["budget"], "seed": cell["seed"], **_values(cell["metrics"])})
    metric, count = "macro_auroc", len(known["meant"])
    value = result["metrics"][metric]
    interval = "" if value["low"] is None else f" [{value['low']:.3f}, {value['high']:.3f}] over test patients"
    said = "undefined" if value["value"] is None else f"{value['value']:.3f}{interval}"
    meant = "; ".join(f"{name} is {' or '.join(of)}" for name, of in known["meant"].items())
    notes = [
        f"no label of {target}, {source['labels']} of {source['name']}: {_words(metric)} {said}",
        f"map {known['name']}: {meant}",
        *(f"left out, {name}: {why}" for name, why in known["left_out"].items()),
        *left_out(result["metrics"]["undefined"]),
        f"source of the map: {' '.join(known['source'].split())}",
    ]
    title = f"{_words(metric)} on {where}, {count} classes that {known['name']} explains, each by itself"
    return Section(pd.DataFrame(rows), metric, title, notes, "", "")


def _over_source(done: Sequence[Mapping[str, Any]], where: str) -> Section:
    """What a larger share of the pretraining data is worth."""
    ours = [result for result in done if _is_pretrained(result)]
    first, target = ours[0], ours[0]["data"]["name"]
    rows = pd.DataFrame(
        {
            "method": f"{method_name(result)}, {result['budget']} labels of {target}",
            "budget": _pretraining_share(result),
            "seed": f"{result['encoder']['digest'][:6]}/{result['seed']}",
            **_values(result["metrics"]),
        }
        for result in ours
    )
    metric = "macro_auroc" if first["multi_label"] else "macro_f1"
    title = f"{_words(metric)} on {where} by the share of {_source(first, False)} that pretraining saw"
    return Section(rows, metric, title, [], "", "")


def _draw(section: Section, folder: Path) -> None:
    """The curve over whole percentages; others stand in the table alone."""
    if not section.name:
        return
    rows = section.rows.rename(columns={section.metric: "value"})[["method", "budget", "seed", "value"]].dropna()
    rows["budget"] = [100 * _share(budget) for budget in rows["budget"]]
    rows = rows[(rows["budget"].round(6) % 1 == 0) & (rows["budget"] >= 1)]
    if len(rows):
        rows["budget"] = rows["budget"].round().astype(int)
        label_efficiency(rows, folder / f"{section.name}.png", section.metric, section.title, axis=section.axis)


def _values(metrics: Mapping[str, Any]) -> dict[str, float | None]:
    return {name: metrics[name]["value"] for name in METRICS}


def _words(metric: str) -> str:
    return METRIC_NAMES.get(metric, metric.replace("_", " "))


def _is_share(budget: str) -> bool:
    return budget == FULL or budget.endswith(OF_ALL)


def _share(name: str) -> float:
    return 1.0 if name == FULL else float(name.removesuffix(OF_ALL))


def _pretraining_share(result: Mapping[str, Any]) -> str:
    share = result["encoder"].get("pretraining_share", 1.0)
    return FULL if share == 1 else f"{share:g}{OF_ALL}"


def _is_pretrained(result: Mapping[str, Any]) -> bool:
    """Whether the method knows the encoder's weights."""
    method = result["config"]["protocol"]["method"]
    return "pretrained" in (method.get("features"), method.get("init"))


def _source(result: Mapping[str, Any], with_share: bool = True) -> str:
    share, name = _pretraining_share(result), str(result["encoder"]["pretrained_on"])
    return f"{100 * _share(share):g} % of {name}" if with_share and share != FULL else name


def _leads(result: Mapping[str, Any]) -> list[str]:
    data = result["data"]
    return [f"rule for missing leads: {data['missing']}"] if data["substituted_leads"] else []
