"""The table of a sweep: methods against budgets, means over seeds with intervals."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from rich.console import Console
from rich.table import Table

from ecg_lightning.evaluation.intervals import seed_interval
from ecg_lightning.files import replacing

METRICS = ("accuracy", "balanced_accuracy", "macro_f1", "macro_auroc", "average_precision")

METRIC_NAMES = {"macro_f1": "macro F1", "macro_auroc": "macro AUROC"}
"""How tables and pictures write them, where an underscore is not just a space."""

TRAITS = ("collapsed", "protocol", "kind", "pretrained", "truth", "cell")

METHODS = {
    "linear": "linear probe",
    "knn": "nearest neighbours",
    "prototype": "class prototypes",
    "attentive": "attentive probe",
    "finetune": "fine-tuned",
}
"""How tables and curves call a protocol, after whose features or weights it begins with; others by their own name."""

OTHERS_FEATURES = {"random": "random encoder", "classical": "classical features"}
"""Whose features they are, at the end of a protocol's name, where they are not the pretrained encoder's."""

NAMES = {
    "scratch": "from scratch",
    "random_encoder": "random encoder, linear probe",
    "classical": "classical (extra trees)",
    "ensemble": "ensemble of {members} encoders",
    "welch": "Welch spectra (extra trees)",
}
"""Protocols that are called otherwise."""


VARIED = ("window_seconds", "source_fs", "missing")
"""Keys of the data's configuration in which the cells of one folder may differ."""


def method_name(result: Mapping[str, Any]) -> str:
    """A result's method, in words."""
    protocol = str(result["protocol"])
    if protocol in NAMES:
        return NAMES[protocol].format(members=len(result.get("details", {}).get("members", ())))
    method, _, features = protocol.rpartition("_")
    if features in OTHERS_FEATURES:
        whose = OTHERS_FEATURES[features]
    else:
        method, whose = protocol, result.get("encoder", {}).get("objective", "encoder")
    return f"{whose}, {METHODS.get(method, method.replace('_', '-'))}"


def flatten(cells: Iterable[tuple[Path, Mapping[str, Any]]], folder: Path) -> pd.DataFrame:
    """One row per finished cell: method, budget, seed and the metrics' values; what kind of method, and where it lies.

    Where a method was run in several ways, its name says what sets them apart.

    Args:
        cells: see `results.cells`.
        folder: in which they lie.
    """
    done = [(path, result) for path, result in cells if result["status"] == "done"]
    rows = [
        {
            "method": name,
            "budget": result["budget"],
            "seed": _seed(result),
            **{metric: result["metrics"][metric]["value"] for metric in METRICS},
            "collapsed": result["collapsed"],
            "protocol": result["protocol"],
            **_kind(result["config"]["protocol"]["method"]),
            "truth": result["truth"],
            "cell": str(path.relative_to(folder)),
        }
        for name, (path, result) in zip(_distinct_names([result for _, result in done]), done, strict=True)
    ]
    return pd.DataFrame(rows, columns=["method", "budget", "seed", *METRICS, *TRAITS])


def _kind(method: Mapping[str, Any]) -> dict[str, Any]:
    """What a method is apart from whose features or weights it begins with, and whether those are pretrained."""
    begins_with = method.get("features", method.get("init", "pretrained"))
    rest = {key: value for key, value in method.items() if key not in ("features", "init")}
    return {"kind": json.dumps(rest, sort_keys=True), "pretrained": begins_with == "pretrained"}


def _seed(result: Mapping[str, Any]) -> int | str:
    """The seed of the labels, with the model's where that is another one."""
    labels, model = result["seed"], result["model_seed"]
    return int(labels) if labels == model else f"{labels}/{model}"


def _distinct_names(results: Sequence[Mapping[str, Any]]) -> list[str]:
    names = [method_name(result) for result in results]
    ways: dict[str, list[dict[str, Any]]] = {}
    for name, result in zip(names, results, strict=True):
        ways.setdefault(name, []).append(_way(result))
    varied = {name: [key for key in of[0] if len({str(way.get(key)) for way in of}) > 1] for name, of in ways.items()}
    notes = [
        ", ".join(f"{key} {_way(result).get(key)}" for key in varied[name])
        for name, result in zip(names, results, strict=True)
    ]
    return [f"{name} ({note})" if note else name for name, note in zip(names, notes, strict=True)]


