# Every target works from nothing: Python 3.11+, make and a C compiler are all it takes.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready
# uv does not read pip's variable for local wheel folders
export UV_FIND_LINKS ?= $(PIP_FIND_LINKS)
export OMP_NUM_THREADS ?= 2
# threads that spin while they wait cost tenfold on cores shared with other work
export OMP_WAIT_POLICY ?= passive

# real data sets; see the README
NOISE_DATA ?= ../shared/data
SHOP := $(NOISE_DATA)/fashion2k
CLEAN_SHOP := $(BIN)/multimodal clean $(SHOP) --format folder --classes benchmarks/classes/fashion.csv \
	--column id=id --column title=productDisplayName --column label=

# processes that run the tests; 0 runs them in this one
TEST_WORKERS ?= 2

.PHONY: help install demo demo-images demo-images-clip test lint format bench bench-gpu docs clean

help:
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/'

$(READY): requirements.lock pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet uv
	$(BIN)/uv pip install --quiet --python $(BIN)/python -r requirements.lock
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation -e .
	touch $@

install: $(READY) ## make .venv with the pinned dependencies

demo: $(READY) ## labels of Cora by ERASE, labels for Python modules without any; pages in demo*/
	$(BIN)/graphnoise denoise cora --method erase --noise uniform:0.3 --seed 0 --out demo
	$(BIN)/graphnoise report demo
	$(BIN)/graphnoise annotate run python-modules --llm embedding:minilm --budget 200 --out demo-annotate

demo-images: $(READY) ## clean 2,000 web-shop photos from raw images and titles; page in demo-images/
	$(CLEAN_SHOP) --image-encoder cnn:$(NOISE_DATA)/mobilenetv2/mobilenetv2_float32_from_ptq.npz \
		--text-encoder minilm --out demo-images
	$(BIN)/python -m benchmarks.fashion_truth $(SHOP) demo-images/truth.csv
	$(BIN)/multimodal report demo-images --truth demo-images/truth.csv

demo-images-clip: $(READY) ## the same with the CLIP embeddings that come with the photos
	$(CLEAN_SHOP) --image-encoder file:$(SHOP)/embeddings.npy@$(SHOP)/image_files.json \
		--text-encoder minilm --out demo-images-clip
	$(BIN)/python -m benchmarks.fashion_truth $(SHOP) demo-images-clip/truth.csv
	$(BIN)/multimodal report demo-images-clip --truth demo-images-clip/truth.csv

# files go to the workers whole, so that what their tests share is made once; a thread each
test: $(READY) ## the tests, on two cores
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses $(TEST_WORKERS) --dist loadfile

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
	rm -rf .venv demo demo-annotate demo-images demo-images-clip docs/_build dist .pytest_cache .mypy_cache .ruff_cache
