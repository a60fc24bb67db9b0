# Everything this project is run by. `make` alone lists it.
.DEFAULT_GOAL := help
.PHONY: help run test check demo bench bench-peers conformance soak lock clean
MAKEFLAGS += --no-print-directory
# Every start would compile all sources anew where the surroundings forbid to keep the result.
export PYTHONDONTWRITEBYTECODE :=

# The venv's Python if there is one, else the newest on PATH that really runs (a pyenv shim may not).
PYTHON ?= $(shell for python in .venv/bin/python python3.13 python3.12 python3.11 python3; do \
	"$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 && echo "$$python" && break; done)
SETUP = $(or $(PYTHON),$(error Dueflow needs Python 3.11 or newer on PATH)) -I local/bootstrap.py
IN = .venv/bin/python -m
# Most of a test is waiting for servers, so a few more processes than cores.
TEST = $(IN) pytest -q -n 4 --dist loadfile --no-loadscope-reorder
UV = $(or $(wildcard .venv/bin/uv),uv)
# The SDL that the latest release was made with; `make check` keeps what it promised.
RELEASED = schema/released.graphql
COMPILE = --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --no-annotate

help: ## list what make can do
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' Makefile

run: ## everything on this machine: servers, sandbox, demo data, API, worker (Ctrl-C stops it)
	@$(SETUP) run
	@$(IN) local up

test: ## the whole suite on throw-away servers (ARGS="tests/local -x" for a part)
	@$(SETUP) dev
	@$(TEST) $(ARGS)

check: ## what must pass: format, lint, types, import contracts, SDL, migrations, tests
	@$(SETUP) dev
	$(IN) ruff format --check .
	$(IN) ruff check .
	$(IN) mypy
	.venv/bin/lint-imports
	$(IN) app sdl --check
	$(if $(wildcard $(RELEASED)),$(IN) app sdl --breaking $(RELEASED))
	$(IN) app migrations --check
	$(TEST)

demo: ## the guided tour, while `make run` runs in another terminal
	@$(SETUP) run
	@$(IN) local.demo

bench: ## how fast, in ratios: the limits, arq, saq, bare fan-out -> bench/RESULTS.md (ARGS="reads" for a part)
	@$(SETUP) run
	@$(IN) bench $(ARGS)

bench-peers: ## the reads again beside PostGraphile and Mercurius, which npm brings (needs Node.js)
	@$(SETUP) run
	@$(IN) bench peers

conformance: ## all that speaks GraphQL: clients, generated clients, random requests
	@$(SETUP) dev
	@$(IN) pytest -q -m "conformance or not soak" tests/clients $(ARGS)

soak: ## the long matrices: crashes, faults, many seeds
	@$(SETUP) dev
	@$(IN) pytest -q -m soak $(ARGS)

lock: ## the locks anew from requirements*.in (needs uv): pins and hashes, no address
	$(UV) pip compile $(COMPILE) requirements.in -o requirements.lock
	$(UV) pip compile $(COMPILE) --constraint requirements.lock requirements-dev.in -o requirements-dev.lock
	$(UV) pip compile $(COMPILE) --no-deps requirements-data.in -o .local/data.lock
	@cat .local/data.lock >> requirements-dev.lock
	$(UV) pip compile $(COMPILE) tests/clients/requirements.in -o tests/clients/requirements.lock
	$(UV) pip compile $(COMPILE) bench/requirements.in -o bench/requirements.lock
	@! grep -n '://' requirements.lock requirements-dev.lock tests/clients/requirements.lock bench/requirements.lock

clean: ## remove the venv, all data of `make run` and every cache
	@if [ -x .venv/bin/python ]; then $(IN) local clean; fi
	@rm -rf .venv .local build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache .coverage
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
