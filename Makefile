# Needs git, make and Python >= 3.11 with venv.  EXTRAS=open3d,... adds optional dependencies.
PYTHON ?= python3
EXTRAS ?=
BIN := .venv/bin
INSTALLED := .venv/.installed$(if $(EXTRAS),-$(EXTRAS))

.PHONY: demo test check mutation clean

demo: .venv/.installed-core
	$(BIN)/fgs refine examples/scenes/tumbler --out out/demo --overwrite

test: $(INSTALLED)
	$(BIN)/python -m pytest -n 2 --dist loadfile

check: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright

# Hours; MODULES="scale camera" for some of them.
mutation: $(INSTALLED)
	$(BIN)/python -m pip install --quiet --group mutation
	$(BIN)/python -m tools.mutation $(MODULES)

$(INSTALLED): pyproject.toml | .venv/bin/python
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable ".$(if $(EXTRAS),[$(EXTRAS)])" --group dev
	@rm -f .venv/.installed*
	@touch $@ .venv/.installed-core

.venv/.installed-core: pyproject.toml | .venv/bin/python
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable .
	@touch $@

.venv/bin/python:
	@command -v $(PYTHON) >/dev/null || { echo "make: $(PYTHON) is missing: install Python 3.11 or later, or set PYTHON="; exit 2; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "make: $(PYTHON) is $$($(PYTHON) -V 2>&1), expected Python 3.11 or later: set PYTHON="; exit 2; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null \
	  || { echo "make: $(PYTHON) has no venv: install it (Debian: apt install python3-venv)"; exit 2; }
	$(PYTHON) -m venv .venv

clean:
	rm -rf .venv .cache out
