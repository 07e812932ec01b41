# Everything runs inside .venv, which is made on first use with the exact versions of constraints.txt.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
RUN := runs/demo
SAMPLE := data/demo/sample

.PHONY: help venv demo test lint format clean

help:  ## list these targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' Makefile

venv: $(READY)  ## make .venv, unless it is there and up to date

demo: $(READY)  ## train on the embedded corpus, score and translate: what tfcli does, in a few minutes
	$(BIN)/tfcli tokenize recipes/demo.yaml
	$(BIN)/tfcli train recipes/demo.yaml
	$(BIN)/tfcli translate $(RUN) $(SAMPLE).en -o $(RUN)/sample.de
	@echo
	@paste $(SAMPLE).en $(RUN)/sample.de $(SAMPLE).de | awk -F '\t' \
		'{printf "source       %s\ntranslation  %s\nreference    %s\n\n", $$1, $$2, $$3}'
	$(BIN)/tfcli eval $(RUN)
	@echo
	@echo "Where everything lies:"
	@echo "  $(RUN)/best/          the model: all that translate and eval need"
	@echo "  $(RUN)/sample.de      the translations above, of $(SAMPLE).en"
	@echo "  $(RUN)/scores.json    the scores above; eval/ holds the translations of the test set"
	@echo "  $(RUN)/metrics.jsonl  the course of the training; log.txt tells it in words"
	@echo "  $(RUN)/recipe.yaml    every setting, the defaults written out"
	@echo "Translate something: echo 'The dog is beautiful.' | $(BIN)/tfcli translate $(RUN)"

test: lint  ## run everything: format, linter, types, import contracts and all tests
	$(BIN)/pytest -n 2

lint: $(READY)  ## run the checks without the tests: format, linter, types, import contracts
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy --strict tfcli
	$(BIN)/lint-imports --no-logo

format: $(READY)  ## format the code and repair what the linter can
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:  ## remove .venv, caches and build leftovers; runs/ stays
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache
	find . -type d -name __pycache__ -prune -exec rm -rf {} +

# Some distributions ship Python with pip but without ensurepip: there, pip is put into .venv from outside.
# The build's own tools are constrained through the environment: pip before 25.3 heeds PIP_CONSTRAINT there, later
# ones PIP_BUILD_CONSTRAINT.
$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
		echo "tfcli needs Python 3.11 or newer; '$(PYTHON)' is: $$($(PYTHON) --version 2>&1)" >&2; \
		echo "Name another one, as in: make $(MAKECMDGOALS) PYTHON=python3.12" >&2; exit 1; }
	@$(BIN)/python -c 'import sys, pip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
		|| $(PYTHON) -m venv --clear $(VENV) \
		|| { $(PYTHON) -m venv --clear --without-pip $(VENV) && $(PYTHON) -m pip --python $(BIN)/python install pip; }
	PIP_CONSTRAINT=constraints.txt PIP_BUILD_CONSTRAINT=constraints.txt \
		$(BIN)/python -m pip install --disable-pip-version-check --editable '.[dev,fast,tensorboard,report]'
	@touch $@
