"""How long the report of 10,000 results takes on one core, imports included.

Two data sets, five encoders, ten protocols, five budgets, twenty seeds; each result of the size that `evaluate.py`
writes, five of the protocols with calibration, each with predictions in 500 resamples.

    python benchmarks/report.py
"""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Iterator
from hashlib import blake2b
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any

import numpy as np
from hydra import compose, initialize_config_dir

from ecg_lightning.build import plain
from ecg_lightning.evaluation.calibration import measure
from ecg_lightning.evaluation.metrics import judge
from ecg_lightning.provenance import commit, device
from ecg_lightning.results import FILENAME, PREDICTIONS, Predictions, write_predictions, write_result

CONF = Path(__file__).resolve().parent.parent / "conf"
DATA = {"mitbih": "mitbih-beats-aami-inter_patient", "synthetic": "synthetic-superdiagnostic"}
PROTOCOLS = ("linear", "knn", "prototype", "attentive", "finetune", "semi_supervised", "random_encoder", "classical",
             "welch", "scratch")  # fmt: skip
BUDGETS = ("10", "25", "50", "100", "full")
ENCODERS, SEEDS, CLASSES = 5, 20, ("N", "S", "V", "F", "Q")
DRAWN = 40
"""Different predictions; more results than these share them."""

LEAKAGE = {"pretraining_patients": 0, "pretraining_populations_unclear": [], "training_patients": 0,
           "pretraining_copies": 0, "training_copies": 0, "allowed": False}  # fmt: skip


def configurations() -> dict[tuple[str, str], dict[str, Any]]:
    """What `evaluate.py` would be asked, by data set and protocol."""
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return {
            (data, protocol): plain(compose("evaluate", [f"data={data}", f"protocol={protocol}", "checkpoint=a"]))
            for data, protocol in product(DATA, PROTOCOLS)
        }


def judged(folder: Path) -> list[dict[str, Any]]:
    """Metrics and calibration of random predictions, their resamples in folders by number."""
    rng = np.random.default_rng(0)
    y, patient, found = rng.integers(5, size=300), rng.integers(40, size=300), []
    for number in range(DRAWN):
        probability = rng.dirichlet(np.ones(5), 300) + 0.3 * np.eye(5)[y]
        probability /= probability.sum(axis=1, keepdims=True)
        of = judge(y, probability, CLASSES, patient, resamples=500)
        write_predictions(folder / str(number), Predictions(probability, of.resampled))
        found.append({"metrics": of.report, "calibration": measure(y, probability, CLASSES, patient, resamples=100)})
    return found


def results(found: list[dict[str, Any]]) -> Iterator[tuple[Path, int, dict[str, Any]]]:
    """Folder, number of the predictions, and content of every result."""
    asked = configurations()
    every = product(range(ENCODERS), DATA, PROTOCOLS, BUDGETS, range(SEEDS))
    for place, (encoder, data, protocol, budget, seed) in enumerate(every):
        number = (place * 7 + seed) % DRAWN
        of, scaled = found[number], protocol in PROTOCOLS[:5]
        calibration = {"labels_used": 0, "none": of["calibration"]}
        digest = blake2b(bytes([encoder]), digest_size=8).hexdigest()
        config = {**asked[data, protocol], "beside": [], "budget": {"total": budget}, "seed": seed, "model_seed": seed,
                  "checkpoint": f"runs/mae{encoder}/encoder.pt"}  # fmt: skip
        yield Path(f"mae{encoder}/evaluations/{DATA[data]}/{protocol}-{budget}-s{seed}-{place:08x}"), number, {
            "status": "done", "protocol": protocol, "budget": budget, "seed": seed, "model_seed": seed,
            "classes": list(CLASSES), "multi_label": False, "config": config,
            "encoder": {"digest": digest, "objective": "MAE", "pretrained_on": "ptbxl", "learned": True,
                        "commit": "unknown", "parameters": 1000000},
            "split": "inter-patient", "leakage": LEAKAGE,
            "data": {"name": data, "fingerprint": "0123456789abcdef", "recordings": 48, "test_examples": 300,
                     "test_patients": 40, "skipped": {}, "missing": "replicate", "substituted_leads": {}},
            "labels": {"allowed": 10, "read": 10, "per_class": dict.fromkeys(CLASSES, 2), "patients": 9},
            "truth": data, "metrics": of["metrics"],
            "calibration": {**calibration, **({"temperature": of["calibration"]} if scaled else {})},
            "collapsed": False, "details": {}, "seconds": 0.1, "peak_memory_mb": 900, "device": "x86_64 CPU, 1 threads",
            "commit": "0123456789ab",
        }  # fmt: skip


def write(runs: Path, scratch: Path) -> int:
    """Write all results, and give how many they are."""
    found, count = judged(scratch), 0
    for folder, number, content in results(found):
        write_result(runs / folder, content)
        shutil.copy(scratch / str(number) / PREDICTIONS, runs / folder)
        count += 1
    return count


def main() -> None:
    with TemporaryDirectory() as folder:
        runs, out = Path(folder) / "runs", Path(folder) / "report"
        count = write(runs, Path(folder) / "drawn")
        size = sum(path.stat().st_size for path in runs.rglob(FILENAME)) / 1e6
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        begin = perf_counter()
        command = ["taskset", "-c", "0"] if shutil.which("taskset") else []
        asked = [*command, sys.executable, "-m", "ecg_lightning.reporting", runs, "--out", out]
        subprocess.run(asked, check=True, capture_output=True, env=environment)
        seconds = perf_counter() - begin
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        page = (out / "report.html").stat().st_size / 1e6
        lines = (out / "report.html").read_text().count("<tr")
    print(f"`python benchmarks/report.py`, commit {commit()}, {device()}\n")
    print(f"| report of {count:,} results ({size:.0f} MB of JSON) on one core | |\n|---|---|")
    print(f"| processor time | {used.ru_utime + used.ru_stime:.1f} s |")
    print(f"| from start to end, beside whatever else ran | {seconds:.1f} s |")
    print(f"| page | {page:.1f} MB, {lines:,} rows |")


if __name__ == "__main__":
    main()
