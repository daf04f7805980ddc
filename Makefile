# Every habit of this project is a target here; each works on a fresh clone. `make help` lists them.

VENV   := .venv
BIN    := $(VENV)/bin
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
            command -v $$p >/dev/null 2>&1 && $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)

.DEFAULT_GOAL := help
.PHONY: help run demo test test-fast test-cluster check format bench docs engines engine-cassandra lock clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 18

run: $(VENV)/.run ## start everything on embedded defaults: MQTT 1883, WebSocket 8083, HTTP 8080, data in ./var
	@$(BIN)/tidings up

demo: $(VENV)/.run ## print the transcript of the system using itself, on free ports and a temporary folder
	@$(BIN)/tidings demo

test: $(VENV)/.dev ## every test
	$(BIN)/pytest -n 2 --dist worksteal

test-fast: $(VENV)/.dev ## the tests that take seconds
	$(BIN)/pytest -n 2 --dist worksteal -m 'not slow'

test-cluster: $(VENV)/.dev engines ## the tests on three Cassandra nodes, of which one is killed (about 2 GB of memory)
	TIDINGS_TEST_CLUSTER=1 $(BIN)/pytest tests/integration/cql/test_owners.py

check: $(VENV)/.dev ## format, lint, types, import contract, generated documents
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m app.documents --check

format: $(VENV)/.dev ## format the code and mend what the linter can
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(VENV)/.dev ## the same clients on a bare broker and on Tidings: rates, latencies, CPU a message
	$(BIN)/python -m bench

docs: $(VENV)/.dev ## generate AsyncAPI, OpenAPI and the tables in docs/
	$(BIN)/python -m app.documents
	$(BIN)/python -m tests.conformance.broker.document

engines: $(BIN)/python ## fetch what the engines' tests need, into ./var/engines (Cassandra's jars, 67 MiB, by Maven)
	@$(BIN)/python -m ops.engines.cassandra fetch

engine-cassandra: $(BIN)/python ## run one Cassandra node, CQL on 127.0.0.1:9042, until Ctrl-C
	@$(BIN)/python -m ops.engines.cassandra run

lock: $(VENV)/.dev ## write what is installed now to constraints.txt
	$(BIN)/pip freeze --exclude-editable > constraints.txt

clean: ## remove what the targets made, but not the data in ./var
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis *.egg-info clients/*.egg-info

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "Tidings needs Python 3.11 or newer; none was found on the PATH" >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { echo "python's venv module is missing; on Debian: apt-get install python3-venv" >&2; exit 1; }

$(VENV)/.run: setup.cfg clients/setup.cfg constraints.txt | $(BIN)/python
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e clients -e .
	@touch $@

$(VENV)/.dev: setup.cfg clients/setup.cfg constraints.txt | $(BIN)/python
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e clients -e '.[dev]'
	@touch $@ $(VENV)/.run
