"""What a sweep leaves behind: one table, one label-efficiency curve, the failed cells by name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from ecg_lightning.data.identity import ANYONE
from ecg_lightning.files import replacing
from ecg_lightning.reporting.comparison import compare_methods, sentences
from ecg_lightning.reporting.curves import label_efficiency
from ecg_lightning.reporting.pretraining_share import draw_pretraining_shares
from ecg_lightning.reporting.robustness import summarise_stresses, without_twins
from ecg_lightning.reporting.tables import METRIC_NAMES, budget_order, flatten, labels_of, print_table, write_tables
from ecg_lightning.results import cells


def summarise_sweep(folder: Path, metric: str | None = None) -> Path | None:
    """Print the table of all cells in a folder and write it, with the curve, beside them.

    Args:
        folder: the cells of one checkpoint on one data set.
        metric: the one to show; None for the usual one, macro AUROC where examples carry several labels, else macro F1.
            `results.csv` holds all.

    Returns:
        The curve's path; None where no cell is finished.
    """
    found = list(cells(folder))
    done = [result for _, result in found if result["status"] == "done"]
    failed = [result for _, result in found if result["status"] == "failed"]
    for result in failed:
        print(f"failed: {result['protocol']} with {result['budget']} labels, seed {result['seed']}: {result['error']}")
    if not done:
        return None
    metric = metric or ("macro_auroc" if done[0]["multi_label"] else "macro_f1")
    once = without_twins([(path, result) for path, result in found if result["status"] == "done"])
    rows = flatten(once, folder)
    compared = compare_methods(rows, folder, metric)
    title = f"{METRIC_NAMES.get(metric, metric.replace('_', ' '))} on {folder.name}"
    notes = [*circumstances(done, rows), *sentences(compared, metric)]
    print_table(rows, metric, title, notes)
    write_tables(rows, metric, title, notes, folder)
    with replacing(folder / "comparisons.csv") as partial:
        compared.to_csv(partial, index=False)
    summarise_stresses(found, folder, metric)
    draw_pretraining_shares(once, folder, metric)
    curve = rows[["method", "budget", "seed", metric]].rename(columns={metric: "value"}).dropna()
    curve = curve[[budget.isdigit() or budget == "full" for budget in curve["budget"]]]
    if curve.empty:
        return None
    curve["budget"] = [int(budget) if budget.isdigit() else budget for budget in curve["budget"]]
    curve = curve.sort_values("budget", key=lambda column: column.astype(str).map(budget_order))
    path = label_efficiency(curve, folder / "label_efficiency.png", metric, title)
    print(f"table, curve and all figures in {folder}")
    return path


def circumstances(done: Sequence[Mapping[str, Any]], rows: pd.DataFrame) -> list[str]:
    """What holds of all results of a folder, in words, for below their table.

    Args:
        done: finished results.
        rows: their table, see `flatten`.
    """
    first = done[0]
    seeds = rows.groupby(["method", "budget"])["seed"].nunique()
    count = f"{seeds.min()}" if seeds.min() == seeds.max() else f"{seeds.min()} to {seeds.max()}"
    data = first["data"]
    people = "people unknown" if first["split"] == "unknown" else f"{data['test_patients']} patients"
    notes = [
        f"{first['split']}; {data['test_examples']} test examples of {people}; "
        f"mean over {count} label seeds with 95 % t-interval",
        f"encoder pretrained on {_pretraining(first['encoder'])}; commit {first['commit']}",
    ]
    labels = first["encoder"].get("pretraining_labels", 0)
    if labels:
        notes.append(f"pretraining learned from {labels} labels: a budget counts those of the evaluation alone")
    held = max(result.get("calibration", {}).get("labels_used", 0) for result in done)
    if held:
        notes.append(f"calibrated on {held} validation labels beyond the budget, which the metrics shown do not use")
    if not first["encoder"]["learned"]:
        notes.append("the pretraining run had learned nothing")
    if data["substituted_leads"]:
        pairs = ", ".join(f"{pair} ({count})" for pair, count in data["substituted_leads"].items())
        notes.append(f"leads that stand in for missing ones (recordings): {pairs}")
    notes += [*left_out(first["metrics"].get("undefined", [])), *_collapses(rows)]
    return [*notes, *_leakage_notes(first["leakage"], first["split"], "with" if labels else "without")]


def left_out(undefined: Sequence[str]) -> Iterator[str]:
    """The classes that the means of all classes leave out, in words.

    Args:
        undefined: keys of the metrics that are undefined, see `evaluation.metrics.judge`.
    """
    of = {key: [name.removeprefix(f"{key}/") for name in undefined if name.startswith(f"{key}/")]
          for key in ("average_precision", "auroc")}  # fmt: skip
    missing, ubiquitous = of["average_precision"], [name for name in of["auroc"] if name not in of["average_precision"]]
    for means, names, kind in (
        ("macro means leave", missing, "positive"),
        ("macro AUROC leaves", ubiquitous, "negative"),
    ):
        if names:
            classes = "1 class" if len(names) == 1 else f"{len(names)} classes"
            yield f"{means} out {classes} without a {kind} test example: {', '.join(names)}"


def _collapses(rows: pd.DataFrame) -> Iterator[str]:
    """How often each method gave up, see `evaluation.collapse`."""
    groups = rows.groupby(["method", "budget"], sort=False)["collapsed"]
    told = [f"{method} {cells.sum()} of {len(cells)} at {labels_of(str(budget))}"
            for (method, budget), cells in groups if cells.any()]  # fmt: skip
    yield f"collapsed to one class or below chance: {'; '.join(told) or f'none of {len(rows)} cells'}"


def _pretraining(encoder: Mapping[str, Any]) -> str:
    folds = ", ".join(map(str, encoder.get("pretraining_folds", [])))
    return f"{encoder['pretrained_on']} (folds {folds})" if folds else str(encoder["pretrained_on"])


def _leakage_notes(leakage: Mapping[str, Any], split: str, known: str) -> Iterator[str]:
    """What the test split has in common with what was learned from, `with` or `without` labels."""
    if leakage["pretraining_patients"]:
        yield f"pretraining saw {leakage['pretraining_patients']} of the test patients, {known} labels"
    unclear = leakage["pretraining_populations_unclear"]
    if ANYONE in unclear:
        yield "nobody has said whose recordings the encoder was trained on: perhaps test patients', with their labels"
    if named := [population for population in unclear if population != ANYONE]:
        yield (f"pretraining may have seen test patients of {', '.join(named)}, {known} labels: they go by other names "
               "there")  # fmt: skip
    if leakage["training_patients"] and split != "intra-patient":
        yield f"{leakage['training_patients']} of the test patients are in the training split too"
    for key, where in (("pretraining_copies", "pretraining"), ("training_copies", "the training split")):
        if leakage[key]:
            yield f"{leakage[key]} of the test recordings are exact copies of recordings in {where}"
