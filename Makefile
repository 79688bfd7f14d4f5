# Everything runs in .venv, which `make setup` builds from the hashed lock and every other target asks for.

.DEFAULT_GOAL := help
SHELL := /bin/sh
PY := .venv/bin/python
WORKERS ?= 0

.PHONY: help
help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' Makefile

.PHONY: setup
setup: .venv/.ready ## Build .venv from the lock (again only when the lock has changed)
	@:

.PHONY: demo
demo: .venv/.ready ## Replay a small synthetic market and write its report
	@.venv/bin/quorum demo

.PHONY: test
test: .venv/.ready ## Run the tests
	@$(PY) -m pytest -q $(if $(filter-out 0,$(WORKERS)),-n $(WORKERS) --dist loadfile)

.PHONY: lint
lint: .venv/.ready ## Check style, format and types
	@.venv/bin/ruff check --quiet .
	@.venv/bin/ruff format --check --quiet .
	@.venv/bin/mypy --no-error-summary

.PHONY: format
format: .venv/.ready ## Format the code and mend what ruff can mend by itself
	@.venv/bin/ruff check --quiet --fix-only .
	@.venv/bin/ruff format --quiet .

.PHONY: bench
bench: .venv/.ready ## Measure the replay's speed and memory beside other engines
	@$(MAKE) --no-print-directory --silent .venv-peers/.ready || echo "bench: going on without the peers" >&2
	@$(PY) benchmarks/replay.py

.PHONY: crosscheck
crosscheck: .venv-crosscheck/.ready ## Check the accounting against an independent implementation
	@.venv-crosscheck/bin/python -m pytest -q tests/crosscheck

.PHONY: versions
versions: .venv/.ready ## Demand the same logs of every Python that is here
	@sh requirements/versions.sh

.PHONY: kafka
kafka: .venv/.ready ## Run an Apache Kafka on 127.0.0.1:9092 until Ctrl-C (needs a JDK and Maven, no Docker)
	@$(PY) deploy/kafka/broker.py

.PHONY: kafka-jars
kafka-jars: ## Fetch the jars that deploy/kafka/pom.xml asks for, and write down what they are
	@rm -rf .kafka/lib && mvn -B -q -f deploy/kafka/pom.xml dependency:copy-dependencies -DincludeScope=runtime \
	    -DoutputDirectory=$(CURDIR)/.kafka/lib
	@cd .kafka/lib && sha256sum *.jar >../../deploy/kafka/jars.sha256

.PHONY: lock
lock: .venv-lock/bin/uv ## Write the locks anew from pyproject.toml (UPGRADE=1 takes the newest versions)
	@$(COMPILE) --output-file requirements/runtime.lock
	@$(COMPILE) --group dev --constraints requirements/runtime.lock --output-file requirements/dev.lock
	@$(COMPILE) --group crosscheck --constraints requirements/dev.lock --output-file requirements/crosscheck.lock

# One version of a package for every Python and system, so that a replay computes with the same code everywhere.
COMPILE = .venv-lock/bin/uv pip compile pyproject.toml $(if $(UPGRADE),--upgrade) --quiet --no-header --universal \
    --fork-strategy fewest --python-version 3.11 --generate-hashes --no-emit-index-url

.PHONY: clean
clean: ## Remove what the other targets have built
	rm -rf .kafka .venv .venv-crosscheck .venv-lock .venv-3.* build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The stamp is written last, so a set-up that was broken off starts again. `python` is asked for because an
# upgrade of the system may have taken away the interpreter that the environment points to.
.venv/.ready: requirements/dev.lock requirements/setup.sh pyproject.toml .venv/bin/python
	@sh requirements/setup.sh .venv requirements/dev.lock && touch $@

.venv-crosscheck/.ready: requirements/crosscheck.lock requirements/setup.sh pyproject.toml .venv-crosscheck/bin/python
	@sh requirements/setup.sh .venv-crosscheck requirements/crosscheck.lock && touch $@

.venv-peers/.ready: benchmarks/requirements-peers.txt benchmarks/peers/setup.sh .venv-peers/bin/python
	@sh benchmarks/peers/setup.sh .venv-peers benchmarks/requirements-peers.txt && touch $@

.venv/bin/python .venv-crosscheck/bin/python .venv-peers/bin/python: ;

.venv-lock/bin/uv:
	@python3 -m venv .venv-lock && .venv-lock/bin/python -m pip install --quiet --disable-pip-version-check uv
