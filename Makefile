# Every command of the project. `make help` lists them; CI runs .ci/run, which calls the same targets.
SHELL := /bin/bash
.DEFAULT_GOAL := help

# The first Python on the path that is new enough; `make PYTHON=... setup` chooses another.
PYTHON ?= $(shell for python in python3 python3.13 python3.12 python3.11 python3.14; do \
	"$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo "$$python"; break; }; done)
VENV := .venv
RUN := $(VENV)/bin/python -m
READY := $(VENV)/.ready
PIP := $(RUN) pip --disable-pip-version-check install --quiet --quiet --constraint constraints.txt
SOURCES := src tests bench examples tools
# Tests run in this many processes at once, a file of tests in one of them; 0 runs them one after the other.
TEST_PROCESSES ?= 2

.PHONY: help setup demo up fmt lint types imports test test-fast test-crashes test-replicas check ci bench docs clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(READY) ## make .venv with everything in it; again only when pyproject.toml or constraints.txt changed

# torch comes first: the build that suits the machine is chosen once, before anything else asks for it.
$(READY): pyproject.toml constraints.txt examples/requirements.txt
	@[ -n "$(PYTHON)" ] || { echo "gyropilot needs Python 3.11 or newer on the path (or: make PYTHON=/path/to/python3.11 setup)" >&2; exit 1; }
	@echo "Setting up $(VENV) (torch and transformers among it: some minutes, once) ..."
	@$(PYTHON) -m venv $(VENV) || { echo "$(PYTHON) cannot make virtual environments; on Debian and Ubuntu: apt-get install python3-venv" >&2; exit 1; }
	@$(PIP) torch
	@$(PIP) --editable '.[test,dev,examples]'
# fastai asks for torchvision and spaCy, which its tables do without: they break transformers and take a gigabyte.
	@$(PIP) --no-deps fastai fastdownload fasttransform
	@$(PIP) --no-deps --requirement examples/requirements.txt
	@touch $@

demo: setup ## fine-tune a language model on real data through boto3, and show what it learned
	@$(VENV)/bin/python tools/demo.py

up: setup ## start the service in the foreground (home ~/.gyropilot, port 8747)
	@$(VENV)/bin/gyropilot up

fmt: setup ## format the code
	@$(RUN) ruff format --quiet $(SOURCES)
	@$(RUN) ruff check --quiet --fix $(SOURCES)

lint: setup ## check format and style
	@$(RUN) ruff format --check $(SOURCES)
	@$(RUN) ruff check $(SOURCES)

types: setup ## check types
	@$(RUN) mypy

imports: setup ## check that imports point down only
	@$(VENV)/bin/lint-imports --no-cache

# Tests drive real processes against real clocks; what fails beside others is asked once more, alone, and named.
test: setup ## run every test
	@$(RUN) pytest --numprocesses $(TEST_PROCESSES) --dist loadfile --no-loadscope-reorder || { \
	  [ $$? -eq 1 ] && echo "Once more, one after the other, what failed:" && \
	  $(RUN) pytest --verbose --last-failed --last-failed-no-failures none; }

test-fast: setup ## run the tests that take seconds
	@$(RUN) pytest -m "not slow"

test-crashes: setup ## kill the service and the training child forty times each, on both databases; takes long
	@GYROPILOT_KILLS=40 $(RUN) pytest -s tests/end_to_end/test_crashes.py

test-replicas: setup ## kill replicas two hundred times under a steady stream of calls, and ask servers 2,000 malformed ones; takes some minutes
	@GYROPILOT_KILLS=200 $(RUN) pytest -s tests/serve/replicas/test_replica_storms.py
	@GYROPILOT_FUZZED=2000 $(RUN) pytest tests/conformance/test_servers.py

check: lint types imports docs-check test-fast ## everything that is quick; before each commit

ci: lint types imports test ## everything

docs: setup ## write the generated parts of docs/ and README.md
	@$(VENV)/bin/python tools/docs.py

.PHONY: docs-check
docs-check: setup
	@$(VENV)/bin/python tools/docs.py --check

bench: setup ## measure ours against peers; takes long
	@for file in bench/*.py; do echo "== $$file"; $(VENV)/bin/python "$$file" || exit 1; done

clean: ## remove .venv, caches and the demo's folder
	@rm -rf $(VENV) .demo .mypy_cache .ruff_cache .pytest_cache .import_linter_cache build dist src/*.egg-info
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
