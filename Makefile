# Two commands do everything on a fresh machine: `make demo` and `make test`.
VENV ?= .venv
PYTHON ?= python3
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: help setup demo test check format constraints clean

help:
	@echo "make demo    screen seven sulfides with the mocked DFT, from CIF to ranked conductors"
	@echo "make test    all checks and tests"
	@echo "make check   ruff, mypy, import rules and codespell only"
	@echo "make format  let ruff format the code"
	@echo "make clean   remove the demo's results"

setup: $(READY)

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[dev]"
	touch $(READY)

demo: $(READY)
	@[ -d demo ] || $(BIN)/ionsieve init demo
	$(BIN)/ionsieve run demo/screening.yaml

check: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo --no-cache
	$(BIN)/codespell

test: check
	$(BIN)/pytest -n 2 --dist loadfile

format: $(READY)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# After a change of pyproject.toml: resolve anew in a clean environment and write it down.
constraints:
	rm -rf build/constraints
	$(PYTHON) -m venv build/constraints
	build/constraints/bin/pip install --quiet --disable-pip-version-check ".[dev]"
	(echo "# Exact versions for a reproducible set-up; regenerate with: make constraints"; \
	 build/constraints/bin/pip freeze --exclude ionsieve) > constraints.txt

clean:
	rm -rf demo