def _way(result: Mapping[str, Any]) -> dict[str, Any]:
    """What may differ among results of one method, budget and seed."""
    digests = {"encoder": result["encoder"]["digest"], "data": result["data"]["fingerprint"]}
    view = {f"data.{key}": result["config"].get("data", {}).get(key) for key in VARIED}
    method = {f"with {key}" if key in digests else key: value
              for key, value in result["config"]["protocol"]["method"].items()}  # fmt: skip
    scaled = {"calibration": "+".join(sorted(result["config"].get("calibration", []))) or "none"}
    return {**view, **method, **scaled, **{key: value[:6] for key, value in digests.items()}}


def summarise(rows: pd.DataFrame, metric: str) -> pd.DataFrame:
    """Mean over seeds with its 95 % t-interval, one row per method and budget, in order of the budgets."""
    summary = []
    for (method, budget), group in rows.dropna(subset=[metric]).groupby(["method", "budget"], sort=False):
        mean, low, high = seed_interval(group[metric].to_numpy())
        summary.append(
            {"method": method, "budget": budget, "seeds": len(group), "mean": mean, "low": low, "high": high}
        )
    table = pd.DataFrame(summary, columns=["method", "budget", "seeds", "mean", "low", "high"])
    return table.sort_values(["method", "budget"], key=lambda c: c.map(budget_order) if c.name == "budget" else c)


def budget_order(budget: str) -> float:
    """Numbers of labels by size, then numbers per class, then shares, then all labels."""
    if budget == "full":
        return float("inf")
    number, _, kind = budget.partition("-")
    return float(number) + 1e9 * ("", "per-class", "of-all").index(kind)


def entry(row: Mapping[Any, Any]) -> str:
    """`.713 [.690, .736]`."""
    if row["low"] is None or pd.isna(row["low"]):
        return f"{row['mean']:.3f}"
    return f"{row['mean']:.3f} [{row['low']:.3f}, {row['high']:.3f}]"


def grid(rows: pd.DataFrame, metric: str) -> tuple[list[str], list[list[str]]]:
    """Header and lines of the table of one metric: a line per method, a column per budget."""
    summary = summarise(rows, metric)
    budgets = sorted(summary["budget"].unique(), key=budget_order)
    at = {(row["method"], row["budget"]): entry(row) for row in summary.to_dict("records")}
    best = summary.groupby("method")["mean"].max().sort_values(ascending=False)
    lines = [[method, *(at.get((method, budget), "") for budget in budgets)] for method in best.index]
    return ["method", *map(labels_of, budgets)], lines


def labels_of(budget: str) -> str:
    """`25 labels`, `5-per-class`, `full`."""
    return f"{budget} labels" if budget.isdigit() else budget


def print_table(rows: pd.DataFrame, metric: str, title: str, notes: Sequence[str]) -> None:
    """One readable table on the terminal."""
    print_lines(*grid(rows, metric), title, notes)


def print_lines(header: Sequence[str], lines: Sequence[Sequence[str]], title: str, notes: Sequence[str]) -> None:
    """Any table on the terminal: a column of methods, others of numbers."""
    table = Table()
    for name in header:
        table.add_column(name, justify="left" if name == "method" else "right")
    for line in lines:
        table.add_row(*line)
    console = Console(highlight=False, markup=False)
    if not console.is_terminal:
        console.width = 200
    console.print(title, style="bold")
    console.print(table)
    for note in notes:
        console.print(note)


def markdown(rows: pd.DataFrame, metric: str, title: str, notes: Sequence[str]) -> str:
    """The same table for a README."""
    return markdown_lines(*grid(rows, metric), title, notes)


def markdown_lines(header: Sequence[str], lines: Sequence[Sequence[str]], title: str, notes: Sequence[str]) -> str:
    """Any table for a README."""
    rule = ["---", *["---:"] * (len(header) - 1)]
    body = "\n".join("| " + " | ".join(line) + " |" for line in [header, rule, *lines])
    return f"**{title}**\n\n{body}\n\n" + "\n".join(f"{note}  " for note in notes) + "\n"


def write_tables(rows: pd.DataFrame, metric: str, title: str, notes: Sequence[str], folder: Path) -> None:
    """`table.md` of one metric and `results.csv` of all."""
    with replacing(folder / "table.md") as partial:
        partial.write_text(markdown(rows, metric, title, notes))
    with replacing(folder / "results.csv") as partial:
        rows.to_csv(partial, index=False)
