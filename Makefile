# `make demo` and `make test` set up what they need in .venv on first use; a second run starts at once.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin

.DEFAULT_GOAL := help
.PHONY: help demo test test-full mutate lint format clean

help:
	@echo "make demo   the whole story: build, sign, update with link and power cuts, roll back"
	@echo "make test   set up and pass the tests"
	@echo "make lint   ruff and mypy        make format   ruff format"
	@echo "make test-full   the long sweeps      make mutate   switch off each rule, see the tests fail"

$(VENV)/.base: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit("Chargeflash needs Python 3.11 or later; use make PYTHON=/path/to/python3.11" if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/.demo: $(VENV)/.base
	@echo "setting up .venv for the demo (once)"
	$(BIN)/pip install --quiet --disable-pip-version-check -e '.[demo]'
	@touch $@

$(VENV)/.dev: $(VENV)/.base
	@echo "setting up .venv for the tests (once)"
	$(BIN)/pip install --quiet --disable-pip-version-check -e '.[dev]'
	@touch $@ $(VENV)/.demo

# MicroPython's modules, for mypy only: never in the project's own environment, they shadow the standard library.
typings/unix/.done: $(VENV)/.dev
	$(BIN)/pip install --quiet --disable-pip-version-check --target typings/unix 'micropython-unix-stubs>=1.25,<2'
	@touch $@

demo: $(VENV)/.demo
	$(BIN)/python -m hil.demo

test: $(VENV)/.dev
	@sh tests/install_mosquitto.sh
	$(BIN)/python -m pytest -n 2 tests

test-full: $(VENV)/.dev
	@sh tests/install_mosquitto.sh
	$(BIN)/python -m pytest -n 2 tests --full

mutate: $(VENV)/.dev
	$(BIN)/python -m tests.mutate --jobs 2

lint: $(VENV)/.dev typings/unix/.done
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/mypy --config-file mypy-device.ini

format: $(VENV)/.dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:
	rm -rf build .pytest_cache .mypy_cache .ruff_cache .hypothesis
