"""The report: its figures against the files', its verdicts against the paired comparison, and what cannot be read."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from conftest import NO_LEAKAGE, PROJECT
from scipy import stats

from ecg_lightning.errors import UserError
from ecg_lightning.evaluation.metrics import MACRO
from ecg_lightning.reporting.comparison import compare_methods
from ecg_lightning.reporting.report import write
from ecg_lightning.reporting.report.collect import collect
from ecg_lightning.reporting.report.leaderboard import BASELINE, FEW, NONE
from ecg_lightning.reporting.report.papers import escape_latex
from ecg_lightning.reporting.report.svg import nice_levels
from ecg_lightning.reporting.report.write import PAGE, make_report, write_report
from ecg_lightning.reporting.tables import flatten
from ecg_lightning.results import FILENAME, PREDICTIONS, Predictions, cells, write_predictions, write_result

METHODS = {
    "linear": {"_target_": "LinearProbe", "features": "pretrained"},
    "random_encoder": {"_target_": "LinearProbe", "features": "random"},
    "scratch": {"_target_": "FineTune", "init": "random"},
}
NASTY = "<script>alert('1')</script> & \"x\" 50 % $y_1$ \\end{table} #~^ | [z]"


def metric(value: float | None) -> dict[str, float | None]:
    return {"value": value, "low": None, "high": None}


def content(protocol: str, value: float | None, budget: str, seed: int, **more: Any) -> dict[str, Any]:
    """A whole result, all its metrics the same but for macro AUROC, which is higher by a tenth."""
    values = {name: metric(value) for name in MACRO}
    values["macro_auroc"] = metric(None if value is None else value + 0.1)
    return {
        "status": "done", "protocol": protocol, "budget": budget, "seed": seed, "model_seed": seed,
        "classes": ["N", "V"], "multi_label": False,
        "config": {"protocol": {"name": protocol, "method": METHODS[protocol]}, "seed": seed, "resamples": 200},
        "encoder": {"digest": "e" * 16, "objective": "MAE", "pretrained_on": "ptbxl", "learned": True, "commit": "c0"},
        "split": "inter-patient", "leakage": NO_LEAKAGE, "truth": "t" * 16, "metrics": values, "collapsed": False,
        "data": {"name": "mitbih", "fingerprint": "f" * 16, "test_examples": 9, "test_patients": 3,
                 "substituted_leads": {}},
        "calibration": {"labels_used": 0, "none": {name: metric(0.1 + seed / 100) for name in ("ece", "brier", "nll")}},
        "details": {}, "seconds": 1.0 + seed, "peak_memory_mb": 100 + seed, "device": "a CPU", "commit": "abc",
        "baselines": {}, **more,
    }  # fmt: skip


def write_cells(folder: Path, protocol: str, values: Any, budget: str = "10", **more: Any) -> None:
    """A cell for each label seed, its metrics scattered over resamples as all others' are."""
    scatter = np.random.default_rng(0).normal(scale=0.02, size=200)
    for seed, value in enumerate(values):
        cell = folder / f"{protocol}-{budget}-s{seed}"
        resampled = dict.fromkeys(MACRO, scatter + (np.nan if value is None else value))
        write_predictions(cell, Predictions(np.zeros((3, 2)), resampled))
        write_result(cell, content(protocol, value, budget, seed, **more))


NOISE = np.array([0.010, -0.020, 0.025, 0.005, -0.010, 0.0])


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """Two data sets; scratch is beaten at 10 labels, shares too few seeds at 25, and is missing at 50."""
    first, second = tmp_path / "runs/mae/evaluations/beats", tmp_path / "runs/mae/evaluations/windows"
    write_cells(first, "linear", 0.60 + NOISE)
    write_cells(first, "random_encoder", 0.50 - NOISE)
    write_cells(first, "scratch", 0.40 + 2 * NOISE)
    write_cells(first, "linear", [0.7, 0.71, None], "25")
    write_cells(first, "scratch", [0.6, 0.61, 0.62], "25")
    write_cells(first, "linear", [0.8], "50")
    write_cells(second, "linear", 0.3 + NOISE, truth="u" * 16)
    return tmp_path / "runs"


