# Every target sets up .venv by itself, from whatever index pip is configured to use. Nothing here needs root.
#
#   make demo                     with the python3 on the PATH
#   make demo PYTHON=python3.13   with another one

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
# What the demos need, and not what it takes to develop: a part of it.
RUNS := $(if $(wildcard $(INSTALLED)),$(INSTALLED),$(VENV)/.runs)
# With LOCKED=1 exactly what the lock file names is installed, by its hashes, and nothing is resolved; else the newest
# that pyproject.toml allows. The hashes make it all one which index a file comes from: uv, which is ten times as fast,
# asks its own, and pip installs where that cannot be reached.
LOCK := .ci/requirements.txt

# Machines that build containers often set this; the thousand processes that the tests start would each compile anew
# whatever they import.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo demo-serve demo-gateway test lint pages bench mutants plants fuzz lock audit clean bench-serve

help:  ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## /  make \1\t/p' $(MAKEFILE_LIST) | expand -t 16

demo: $(RUNS)  ## a conversation, its last resort, and the proof of it, offline
	$(BIN)/python examples/demo.py

demo-serve: $(RUNS)  ## a chat in the browser, and the inspector that looks into its log, offline
	$(BIN)/python examples/pages_demo.py

demo-gateway: $(RUNS)  ## an application that changes its base URL, and a conversation that ends lawfully, offline
	$(BIN)/python examples/serve_demo.py

test: $(INSTALLED)  ## every test, with full branch coverage of domain, application and projections, and at least 95 % of adapters
	$(BIN)/python -m pytest -n auto --dist loadgroup --cov --cov-report= $(ARGS)
	$(BIN)/python -m coverage report --include='domain/*,application/*,projections/*' --fail-under=100
	$(BIN)/python -m coverage report --include='adapters/*' --fail-under=95

lint: $(INSTALLED)  ## style, format and types
	$(BIN)/python -m ruff check .
	$(BIN)/python -m ruff format --check .
	$(BIN)/python -m mypy --num-workers auto

pages: $(INSTALLED)  ## the pages of the reference that are made from the code
	$(BIN)/python -m tests.pages

bench: $(INSTALLED)  ## this project beside plain drivers and peers; ARGS=--full for the sizes of the goals
	$(BIN)/python -m bench $(ARGS)

bench-serve: $(INSTALLED)  ## the gateway beside a pass-through and no proxy at all; ARGS="--streams 1,32"
	$(BIN)/python -m bench.serve $(ARGS)

mutants: $(INSTALLED)  ## every small mistake in the core, and whether a test notices
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev,mutants]'
	$(BIN)/python -m tests.mutants $(ARGS)

plants: $(INSTALLED)  ## bugs of the kind that people make, one at a time, and whether the named tests notice
	$(BIN)/python -m tests.plants $(ARGS)

fuzz: $(INSTALLED)  ## files of every kind that people hand in, made to find what breaks a reader
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev,fuzz]'
	$(BIN)/python -m tests.fuzz $(ARGS)

lock: $(INSTALLED)  ## write the lock file of CI again, from the newest that pyproject.toml allows
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev,audit]'
	$(BIN)/uv pip compile --quiet --upgrade --universal --generate-hashes --no-annotate --python-version 3.11 \
		--custom-compile-command 'make lock' --extra dev --extra audit --output-file $(LOCK) pyproject.toml

audit: $(INSTALLED)  ## known vulnerabilities of what the lock file names, where the package index tells them
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev,audit]'
	$(BIN)/python .ci/audit.py

clean:  ## remove the environment, and everything that was built or cached
	rm -rf $(VENV) build dist .demo .fuzz .hypothesis .mypy_cache .pytest_cache .ruff_cache .coverage .coverage.* *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

define FRESH_VENV
@command -v $(PYTHON) >/dev/null || { echo 'no $(PYTHON) on the PATH: install Python 3.11 or later, or name one: make PYTHON=/path/to/python3' >&2; exit 1; }
@$(PYTHON) -c 'import sys; old = sys.version_info < (3, 11); sys.exit("$(PYTHON) is Python %d.%d; lastresort needs 3.11 or later. Name another one: make PYTHON=python3.13" % sys.version_info[:2] if old else 0)'
@$(PYTHON) -m venv --clear $(VENV) || { echo '$(PYTHON) cannot make a virtual environment: Debian and Ubuntu keep that in the package python3-venv' >&2; exit 1; }
endef

$(VENV)/.runs: pyproject.toml
	$(FRESH_VENV)
	@echo 'installing into $(VENV) what the demos need: about a minute, the first time'
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[cli,documents,loopback,serve]'
	@touch $@

# Made again when pyproject.toml changes, so that what it no longer names is not there by accident.
$(INSTALLED): pyproject.toml $(if $(LOCKED),$(LOCK))
	$(FRESH_VENV)
	@echo 'installing into $(VENV): two minutes, the first time'
ifdef LOCKED
	@awk '/^uv==/{of=1} of{print} of&&!/\\$$/{exit}' $(LOCK) > $(VENV)/uv.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes --requirement $(VENV)/uv.txt
	$(BIN)/uv pip install --quiet --compile-bytecode --python $(BIN)/python --no-deps --require-hashes --requirement $(LOCK) || \
		$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-compile --require-hashes --requirement $(LOCK)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
else
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
endif
	@touch $@
