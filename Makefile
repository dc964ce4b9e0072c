# Each target first creates what it needs: a virtual environment with the package and its dependencies.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PRESET ?= auto
ARGS ?=
DATA ?= quickdraw
TORCH ?= torch==2.13.0
EXTRAS ?= dev
# LOCKED=1 installs the versions in constraints.txt, with which CI runs.
LOCKED ?=
PIP_INSTALL = $(BIN)/python -m pip install $(if $(LOCKED),--constraint constraints.txt)

.DEFAULT_GOAL := help

.PHONY: help setup train-quickdraw train-omniglot train-sketchy train-protonet train-maml train-vae train-contrastive train-classifier sweep eval-fewshot eval-miniimagenet eval-recognizability report results bench draw docs cards constraints test test-fast lint typecheck format check clean

help: ## list the targets
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  %-20s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(VENV)/.ready ## create the virtual environment and install the package (LOCKED=1: with the versions that CI uses)

# The pinned torch first: a later version would install CUDA libraries that a CPU does not need.
$(VENV)/.ready: pyproject.toml $(if $(LOCKED),constraints.txt)
	@echo "Installing into $(VENV): $(TORCH), then sketchembed[$(EXTRAS)] (up to 3 GB, a few minutes)"
	@$(PYTHON) -m venv $(VENV)
	$(PIP_INSTALL) $(TORCH)
	$(PIP_INSTALL) --editable '.[$(EXTRAS)]'
	@$(BIN)/python -m pip list --disable-pip-version-check | grep -Ei "^(torch|numpy|pytorch-lightning|wandb|sketchembed) "
	@touch $@

train-quickdraw: setup ## train on Quick, Draw! (PRESET=auto|paper|cpu|cpu-long|cpu-embedding|gpu-embedding|resnet12, ARGS="--trainer.max_steps 1000")
	@$(BIN)/sketchembed fit --preset $(PRESET) $(ARGS)

train-omniglot: setup ## train on Omniglot's strokes (PRESET=omniglot|omniglot-cpu)
	@$(BIN)/sketchembed fit --preset $(if $(filter auto,$(PRESET)),omniglot-cpu,$(PRESET)) $(ARGS)

train-sketchy: setup ## train on photos with sketches (PRESET=auto|sketchy|sketchy-cpu|traced|traced-cpu)
	@$(BIN)/sketchembed fit --preset $(if $(filter auto,$(PRESET)),auto-sketchy,$(PRESET)) $(ARGS)

train-protonet: setup ## train the supervised baseline ProtoNet (PRESET=protonet|protonet-mini-imagenet)
	@$(BIN)/sketchembed fit --preset $(if $(filter auto,$(PRESET)),protonet,$(PRESET)) $(ARGS)

train-maml: setup ## train the supervised baseline MAML (PRESET=maml|maml-mini-imagenet)
	@$(BIN)/sketchembed fit --preset $(if $(filter auto,$(PRESET)),maml,$(PRESET)) $(ARGS)

train-vae: setup ## train the pixel baseline, a convolutional VAE (DATA=quickdraw|omniglot|sketchy|mini-imagenet)
	@$(BIN)/sketchembed fit --preset $(if $(filter-out quickdraw,$(DATA)),vae-$(DATA),vae) $(ARGS)

train-contrastive: setup ## train the contrastive baseline, SimCLR (DATA=quickdraw|mini-imagenet)
	@$(BIN)/sketchembed fit --preset $(if $(filter-out quickdraw,$(DATA)),contrastive-$(DATA),contrastive) $(ARGS)

train-classifier: setup ## train a classifier of drawings (PRESET=classifier|classifier-cpu, ARGS="--data.init_args.which unseen")
	@$(BIN)/sketchembed fit --preset $(if $(filter auto,$(PRESET)),classifier-cpu,$(PRESET)) $(ARGS)

sweep: setup ## run a sweep (SWEEP=sweeps/alpha_max.yaml, PRESET, ARGS="--jobs 2 --trainer.max_steps 1000")
	@$(BIN)/sketchembed sweep $(or $(SWEEP),sweeps/seeds.yaml) $(if $(filter-out auto,$(PRESET)),--preset $(PRESET)) $(ARGS)

eval-fewshot: setup ## few-shot classification on Omniglot (CHECKPOINT=run, file or packaged model; default: the newest run)
	@$(BIN)/sketchembed evaluate fewshot $(if $(CHECKPOINT),--checkpoint $(CHECKPOINT)) $(ARGS)

eval-miniimagenet: setup ## few-shot classification on mini-ImageNet (CHECKPOINT=run or file of a model for photos)
	@$(BIN)/sketchembed evaluate fewshot --data mini-imagenet --out results/mini-imagenet $(if $(CHECKPOINT),--checkpoint $(CHECKPOINT)) $(ARGS)

eval-recognizability: setup ## accuracy of classifiers on a model's drawings (CHECKPOINT=run or file)
	@$(BIN)/sketchembed evaluate recognizability $(if $(CHECKPOINT),--checkpoint $(CHECKPOINT)) $(ARGS)

report: setup ## all evaluations of a model on one page (CHECKPOINT=run or file; default: the newest run)
	@$(BIN)/sketchembed report $(if $(CHECKPOINT),--checkpoint $(CHECKPOINT)) $(ARGS)

results: setup ## measure the packaged models and write RESULTS.md (ARGS="--only mini-imagenet")
	@$(BIN)/sketchembed results $(ARGS)

bench: setup ## time every part against a plain version of it
	@PYTHONPATH=tests $(BIN)/python -m benchmarks $(if $(filter-out auto,$(PRESET)),--preset $(PRESET)) $(ARGS)

draw: setup ## draw images (IMAGES=file or folder, CHECKPOINT=run or file, OUT=folder)
	@$(BIN)/sketchembed draw $(IMAGES) $(CHECKPOINT) --out $(or $(OUT),drawings) $(ARGS)

docs: setup ## build the documentation in build/docs (a warning is an error)
	@$(BIN)/sphinx-build --fail-on-warning --keep-going --quiet docs build/docs
	@echo build/docs/index.html

cards: setup ## write docs/models.md from the packaged models and RESULTS.md
	@$(BIN)/python -m sketchembed.reporting.model_cards RESULTS.md docs/models.md

# Local versions such as +cpu are cut off, so that the file fits every build of torch. Triton and CUDA libraries are left
# out: the CUDA build of torch determines their versions.
constraints: setup ## write constraints.txt from the environment (run `make clean` first)
	@{ echo '# Exact versions for `make setup LOCKED=1`; `make clean && make constraints` renews them.'; \
	$(BIN)/python -m pip freeze --all --exclude-editable | grep -Ev "^(nvidia-|triton=|pip=|#)" | sed "s/+[a-z0-9]*\$$//"; } >constraints.txt

# One process more than cores, since tests also wait; one thread each. A process runs one test file at a time.
WORKERS := $(shell expr $$(getconf _NPROCESSORS_ONLN) + 1)
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses $(WORKERS) --maxprocesses 9 --dist loadfile --no-loadscope-reorder

test: setup ## run the whole test suite
	@$(PYTEST) $(ARGS)

test-fast: setup ## run the tests that take less than ten seconds each
	@$(PYTEST) -m "not slow and not browser" $(ARGS)

lint: setup ## check style, and which room imports which
	@$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/lint-imports

typecheck: setup ## check types
	@$(BIN)/mypy

format: setup ## format the code
	@$(BIN)/ruff check --fix . && $(BIN)/ruff format .

check: lint typecheck test ## everything that CI checks

clean: ## remove the environment and caches (data and runs stay)
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis
