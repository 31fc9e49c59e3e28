# Everything is run from here; Python 3.11, git and make are all that a machine needs.

# The first of these that really is Python 3.11; `make env PYTHON=/path/to/python` overrides it.
PYTHON ?= $(shell for p in python3.11 python3 python; do \
	if $$p -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' >/dev/null 2>&1; then echo $$p; break; fi; done)
BIN := .venv/bin
STAMP := .venv/.stamp
ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help env install lock servers demo test simulate fuzz prove audit lint format check bench clean distclean

help: ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' Makefile
	@echo '  ARGS="..." is passed on by servers, demo, test, simulate, fuzz, prove, check and bench'

env: $(STAMP) ## create .venv from requirements.lock (again when it or pyproject.toml changed)

# One at a time: `make demo` and `make test` in a fresh clone would both install.
$(STAMP): requirements.lock pyproject.toml
	@py='$(PYTHON)'; if [ -z "$$py" ]; then \
		echo 'Plan B needs Python 3.11. Found: '"$$(python3 --version 2>&1 || echo 'no python3')"'.' >&2; \
		echo 'Install 3.11, or say where it is: make env PYTHON=/path/to/python3.11' >&2; exit 1; fi; \
	"$$py" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' || { \
		echo "Plan B needs Python 3.11; $$py is $$("$$py" --version 2>&1)." >&2; exit 1; }; \
	"$$py" -c 'import ensurepip, venv' 2>/dev/null || { \
		echo "$$py has no venv module (Debian, Ubuntu: install python3.11-venv)." >&2; exit 1; }; \
	"$$py" .ci/alone.py .env.lock $(MAKE) --no-print-directory install PYTHON="$$py"

# A changed lock rebuilds the environment; a changed pyproject.toml only reinstalls the project, without network. Nothing is
# touched when the make that was waited for has done it: its tests or its demo may run already.
install:
	@if [ -e $(STAMP) ] && [ ! requirements.lock -nt $(STAMP) ] && [ ! pyproject.toml -nt $(STAMP) ]; then exit 0; fi; \
	if ! cmp -s requirements.lock .venv/requirements.lock || ! $(BIN)/python --version >/dev/null 2>&1; then \
		echo "Installing what requirements.lock names into .venv (a minute or two; only when it changed) ..." >&2; \
		"$(PYTHON)" -m venv --clear .venv && \
		$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps \
			--only-binary :all: -r requirements.lock && \
		cp requirements.lock .venv/requirements.lock || exit 1; \
	fi; \
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-build-isolation --no-deps -e . && \
	touch $(STAMP)

lock: ## resolve requirements.lock again; ARGS="--upgrade" takes newer versions
	@dir=$$(mktemp -d) && trap 'rm -rf "$$dir"' EXIT && $(PYTHON) -m venv "$$dir" && \
	"$$dir/bin/python" -m pip install --quiet --disable-pip-version-check uv && \
	"$$dir/bin/uv" pip compile --quiet --extra dev --extra engines --universal --python-version 3.11 --generate-hashes \
		--no-header --no-emit-index-url --output-file requirements.lock $(ARGS) pyproject.toml

servers: $(STAMP) ## real servers for the tests that need them, into .servers/ (once): docs/servers.md
	@$(BIN)/python -m deploy.local install $(ARGS)

demo: $(STAMP) ## whole datacenters on this machine, as real processes
	$(BIN)/planb demo $(ARGS)

test: $(STAMP) ## all tests
	$(BIN)/python -m pytest $(ARGS)

simulate: $(STAMP) ## histories of a simulated planet, each from its seed: docs/simulation.md
	$(BIN)/python -m tests.simulation $(ARGS)

prove: $(STAMP) ## the long version, for hours; writes docs/proof.md. ARGS="--scale 0.05" is a short one
	$(BIN)/python -m tests.prove $(ARGS)

fuzz: $(STAMP) ## hostile clients against whole datacenters, and hostile bytes for every decoder: docs/security.md
	$(BIN)/python -m tests.fuzz $(ARGS)

audit: $(STAMP) ## what is known of vulnerabilities in what requirements.lock names; needs a network
	@$(BIN)/python .ci/audit.py

lint: $(STAMP) ## ruff, mypy --strict and the import rules
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(STAMP) ## let ruff format and fix what it can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

check: lint test ## what CI runs: lint, then all tests

bench: $(STAMP) ## load tests on this machine
	$(BIN)/python -m bench $(ARGS)

clean: ## remove caches and build output
	rm -rf build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -not -path './.venv/*' -not -path './.servers/*' -prune -exec rm -rf {} +

distclean: clean ## and the environment, and the servers
	rm -rf .venv .servers
