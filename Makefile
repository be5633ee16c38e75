# Everything a developer runs. Each target sets itself up: a virtual environment in .venv, made on the first run and
# brought up to date when pyproject.toml changes.

VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
CODE := src tests bench examples
BENCH_READY := $(VENV)/.ready-bench

.DEFAULT_GOAL := help
.PHONY: help setup demo test check format bench guarantees reference clean

help: ## Show this list
	@echo "make <target>:"
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  %-9s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

setup: $(READY) ## Make the virtual environment in .venv

demo: $(READY) ## Import 262,200 real events into SQLite and show what a store does
	@$(BIN)/headwater demo --file examples/data/bpic2012.xes.gz --into sqlite:///demo/loans.db

test: check ## Lint, check types and architecture, then run all tests
	@$(BIN)/pytest -n 2 --dist loadscope

check: $(READY) ## Lint, check types and architecture
	@$(BIN)/ruff check --quiet $(CODE)
	@$(BIN)/ruff format --check --quiet $(CODE)
	@$(BIN)/mypy --no-error-summary
	@$(BIN)/lint-imports --no-logo > $(VENV)/imports.log 2>&1 || { cat $(VENV)/imports.log; exit 1; }
	@echo "lint, types and architecture: well"

format: $(READY) ## Put the code into its one format
	@$(BIN)/ruff check --fix --quiet $(CODE) && $(BIN)/ruff format $(CODE)

bench: $(BENCH_READY) ## Measure beside the alternatives, and write docs/performance.md (takes half an hour)
	@$(BIN)/python bench/report.py

guarantees: $(READY) ## Run the suite over every home of events, and write docs/guarantees.md (takes a quarter of an hour)
	@$(BIN)/pytest --quiet tests/conformance --promises .cache/promises.json
	@$(BIN)/python -m tests.conformance.page .cache/promises.json

reference: $(READY) ## Write docs/reference/api.md from the docstrings
	@$(BIN)/griffe2md headwater.connect.connect --output docs/reference/api.md
	@$(BIN)/griffe2md headwater >> docs/reference/api.md
	@$(BIN)/griffe2md headwater.personal.wrapping.KeyWrapper >> docs/reference/api.md
	@$(BIN)/griffe2md headwater.personal.wrapping.MasterKey >> docs/reference/api.md

clean: ## Remove the virtual environment, caches and the demo's store
	rm -rf $(VENV) .cache .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache build dist demo

$(BIN)/python:
	@for python in python3 python3.13 python3.12 python3.11; do \
	    if $$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2> /dev/null; then \
	        echo "setting up $(VENV) with $$($$python --version)"; \
	        exec $$python -m venv $(VENV); \
	    fi; \
	done; \
	echo "Headwater needs Python 3.11 or later, and none was found as python3 (3.13, 3.12, 3.11) on the PATH." >&2; \
	echo "Install one (Debian, Ubuntu: apt install python3 python3-venv), then run make again." >&2; \
	exit 1

$(READY): pyproject.toml | $(BIN)/python
	@echo "installing Headwater and its tools into $(VENV)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade 'pip>=25.1'
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[all]' --group dev
	@touch $@

$(BENCH_READY): $(READY)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --group bench
	@touch $@
