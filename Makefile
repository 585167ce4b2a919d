# Two commands set everything up on a fresh machine (Linux, Python 3.11 or newer, make):
#   make up      environments, models, then a real vLLM, the proxy on :8080 and the admin API on :8081
#   make test    what tests need, then all of them, the engine included
# Settings: PYTHON, LETHE_CACHE, LETHE_PIP_ARGS, LETHE_ENGINE (see requirements/install.py).

SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: help up test env env-test models check lock clean results

# The first Python that is new enough.
PYTHON ?= $(or $(shell for p in python3 python3.14 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && exit; done), \
	$(error Python 3.11 or newer is needed and none was found: install one, or say where it is, as in \
	'make PYTHON=/opt/python3.12/bin/python3 up'))

help: ## Show this list
	@sed -nE 's/^([a-z-]+):.*## (.*)/\1\t\2/p' $(MAKEFILE_LIST) | expand -t 12

up: models ## Start everything: environments, models, engine, proxy
	@exec .venv/bin/lethe up --sample deploy/sample-forget.jsonl

test: env-test models check ## Install what tests need and run all of them
	.venv/bin/pytest
	.venv-engine/bin/python -m pytest -c tests/engine/pytest.ini --rootdir tests/engine tests/engine

env: ## Make both environments
	@$(PYTHON) requirements/install.py proxy engine

env-test:
	@$(PYTHON) requirements/install.py proxy engine test

models: env ## Prepare the small model and the embedder, or check them
	@.venv-engine/bin/python -m guards.engine.prepare --verify

check: env-test ## Lint, types, and which room imports which
	.venv/bin/ruff check .
	.venv/bin/mypy
	.venv/bin/lint-imports

results: env models ## Measure leakage, utility and attacks anew and write docs/results.md (hours on two cores)
	.venv/bin/python -m evals.results

lock: ## Make requirements/*.txt anew from the ranges
	$(PYTHON) requirements/lock.py

clean: ## Remove both environments and all caches of tools; the model cache stays
	rm -rf .venv .venv-engine .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache build *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
