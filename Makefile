# Every target that needs the environment begins with `setup`, which is quick when nothing is to do.
.DEFAULT_GOAL := help
.PHONY: help setup lab lint policies test chaos bench notebooks lock clean
SHELL := /bin/sh
BIN := .venv/bin
# Most of a test is waiting for a real program: a few at once, each file by itself.
JOBS ?= 3
NOTEBOOKS := $(sort $(wildcard notebooks/*.ipynb))

help: ## show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

# Each candidate is run, in every folder of PATH: a version manager's shim may be there and refuse.
setup: ## make the environment and get the tools; does only what is missing
	@PATH="$$PWD/$(BIN):$$PATH"; IFS=:; \
	for name in python3 python3.13 python3.12 python3.11 python3.14 python; do \
	  for folder in $$PATH; do \
	    if [ -x "$$folder/$$name" ] && "$$folder/$$name" -c \
	      'import sys; sys.exit(sys.version_info < (3, 8))' >/dev/null 2>&1; then \
	      PATH="$${PATH#*:}" exec "$$folder/$$name" tools/bootstrap.py; \
	    fi; \
	  done; \
	done; \
	echo "There is no Python on PATH that works." >&2; \
	echo "  Install Python 3.11 or newer (Debian and Ubuntu: apt-get install python3 python3-venv;" \
	  "macOS: brew install python), then run make again." >&2; \
	exit 1

lab: setup ## open the notebooks
	@$(BIN)/tprov lab

lint: setup ## check style, types, and what is stored in the notebooks
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python tools/notebook_hygiene.py $(NOTEBOOKS)

policies: setup ## check and test the policies
	@opa=$$($(BIN)/python -m tprov_kernel.toolchain opa) && set -x && \
	"$$opa" check --strict policies && "$$opa" fmt --diff --fail policies && "$$opa" test policies

# pytest comes last, so that its closing line is the run's.
test: lint policies ## run all checks and tests, the notebooks too
	$(BIN)/python -m pytest -n $(JOBS) --dist loadfile --nbval tests $(NOTEBOOKS)

chaos: setup ## kill everything at every moment, and print what came of it (SEED=, CELL=, ATTEMPT=)
	$(BIN)/python -m tests.chaos

bench: setup ## measure, and print the figures
	$(BIN)/python -m benchmarks

notebooks: setup ## run every notebook, and store what it shows
	$(BIN)/python tools/notebooks.py $(NOTEBOOKS)

lock: setup ## resolve the dependencies anew
	$(BIN)/python tools/lock.py

clean: ## remove what setup and the checks made here; keeps your data in .tprov
	rm -rf .venv dist artifacts .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
