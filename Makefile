# Two commands do everything on a machine with Python 3.11 or newer and make:
#   make demo    the comparison on JapaneseVowels, then one utterance streamed sample by sample
#   make test    format, lint, imports, types, tests
# A third, with Node.js and Chromium: make browser trains, builds and tests the example page.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DEMO := results/demo
PAGE := examples/browser

.PHONY: demo test lint format browser clean

$(VENV)/.ready: requirements.lock pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet "$$(grep '^torch==' requirements.lock)"  # first, so that nothing else chooses a torch
	$(BIN)/pip install --quiet -r requirements.lock
	$(BIN)/pip install --quiet --no-deps --no-build-isolation -e runtime -e .
	touch $@

demo: $(VENV)/.ready
	$(BIN)/aaren compare classify --data JapaneseVowels --layers aaren attention gru --seeds 3 --out $(DEMO)
	@echo; echo "One utterance of the test part, sample by sample (case 9, which is not clear from the start):"
	$(BIN)/aaren stream $(DEMO)/cells/JapaneseVowels-aaren-0/model --data JapaneseVowels --case 9 --show bars

lint: $(VENV)/.ready
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/lint-imports
	$(BIN)/pyright

# The first call checks the shape annotations of the whole package as it runs; the second holds what these checks would
# get in the way of (compile, export, the library's own error messages).
PYTEST := OMP_NUM_THREADS=1 $(BIN)/pytest -q -n 2 --cov=aaren --cov=aaren_runtime
test: lint
	$(PYTEST) -m "not unchecked" --jaxtyping-packages=aaren,beartype.beartype --cov-report= --cov-fail-under=0
	JAXTYPING_DISABLE=1 $(PYTEST) -m unchecked --cov-append --cov-report=term

browser: $(VENV)/.ready
	@command -v npm >/dev/null || { echo "make browser needs Node.js 20.19 or newer with npm" >&2; exit 1; }
	@command -v "$${CHROMIUM:-chromium}" >/dev/null || { echo "make browser needs Chromium (CHROMIUM=its path)" >&2; exit 1; }
	OMP_NUM_THREADS=1 $(BIN)/python $(PAGE)/make_model.py
	npm --prefix $(PAGE) ci --ignore-scripts --no-audit --no-fund
	npm --prefix $(PAGE) run build
	npm --prefix $(PAGE) test

format: $(VENV)/.ready
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:
	rm -rf $(VENV) build dist .pytest_cache .ruff_cache .hypothesis .coverage*