class Tables(HTMLParser):
    """The rows of all tables below a section, and what each cell shows in one metric."""

    def __init__(self, section: str, metric: str) -> None:
        super().__init__()
        self.section, self.metric = section, metric
        self.inside, self.other, self.rows, self.depth = False, 0, [], 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag == "section":
            self.inside = given.get("id") == self.section
        if tag == "tr" and self.inside and "data-board" in given:
            self.rows.append([])
        if tag in ("td", "th") and self.inside and self.rows:
            self.rows[-1].append("")
        if tag == "span":
            hidden = "m" in (given.get("class") or "").split() and f"m-{self.metric}" not in str(given["class"]).split()
            self.other += bool(hidden or self.other)

    def handle_endtag(self, tag: str) -> None:
        if tag == "span" and self.other:
            self.other -= 1

    def handle_data(self, data: str) -> None:
        if self.inside and self.rows and self.rows[-1] and not self.other:
            self.rows[-1][-1] += data.strip() + " "


def shown(page: str, section: str, metric: str = "macro_f1") -> list[list[str]]:
    parser = Tables(section, metric)
    parser.feed(page)
    return [[cell.strip() for cell in row] for row in parser.rows]


@pytest.mark.parametrize("metric", ["macro_f1", "macro_auroc"])
def test_the_figures_on_the_page_are_those_of_the_files(runs, tmp_path, metric):
    page = write_report([runs], tmp_path / "out")[0].read_text()
    read = pd.DataFrame([
        {"data": path.parent.parent.name, "protocol": result["protocol"], "budget": result["budget"],
         "value": result["metrics"][metric]["value"]}
        for path in runs.rglob(FILENAME) for result in [json.loads(path.read_text())]
    ]).dropna()  # fmt: skip
    words = {"linear": "MAE, linear probe", "random_encoder": "random encoder, linear probe", "scratch": "from scratch"}
    expected = {}
    for (data, protocol, budget), group in read.groupby(["data", "protocol", "budget"]):
        values = group["value"].to_numpy()
        sure = "one seed"
        if len(values) > 1:
            low, high = stats.t.interval(0.95, len(values) - 1, values.mean(), stats.sem(values))
            sure = f"[{low:.3f}, {high:.3f}]"
        few = "" if len(values) >= 5 else " †"
        expected[data, words[protocol], f"{budget} labels"] = (f"{values.mean():.3f}", sure, f"{len(values)}{few}")
    rows = shown(page, "leaderboard", metric)
    found = {(row[0], next(word for word in words.values() if row[1].startswith(word)), row[2]): tuple(row[3:6])
             for row in rows}  # fmt: skip
    assert found == expected and len(rows) == len(expected)


def test_the_verdict_is_that_of_the_paired_comparison(runs, tmp_path):
    folder = runs / "mae/evaluations/beats"
    rows = flatten(cells(folder), folder)
    against_scratch = rows[rows["protocol"].isin(["linear", "scratch"])]
    [known] = compare_methods(against_scratch, folder, "macro_f1").to_dict("records")
    report = make_report([runs])
    told = {(line.board.name, line.method, line.budget): line.verdicts["macro_f1"] for line in report.every_line}
    ours = told["beats", "MAE, linear probe", "10"]
    assert known["verdict"] == ours.word == "beats" and ours.rival == "from scratch"
    assert (ours.difference, ours.low, ours.high) == (known["difference"], known["low"], known["high"])
    assert told["beats", "MAE, linear probe", "25"].word == FEW
    assert told["beats", "MAE, linear probe", "50"].word == told["windows", "MAE, linear probe", "10"].word == NONE
    assert (
        told["beats", "random encoder, linear probe", "10"].word == told["beats", "from scratch", "10"].word == BASELINE
    )
    row = next(row for row in shown(write.page(report), "leaderboard") if row[0] == "beats" and "MAE" in row[1])
    assert row[-1].startswith("▲ beats") and f"{ours.difference:+.3f} [{ours.low:+.3f}, {ours.high:+.3f}]" in row[-1]


@pytest.mark.parametrize("apart", [{"truth": "other"}, {"split": "intra-patient"},
                                   {"encoder": {"digest": "o", "objective": "MAE", "pretrained_on": "x",
                                                "learned": True, "commit": "c"}}])  # fmt: skip
def test_what_is_not_comparable_is_not_compared(tmp_path, apart):
    write_cells(tmp_path / "beats", "linear", 0.6 + NOISE)
    write_cells(tmp_path / "beats", "scratch", 0.3 + NOISE, **apart)
    assert {line.verdicts["macro_f1"].word for line in make_report([tmp_path]).every_line} == {NONE, BASELINE}


