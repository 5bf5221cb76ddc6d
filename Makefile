# `make serve` needs Python 3.11, 3.12 or 3.13 with venv, and nothing else. `make help` lists the rest.

# Debian's own first: it is built with profiles, and runs Python code in two thirds of the time that a plain build takes
# (pyenv's, say).
DEBIANS := $(wildcard /usr/bin/python3.11)
PY ?= $(shell for p in $(DEBIANS) python3.11 python3.12 python3.13; do \
	$$p -c 'import ensurepip' 2>/dev/null && echo $$p && exit; done; echo python3)
PORT ?= 3305
WORKERS ?= 2
DEBUG ?= 1
export DEBUG
# What is started often is compiled once.
unexport PYTHONDONTWRITEBYTECODE

BIN := .venv/bin
INSTALL := $(BIN)/python -m pip install -q --disable-pip-version-check --retries 10 --timeout 60 --require-hashes
COMPILE := $(BIN)/pip-compile -q --generate-hashes --strip-extras --allow-unsafe \
	--no-emit-index-url --no-emit-find-links --no-emit-trusted-host

# The driver of PostgreSQL is installed where DATABASE_URL asks for it.
RUN := $(if $(filter postgres%,$(DATABASE_URL)),.venv/.run-postgres,.venv/.run)

.DEFAULT_GOAL := help
.PHONY: help serve worker lab lab-down test test-fast lint format bench requirements install install-dev clean
.PHONY: checks debian-if-possible ensurepip libvirt-if-possible postgres-if-possible

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-14s %s\n", $$1, $$2}'

serve: $(RUN) ## install, migrate, seed the demo and run everything at http://localhost:3305 (PORT, WORKERS, DEBUG)
	@exec $(BIN)/python manage.py serve --port $(PORT) --workers $(WORKERS)

worker: $(RUN) ## one more worker
	@exec $(BIN)/python manage.py worker

lab: .venv/.run .venv/.libvirt ## two hypervisors on this machine (root on Debian), and the site on them (PORT, WORKERS)
	@exec $(BIN)/python -m lab serve --port $(PORT) --workers $(WORKERS)

lab-down: .venv/bin/python ## remove the lab's hypervisors, their VMs and its site
	@$(BIN)/python -m lab down

test: .venv/bin/python ## all that must hold before a change goes in
	@$(MAKE) --jobs=2 --output-sync=target .venv/.dev debian-if-possible
	@$(MAKE) --jobs=2 --output-sync=target lint postgres-if-possible checks
	$(BIN)/python -m pytest -n 2
	$(BIN)/python -m tests.postgres $(BIN)/python -m pytest -n 2 -m "not one_engine"

test-fast: .venv/.dev ## the tests without those that start processes
	$(BIN)/python -m pytest -n 2 -m "not processes and not hypervisor"

checks: .venv/.dev
	$(BIN)/python manage.py makemigrations --check --dry-run
	$(BIN)/python manage.py check

lint: .venv/.dev ## ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy .

format: .venv/.dev ## let ruff write the sources
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: libvirt-if-possible ## measure the API, and what real hypervisors cost
	$(BIN)/python -m bench
	$(BIN)/python -m tests.postgres $(BIN)/python -m bench
	@if [ -e .venv/.libvirt ]; then $(BIN)/python -m bench.hypervisor; fi

requirements: .venv/.dev ## lock the dependencies of pyproject.toml anew
	$(COMPILE) -o requirements.txt pyproject.toml
	$(COMPILE) --extra postgres -c requirements.txt -o requirements-postgres.txt pyproject.toml
	$(COMPILE) --extra libvirt -c requirements.txt -o requirements-libvirt.txt pyproject.toml
	$(COMPILE) --extra dev --extra postgres -c requirements.txt -o requirements-dev.txt pyproject.toml

install: $(RUN) ## what the site needs
install-dev: .venv/.dev ## and what its tests need

clean: ## remove what was installed and built; the data under var/ stays
	rm -rf .venv .mypy_cache .pytest_cache .ruff_cache
	find . -path ./var -prune -o -name __pycache__ -type d -prune -exec rm -rf {} +

.venv/.run: requirements.txt | .venv/bin/python
	$(INSTALL) -r requirements.txt
	@touch $@

.venv/.run-postgres: requirements-postgres.txt | .venv/bin/python
	$(INSTALL) -r requirements-postgres.txt
	@touch $@

# libvirt-python comes as source alone, and is compiled against Debian's libvirt.
.venv/.libvirt: requirements-libvirt.txt | .venv/bin/python
	$(BIN)/python -m lab packages
	$(INSTALL) -r requirements-libvirt.txt
	@touch $@

libvirt-if-possible: .venv/.dev
	@if $(BIN)/python -m lab possible; then $(MAKE) .venv/.libvirt; elif [ -n "$$CI" ]; then exit 1; fi

# What apt installs, beside what pip does; whatever it lacks is told by the two that want it.
debian-if-possible: .venv/bin/python
	@if $(BIN)/python -m lab possible 2>/dev/null; then $(BIN)/python -m lab packages; fi

postgres-if-possible: libvirt-if-possible
	@$(BIN)/python -m tests.postgres

.venv/.dev: requirements-dev.txt | .venv/bin/python
	$(INSTALL) -r requirements-dev.txt
	@touch $@

.venv/bin/python: | $(if $(wildcard .venv/bin/python),,ensurepip)
	@$(PY) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' || { \
		echo "AIWM needs Python 3.11, 3.12 or 3.13; $(PY) is not one. Say which: make serve PY=/path/to/python3.11"; exit 1; }
	@$(PY) -c 'import ensurepip' 2>/dev/null || { \
		echo "$(PY) cannot make a virtual environment. On Debian or Ubuntu: sudo apt-get install its package, as python3.11-venv"; exit 1; }
	$(PY) -m venv .venv || { rm -rf .venv; exit 1; }

# Debian keeps ensurepip, which venv needs, in a package of its own. Where that is not to be had another Python may do.
ensurepip: WANTED = $(or $(if $(filter file,$(origin PY)),$(DEBIANS)),$(PY))
ensurepip:
	@if [ "$$(id -u)" = 0 ] && [ -e /etc/debian_version ] \
			&& $(WANTED) --version >/dev/null 2>&1 && ! $(WANTED) -c 'import ensurepip' 2>/dev/null; then \
		package=$$($(WANTED) -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])'); \
		echo "Installing $$package ..."; \
		apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq $$package >/dev/null || true; \
	fi
