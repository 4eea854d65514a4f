"""The demo as `make demo` runs it, from nothing to the table."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import PROJECT

from ecg_lightning import load_encoder

METHODS = ("classical (extra trees)", "MAE, linear probe", "from scratch", "random encoder, linear probe")


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_the_demo_leaves_a_table_a_curve_a_reconstruction_and_an_encoder_that_learned(tmp_path: Path) -> None:
    environment = {**os.environ, "ECG_DATA_ROOT": "data", "PYTHONPATH": str(PROJECT)}
    dry = subprocess.run(["make", "-n", "demo"], cwd=PROJECT, capture_output=True, text=True, check=True).stdout
    steps = [line.split(" .venv/bin/python ", 1)[1].split() for line in dry.splitlines() if "/python " in line]
    assert len(steps) == 3
    for step in steps:
        arguments = [str(PROJECT / word) if word.endswith(".py") else word for word in step]
        subprocess.run([sys.executable, *arguments], cwd=tmp_path, env=environment, check=True)

    run = tmp_path / "runs" / "demo"
    assert load_encoder(run / "encoder.pt").spec.samples == 500
    (table,) = run.rglob("table.md")
    lines = {line.split("|")[1].strip(): line for line in table.read_text().splitlines() if line.startswith("|")}
    for method in METHODS:
        assert lines[method].count("[") == 4, "an interval at 10, 25, 50 and 100 labels"
    (against_random,) = (
        line for line in table.read_text().splitlines() if line.startswith(f"pretrained against {METHODS[3]}")
    )
    assert "better at 100 labels" in against_random
    for picture in ("label_efficiency.png", "reconstruction.png"):
        (path,) = run.rglob(picture)
        assert path.read_bytes().startswith(b"\x89PNG")
