# One verb each for people and for CI. `make` alone lists them.

SHELL := /bin/bash
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
CODE := postq tests benchmarks demo
ARGS ?=
# One more than CI has cores: tests wait for processes about a third of their time.
JOBS ?= 3
SEED ?= 1
MINUTES ?= 5
MATRIX ?= usual

.PHONY: help
help: ## list the verbs
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

# Reinstalled when the dependencies or the compiled kernel's source change; `make clean` starts over.
$(STAMP): pyproject.toml constraints.txt $(wildcard postq/learning/longformer/native/*.[ch])
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "postq needs Python 3.11 or newer; try: make PYTHON=python3.11" >&2; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "Installing postq and its pinned dependencies into $(VENV) (a few minutes the first time)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check \
		--constraint constraints.txt --editable '.[dev]'
	@touch $@

.PHONY: install
install: $(STAMP) ## build the virtual environment with pinned dependencies

.PHONY: demo
demo: $(STAMP) ## the main job on a synthetic corpus: train, evaluate, classify, schedule (ARGS= for options)
	@$(BIN)/python demo/run.py $(ARGS)

.PHONY: test
test: lint ## lint, then every test (JOBS= processes, ARGS= for pytest)
	$(BIN)/python -m pytest -n $(JOBS) --dist loadfile --no-loadscope-reorder $(ARGS)

.PHONY: unit
unit: $(STAMP) ## the quick tests only: no servers needed
	$(BIN)/python -m pytest tests/unit $(ARGS)

.PHONY: lint
lint: $(STAMP) ## ruff, formatting, strict types, import layers
	$(BIN)/ruff check $(wildcard $(CODE))
	$(BIN)/ruff format --check $(wildcard $(CODE))
	$(BIN)/mypy
	$(BIN)/lint-imports

.PHONY: format
format: $(STAMP) ## mend formatting and what ruff can mend
	$(BIN)/ruff check --fix $(wildcard $(CODE))
	$(BIN)/ruff format $(wildcard $(CODE))

.PHONY: docs
docs: $(STAMP) ## write the generated parts of docs/ anew
	$(BIN)/python docs/generate.py

.PHONY: bench
bench: $(STAMP) ## run the benchmarks and record their results (ARGS= names of some)
	$(BIN)/python benchmarks/run.py $(ARGS)

.PHONY: faults
faults: $(STAMP) ## stage the faults (MATRIX=full: on every database and broker that applies; JOBS= ARGS=)
	$(BIN)/python -m pytest tests/faults --matrix $(MATRIX) -n $(JOBS) --dist worksteal $(ARGS)

.PHONY: nemesis
nemesis: $(STAMP) ## random jobs under random faults, then count what was lost (SEED= MINUTES= ARGS="--broker redis")
	$(BIN)/python -m tests.faults.nemesis --seed $(SEED) --minutes $(MINUTES) $(ARGS)

.PHONY: audit
audit: $(STAMP) ## scan the checkout for secrets, look the pinned dependencies up in the vulnerability database
	$(BIN)/python -m pytest --quiet tests/unit/test_packaging.py -k key_or_access_token
	$(BIN)/pip-audit --strict --requirement constraints.txt --no-deps --disable-pip

.PHONY: clean
clean: ## remove the virtual environment, caches and build leftovers
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
