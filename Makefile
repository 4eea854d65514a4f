# Everything runs in .venv, which every target makes for itself where it is missing.
PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/.installed
DEMO := runs/demo
DATA := data/synthetic

.DEFAULT_GOAL := help
.PHONY: help install demo demo-data report test test-slow test-damage test-kill check format bench clean

help:  ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

install: $(INSTALLED)  ## make .venv with the pinned dependencies

$(INSTALLED): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed; set PYTHON=")'
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $(INSTALLED)

demo-data: $(INSTALLED)  ## write the embedded 12-lead data set
	OMP_NUM_THREADS=1 $(BIN)/python -m ecg_lightning.data.synthetic --root $(DATA) --records 2000 --holter 0

demo: demo-data  ## pretrain on the embedded data set and show what it is worth with 10-100 labels
	ECG_DATA_ROOT=data $(BIN)/python train.py +experiment=demo run_dir=$(DEMO)
	ECG_DATA_ROOT=data $(BIN)/python evaluate.py +sweep=demo checkpoint=$(DEMO)/encoder.pt

report: $(INSTALLED)  ## one page of every result below runs/, with tables for papers and all figures beside it
	$(BIN)/python -m ecg_lightning.reporting runs

test: check  ## lint, types and the whole test suite, a process for each core
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --dist loadfile -m 'not slow and not damage and not kill'

test-slow: $(INSTALLED)  ## the minutes-long tests
	$(BIN)/python -m pytest -m slow

test-damage: $(INSTALLED)  ## read 20,000 damaged files
	$(BIN)/python -m pytest -m damage

test-kill: $(INSTALLED)  ## kill trainings and sweeps at random moments and let them end
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m kill -s

check: $(INSTALLED)  ## ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(INSTALLED)  ## let ruff mend style and layout
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(INSTALLED)  ## the benchmarks, each a ratio within one run
	$(BIN)/python benchmarks/ingest.py
	$(BIN)/python benchmarks/bootstrap.py
	$(BIN)/python benchmarks/augment.py
	$(BIN)/python benchmarks/sweep.py
	$(BIN)/python benchmarks/heartbeat.py
	$(BIN)/python benchmarks/memory.py
	$(BIN)/python benchmarks/objectives.py
	$(BIN)/python benchmarks/fewshot.py
	$(BIN)/python benchmarks/startup.py
	$(BIN)/python benchmarks/report.py
	$(BIN)/python benchmarks/parallel.py

clean:  ## remove .venv, caches, runs and generated data
	rm -rf .venv cache runs $(DATA) .mypy_cache .ruff_cache .pytest_cache .hypothesis
