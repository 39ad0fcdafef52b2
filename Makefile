# Every target works from nothing: Python 3.11+, make and a C compiler are all it takes.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready
# uv does not read pip's variable for local wheel folders
export UV_FIND_LINKS ?= $(PIP_FIND_LINKS)
export OMP_NUM_THREADS ?= 2
# threads that spin while they wait cost tenfold on cores shared with other work
export OMP_WAIT_POLICY ?= passive

.PHONY: help install demo test lint format bench bench-gpu docs clean

help:
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/'

$(READY): requirements.lock pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet uv
	$(BIN)/uv pip install --quiet --python $(BIN)/python -r requirements.lock
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation -e .
	touch $@

install: $(READY) ## make .venv with the pinned dependencies

demo: $(READY) ## clean the labels of Cora with ERASE; table and page in demo/
	$(BIN)/graphnoise denoise cora --method erase --noise uniform:0.3 --seed 0 --out demo
	$(BIN)/graphnoise report demo

test: $(READY) ## the tests
	$(BIN)/python -m pytest

lint: $(READY) ## format check, lint, strict types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

format: $(READY) ## rewrite the files as the formatter wants them
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(READY) ## every committed table again; hours, resumable
	$(BIN)/python -m benchmarks run all

bench-gpu: $(READY) ## kernel timings on a CUDA device
	$(BIN)/python -m benchmarks run gpu

docs: $(READY) ## HTML in docs/_build/html
	$(BIN)/sphinx-build -W -q -b html docs docs/_build/html

clean: ## everything the targets made
	rm -rf .venv demo docs/_build dist .pytest_cache .mypy_cache .ruff_cache
