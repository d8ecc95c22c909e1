# Needs git, make and Python >= 3.11 with venv.  EXTRAS=open3d,... adds optional dependencies; VENV: the environment.
PYTHON ?= python3
EXTRAS ?=
VENV ?= .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed$(if $(EXTRAS),-$(EXTRAS))
PYTEST := $(BIN)/python -m pytest -n 2 --dist worksteal
SKIPPED := .cache/skipped
FUZZ_EXAMPLES ?= 1000
FUZZ_SEED ?= 0

.PHONY: demo test test-extras test-packages test-long check mutation fuzz clean

demo: $(VENV)/.installed-core
	$(BIN)/fgs refine examples/scenes/tumbler --out out/demo --overwrite

test: $(INSTALLED)
	$(PYTEST) --write-skipped=$(SKIPPED)

test-extras: $(INSTALLED)  # what the optional dependencies add to a `make test` without them
	@test -f $(SKIPPED) || { echo "make: $(SKIPPED) is missing: run \`make test\` without EXTRAS first"; exit 2; }
	@grep -v '^tests/bridges/' $(SKIPPED) >$(SKIPPED)-elsewhere || true
	$(PYTEST) tests/bridges @$(SKIPPED)-elsewhere

test-packages: $(INSTALLED)
	$(BIN)/python -m pytest -m packages

test-long: $(INSTALLED)  # `make fuzz` and `make mutation` take longer yet
	$(PYTEST) -m long

check: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright --pythonpath $(BIN)/python

# Hours; MODULES="scale camera" for some of them.
mutation: $(INSTALLED)
	$(BIN)/python -m pip install --quiet --group mutation
	$(BIN)/python -m tools.mutation $(MODULES)

# A quarter of an hour; FUZZ_EXAMPLES=20000 inputs for each reader: hours. READERS="mesh 'hand estimate'" for some.
fuzz: $(INSTALLED)
	$(BIN)/python -m tests.fuzz.campaign --examples $(FUZZ_EXAMPLES) --seed $(FUZZ_SEED) $(READERS)

$(INSTALLED): pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable ".$(if $(EXTRAS),[$(EXTRAS)])" --group dev
	@rm -f $(VENV)/.installed*
	@touch $@ $(VENV)/.installed-core

$(VENV)/.installed-core: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable .
	@touch $@

$(BIN)/python:
	@command -v $(PYTHON) >/dev/null || { echo "make: $(PYTHON) is missing: install Python 3.11 or later, or set PYTHON="; exit 2; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "make: $(PYTHON) is $$($(PYTHON) -V 2>&1), expected Python 3.11 or later: set PYTHON="; exit 2; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null \
	  || { echo "make: $(PYTHON) has no venv: install it (Debian: apt install python3-venv)"; exit 2; }
	$(PYTHON) -m venv $(VENV)

clean:
	rm -rf .venv .venv-extras .cache out
