# Everything happens in .venv; nothing needs to be installed before but Python (3.11 or newer).
PYTHON ?= python3
BIN := .venv/bin

.PHONY: install demo test check torture bench clean

install: .venv/installed

.venv/installed: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

demo: install
	$(BIN)/pilotage demo --out demo

test: install
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --dist loadfile

check: test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

torture: install
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m torture --timeout 7200 tests/robustness

bench: install
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev,bench]'
	$(BIN)/python benchmarks/run.py --out results/benchmarks.md
	$(BIN)/python benchmarks/metrics.py --large --out results/benchmarks-metrics.md
	$(BIN)/python benchmarks/standard_errors.py --out results/standard_errors.md
	$(BIN)/python benchmarks/measuring.py --out results/benchmarks-sweep.md
	$(BIN)/python benchmarks/unet.py --out results/benchmarks-unet.md
	$(BIN)/python benchmarks/objectives.py --out results/benchmarks-objectives.md
	$(BIN)/python benchmarks/adversarial.py --out results/benchmarks-adversarial.md

clean:
	rm -rf .venv build dist .pytest_cache .mypy_cache .ruff_cache