def test_other_samples_of_the_same_patients_are_not_compared_either(tmp_path):
    write_cells(tmp_path / "beats", "linear", 0.6 + NOISE)
    other = {**content("scratch", 0.1, "10", 0)["data"], "fingerprint": "g" * 16}
    write_cells(tmp_path / "beats", "scratch", 0.3 + NOISE, data=other)
    report = make_report([tmp_path])
    assert len(report.boards) == 1
    assert {line.verdicts["macro_f1"].word for line in report.every_line} == {NONE, BASELINE}


def test_broken_files_failed_cells_and_jobs_are_listed_and_stop_nothing(runs, tmp_path):
    broken = {"half": '{"schema": ', "list": "[]", "old": '{"schema": "ecg_lightning.result/1"}', "deep": "[" * 100_000}
    whole = content("linear", 0.5, "10", 0)
    less = {key: value for key, value in whole.items() if key != "truth"}
    twisted = {**whole, "metrics": {**whole["metrics"], "macro_f1": metric(float("inf"))}}
    schema = {"schema": "ecg_lightning.result/2"}
    broken |= {"less": json.dumps({**schema, **less}), "inf": json.dumps({**schema, **twisted})}
    broken |= {"strange": json.dumps({**schema, **whole, "config": "none"})}
    for name, text in broken.items():
        (runs / "broken" / name).mkdir(parents=True)
        (runs / "broken" / name / FILENAME).write_text(text)
    write_result(runs / "failed", {"status": "failed", "error": "UserError: only 7 labels are there"})
    (runs / "mae/evaluations/beats/linear-10-s0" / PREDICTIONS).write_bytes(b"PK nothing")
    job = {
        "words": ["objective=mae"],
        "command": "train",
        "began": 1.0,
        "ended": None,
        "noted": 1.0,
        "devices": None,
        "host": socket.gethostname(),
        "process": 2**22 + 1,
    }
    for number, more in enumerate([{"status": "failed", "error": "no GPU left"}, {"status": "running"},
                                   {"status": "done"}]):  # fmt: skip
        (runs / f"sweeps/train/jobs/{number}").mkdir(parents=True)
        (runs / f"sweeps/train/jobs/{number}/job.json").write_text(json.dumps({"number": number, **job, **more}))
    (runs / "sweeps/train/jobs/3").mkdir()
    (runs / "sweeps/train/jobs/3/job.json").write_text("{")

    report = make_report([runs])
    kinds = Counter(trouble.kind for trouble in report.troubles)
    assert kinds == {"unreadable": len(broken) + 2, "failed cell": 1, "failed job": 1, "interrupted job": 1}
    assert sum(len(line.members) for line in report.every_line) == 3 * 6 + 3 + 3 + 1 + 6
    page = write.page(report)
    section = page[page.index('<section id="troubles">') :]
    for name in broken:
        assert str(runs / "broken" / name / FILENAME) in section
    for said in ("delete it and run again", "only 7 labels are there", "no GPU left", "objective=mae",
                 "run the same command again", "jobs/3/job.json", "linear-10-s0"):  # fmt: skip
        assert said in section, said
    assert "jobs/2" not in section


def damaged(content: Any) -> Iterator[Any]:
    """A whole result with each of its parts, at any depth, missing or of another kind."""
    if isinstance(content, dict):
        for key, value in content.items():
            rest = {other: each for other, each in content.items() if other != key}
            yield rest
            yield from ({**rest, key: each} for each in (None, "odd", [], {}, -1.5, [[]], {"odd": 0}))
            yield from ({**rest, key: each} for each in damaged(value))
    elif isinstance(content, list) and content:
        yield from ([each, *content[1:]] for each in damaged(content[0]))


def test_whatever_a_result_lacks_the_others_are_told(tmp_path):
    levels = [{"level": 1, "metrics": {name: metric(0.5) for name in MACRO}}]
    stress = {"name": "leads", "axis": "leads", "applies_to": "test", "levels": levels, "twin": "gone"}
    whole = content("linear", 0.5, "10", 0, robustness=stress)
    whole["config"]["robustness"] = {"name": "leads"}
    for number, each in enumerate(damaged(whole)):
        (tmp_path / f"runs/beats/{number}").mkdir(parents=True)
        text = json.dumps({"schema": "ecg_lightning.result/2", **each})
        (tmp_path / f"runs/beats/{number}/{FILENAME}").write_text(text)
    write_cells(tmp_path / "runs/good", "linear", 0.5 + NOISE)
    write_report([tmp_path / "runs"], tmp_path / "out")
    report = make_report([tmp_path / "runs"])
    assert [len(line.members) for line in report.every_line if line.board.name == "good"] == [6]
    assert sum(trouble.kind == "unreadable" for trouble in report.troubles) > number / 2


