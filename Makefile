# Bursar: `make help` lists what there is.
PYTHON ?= python3
VENV := .venv
CLIENTS := .clients
BENCHES := gateway overspend books batches ledger holds scale physics simulate embed route compress
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet --require-hashes
LOCK := $(BIN)/python -m uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	--no-emit-find-links --custom-compile-command "make lock"

.DEFAULT_GOAL := help
.PHONY: help install demo up test test-clients check bench lock clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'

$(VENV)/.python:
	@echo "Creating $(VENV) ..."
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Bursar needs Python 3.11 or newer; set PYTHON=...")'
	@$(PYTHON) -m venv $(VENV)
	@touch $@

# Three sets, each a superset of the one before: what a gateway needs, all extras, and the tools of development.
$(VENV)/.base: $(VENV)/.python requirements/base.txt pyproject.toml
	@echo "Installing Bursar ..."
	@$(PIP) -r requirements/base.txt
	@$(BIN)/python -m pip --disable-pip-version-check install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/.all: $(VENV)/.base requirements/all.txt
	@echo "Installing all extras ..."
	@$(PIP) -r requirements/all.txt
	@touch $@

$(VENV)/.dev: $(VENV)/.all requirements/dev.txt
	@echo "Installing the tools of development ..."
	@$(PIP) -r requirements/dev.txt
	@touch $@

install: $(VENV)/.all ## make .venv with .venv/bin/bursar and all extras

demo: $(VENV)/.base ## replay a real trace through a gateway and print a statement whose books balance
	@$(BIN)/bursar demo --data .demo

up: $(VENV)/.all ## start Bursar on port 4000
	@$(BIN)/bursar up

test: $(VENV)/.dev ## run the tests
	@$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

# Clients whose own requirements exclude ours have an environment apart.
$(CLIENTS)/.python: requirements/clients.txt
	@echo "Creating $(CLIENTS) ..."
	@$(PYTHON) -m venv $(CLIENTS)
	@$(CLIENTS)/bin/python -m pip --disable-pip-version-check install --quiet --require-hashes -r requirements/clients.txt
	@touch $@

tests/clients/node_modules: tests/clients/package-lock.json
	@cd tests/clients && npm ci --ignore-scripts --no-audit --no-fund --silent
	@touch $@

test-clients: $(VENV)/.dev $(CLIENTS)/.python tests/clients/node_modules ## run the tests of LiteLLM and Node's clients
	@$(BIN)/python -m pytest tests/clients

check: $(VENV)/.dev ## lint, types, imports, style, docs
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/basedpyright --level error
	@$(BIN)/lint-imports
	@$(BIN)/python -m pytest tests/style tests/docs

bench: $(VENV)/.dev ## run every benchmark and print its figures
	@for name in $(BENCHES); do $(BIN)/python -m bench.$$name || exit 1; done

lock: $(VENV)/.dev ## resolve requirements/*.txt anew
	@$(LOCK) pyproject.toml requirements/build.in --output-file requirements/base.txt
	@$(LOCK) pyproject.toml requirements/build.in --all-extras --output-file requirements/all.txt
	@$(LOCK) pyproject.toml requirements/build.in --all-extras --group test --group check --output-file requirements/dev.txt
	@$(LOCK) requirements/clients.in --output-file requirements/clients.txt

clean: ## remove what make made
	@rm -rf $(VENV) $(CLIENTS) tests/clients/node_modules .demo
