# The two commands of a fresh machine are `make run` and `make test`; Python >= 3.11 is all they ask for.
SHELL := /bin/bash
PYTHON ?= python3
PORT ?= 8080
VENV := .venv
BIN := $(VENV)/bin
export UV_PYTHON_DOWNLOADS := never
# What the first try against a server on this machine needs; `windlass serve` alone allows nothing private.
RUN_ENV := WINDLASS_OUTBOUND__ALLOW=$${WINDLASS_OUTBOUND__ALLOW:-127.0.0.0/8,::1/128}
UV_INSTALL := $(BIN)/uv pip install --quiet --python $(BIN)/python

.PHONY: setup setup-dev run test check bench prove lock clean
.DEFAULT_GOAL := help

help: ## what each command does
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | sort

setup: $(VENV)/.base ## the environment that `make run` needs
setup-dev: $(VENV)/.dev ## what tests and checks need besides

$(VENV)/.bootstrap: requirements/bootstrap.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "windlass needs Python 3.11 or newer; this is " + sys.version.split()[0])'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/bootstrap.txt
	@touch $@

$(VENV)/.base: $(VENV)/.bootstrap requirements/base.txt pyproject.toml
	$(UV_INSTALL) --require-hashes -r requirements/base.txt
	$(UV_INSTALL) --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/.dev: $(VENV)/.base requirements/dev.txt
	$(UV_INSTALL) --require-hashes -r requirements/dev.txt
	@touch $@

run: setup ## serve on http://127.0.0.1:$(PORT) with everything under ./data
	@$(RUN_ENV) exec $(BIN)/windlass serve --port $(PORT) --data data $(ARGS)

test: setup-dev ## every test but the long proofs
	$(BIN)/python -m pytest -m "not prove" -n 2 --dist worksteal $(ARGS)

check: setup-dev ## lint, types, layers
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/pyright

bench: setup-dev ## speed, as ratios to limits measured in the same run
	$(BIN)/python -m bench $(ARGS)

prove: setup-dev ## the long proofs
	$(BIN)/python -m pytest -m prove -s $(ARGS)

lock: setup ## pin newer versions into requirements/*.txt
	cd requirements && for set in bootstrap base dev; do \
	  ../$(BIN)/uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes --no-header $$set.in -o $$set.txt; done

clean: ## remove the environment and the caches, never ./data
	rm -rf $(VENV) .pytest_cache .ruff_cache .hypothesis .import_linter_cache build dist