def test_nothing_at_all_is_told_with_what_to_run(tmp_path):
    with pytest.raises(UserError, match=r"no result.json lies below; .*python evaluate.py checkpoint="):
        collect([tmp_path])
    with pytest.raises(UserError, match="no such folder"):
        collect([tmp_path / "gone"])


def test_what_comes_from_files_is_escaped_everywhere(tmp_path):
    encoder = {"digest": NASTY, "objective": NASTY, "pretrained_on": NASTY, "learned": True, "commit": NASTY}
    write_cells(tmp_path / "runs/a", "linear", [0.5, 0.6], encoder=encoder, commit=NASTY, device=NASTY, split=NASTY)
    write_cells(tmp_path / "runs/a", "linear", [0.5, 0.6], "25", encoder=encoder, split=NASTY)
    write_result(tmp_path / "runs/b", {"status": "failed", "error": NASTY, "protocol": NASTY})
    page, text, latex, *_ = write_report([tmp_path / "runs"], tmp_path / "out")
    assert page.read_text().count("<script>") == 1 and "alert(" in page.read_text()
    assert NASTY not in page.read_text() and "<script>" not in text.read_text()
    assert "\\end{table} #" not in latex.read_text()


def test_the_page_needs_no_other_file(runs, tmp_path):
    page = (write_report([runs], tmp_path / "out")[0]).read_text()
    assert not re.search(r"""(src|href)\s*=\s*["'](?!#)|@import|url\(|https?://|<link""", page)


def test_tables_for_papers_hold_together(runs, tmp_path):
    write_cells(runs / "x/100 % a_b", "linear", [0.5])
    _, text, latex, *_ = write_report([runs], tmp_path / "out")
    source = latex.read_text().replace(r"\{", "").replace(r"\}", "")
    assert source.count("{") == source.count("}")
    tables = re.findall(r"\\begin\{tabular\}\{(l+)(r+)\}\n\\toprule\n(.*?)\\bottomrule\n\\end\{tabular\}", source, re.S)
    assert len(tables) == 3 * len(MACRO)
    for left, right, body in tables:
        for row in body.replace("\\midrule\n", "").strip().split("\n"):
            assert row.endswith(r" \\") and len(re.findall(r"(?<!\\)&", row)) == len(left + right) - 1
    assert "100 \\% a\\_b" in source and r"\textbf{0.602" in source and "$^{+}$" in source and r"\dagger" in source
    assert "**0.602 [0.585, 0.618]** + |" in text.read_text()


@pytest.mark.parametrize("text", [NASTY, "a\nb", "\\", "{", "a & b"])
def test_latex_takes_nothing_for_a_command(text):
    escaped = escape_latex(text)
    rest = re.sub(r"\\(textbackslash|textasciitilde|textasciicircum|textless|textgreater|textbar)\{\}", "", escaped)
    rest = re.sub(r"\\[{}&%$#_]|\{\[\}|\{\]\}", "", rest)
    assert not set(rest) & set("\\{}&%$#_~^<>|[]\n")


def test_csv_and_parquet_say_the_same_and_what_the_page_says(runs, tmp_path):
    write_report([runs], tmp_path / "out")
    for name in ("figures", "cells"):
        words = ["budget", "level", "seed", "model_seed"]
        csv = pd.read_csv(tmp_path / f"out/{name}.csv", dtype=dict.fromkeys(words, str))
        parquet = pd.read_parquet(tmp_path / f"out/{name}.parquet")
        assert list(csv) == list(parquet) and len(csv) == len(parquet) > 0
        for column in csv:
            if pd.api.types.is_float_dtype(parquet[column]):
                np.testing.assert_array_equal(csv[column], parquet[column].to_numpy())
            else:
                assert (
                    csv[column].astype(object).fillna("").astype(str).tolist() == parquet[column].astype(str).tolist()
                ), column
    figures = pd.read_parquet(tmp_path / "out/figures.parquet")
    row = figures.query("part == 'leaderboard' and data == 'windows' and figure == 'macro_f1'").iloc[0]
    assert row["mean"] == pytest.approx((0.3 + NOISE).mean()) and row["seeds"] == 6
    seconds = figures.query("part == 'cost' and data == 'windows' and figure == 'seconds'").iloc[0]
    assert seconds["mean"] == np.median(1.0 + np.arange(6))
    ece = figures.query("part == 'calibration' and data == 'windows' and figure == 'ece'").iloc[0]
    assert ece["mean"] == pytest.approx(0.1 + np.arange(6).mean() / 100) and ece["condition"] == "none"
    assert len(pd.read_parquet(tmp_path / "out/cells.parquet")) == 31


def test_without_pyarrow_one_line_says_so(runs, tmp_path, monkeypatch, capsys):
    from ecg_lightning.reporting import __main__ as command
    from ecg_lightning.reporting.report import figures

    for module in (command, figures):
        monkeypatch.setattr(module, "find_spec", lambda name: None)
    command.report([runs], tmp_path / "out")
    assert "pip install 'ecg_lightning[parquet]'" in capsys.readouterr().out
    assert (tmp_path / "out/figures.csv").exists() and not list((tmp_path / "out").glob("*.parquet"))


def test_a_cell_that_lies_in_two_places_counts_once(runs, tmp_path):
    write_cells(runs / "copy/beats", "linear", 0.60 + NOISE)
    report = make_report([runs, runs / "mae"])
    [line] = [line for line in report.every_line if (line.board.name, line.budget) == ("beats", "10")
              and line.method == "MAE, linear probe"]  # fmt: skip
    assert line.values["macro_f1"].seeds == 6
    assert Counter(trouble.kind for trouble in report.troubles) == {"left out": 6}


def test_scalers_and_stresses_have_their_panels(tmp_path):
    levels = [{"level": level, "metrics": {name: metric(0.6 - level / 100) for name in MACRO}} for level in (0, 10)]
    stress = {"name": "label_noise", "axis": "wrong labels (%)", "applies_to": "labels", "levels": levels, "twin": "x"}
    calibration = {"labels_used": 9, "none": {"ece": metric(0.3), "brier": metric(0.4), "nll": metric(None)},
                   "platt": {"ece": metric(0.1), "brier": metric(0.2), "nll": metric(0.7)}}  # fmt: skip
    config = {**content("linear", 0.5, "10", 0)["config"], "robustness": {"name": "label_noise"}}
    for seed in range(2):
        told = content("linear", 0.6, "10", seed, robustness=stress | {"twin": f"x{seed}"}, calibration=calibration)
        write_result(tmp_path / f"beats/{seed}", {**told, "config": config})
    page = write_report([tmp_path], tmp_path / "out")[0].read_text()
    assert "MAE, linear probe, 10: 0.500 [0.500, 0.500], 2 seeds" in page
    rows = shown(page, "calibration")
    assert [[row[3], *(cell.split()[0] for cell in row[4:8])] for row in rows] == [
        ["as they are", "0.300", "undefined", "0.400", "undefined"],
        ["platt", "0.100", "undefined", "0.200", "0.700"],
    ]


def test_only_what_differs_is_said_of_each_line(runs):
    page = write.page(make_report([runs]))
    section = page[page.index('<section id="provenance">') : page.index('<section id="troubles">')]
    assert "resamples=200" in section and "<code>resamples=200</code>" not in section
    assert "<code>protocol.name=scratch</code>" in section and "<code>seed=0,1,2,3,4,5</code>" in section
    rows = shown(page, "provenance")
    assert len(rows) == len(make_report([runs]).every_line)
    for row in rows:
        assert {"abc", "f" * 16} <= set(" ".join(row).split()), "commit and fingerprint of each"


@pytest.mark.parametrize(("low", "high"), [(0.4, 0.9), (0.712, 0.713), (0.0, 1.0), (0.5, 0.5), (-0.2, 3.0)])
def test_the_axis_holds_all_and_stands_on_round_numbers(low, high):
    levels = nice_levels(low, high)
    assert levels[0] <= low and levels[-1] >= high and 2 <= len(levels) <= 8
    assert np.allclose(np.diff(levels), levels[1] - levels[0])


def test_the_command_writes_everything_and_says_what_it_cannot(runs, tmp_path):
    def command(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([sys.executable, "-m", "ecg_lightning.reporting", *words], cwd=tmp_path, check=False,
                              capture_output=True, text=True, env={"PYTHONPATH": str(PROJECT)})  # fmt: skip

    done = command()
    assert done.returncode == 0 and "runs/report/report.html" in done.stdout, done.stderr
    written = {path.name for path in (tmp_path / "runs/report").iterdir()}
    assert written == {PAGE, "tables.md", "tables.tex", "figures.csv", "figures.parquet", "cells.csv", "cells.parquet"}
    refused = command("nowhere")
    assert refused.returncode == 2 and refused.stderr.startswith("error: nowhere: no such folder")
