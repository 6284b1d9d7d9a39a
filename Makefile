# Every target sets up what it needs first; the set-up is done again only when pyproject.toml or
# constraints.txt has changed.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

# Label Studio's child processes and the tests must never go out of this machine.
export NO_ALBUMENTATIONS_UPDATE = 1

.PHONY: install demo test test-slow check docs format bench screenshots clean

install: $(READY)

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(0 if (3, 11) <= v < (3, 14) else \
	  f"labelloop needs Python 3.11 to 3.13, {sys.executable} is {v[0]}.{v[1]}: make PYTHON=python3.12")'
	@if command -v uv >/dev/null 2>&1; then \
	  test -x $(BIN)/python || uv venv --quiet --python $(PYTHON) $(VENV); \
	  uv pip install --quiet --python $(BIN)/python -c constraints.txt -e '.[dev]'; \
	else \
	  test -x $(BIN)/python || $(PYTHON) -m venv $(VENV); \
	  $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'; \
	fi
	@touch $(READY)

demo: install
	$(BIN)/labelloop demo

# Two at once, one thread each; a file stays together, since its tests share servers.
test: install
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m "not slow" -n 2 --dist loadfile

test-slow: install
	$(BIN)/python -m pytest -m slow

check: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/cog --check -U -I . docs/reference/*.md

docs: install
	$(BIN)/cog -r -U -I . docs/reference/*.md

format: install
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# duplicates_fit makes coefficients, not figures, so it is not here.
BENCHMARKS := embedding head_vs_finetune sample_gain duplicates duplicates_at_scale quality outliers \
  label_errors balance bias export imports snapshots rules

bench: install
	for program in $(BENCHMARKS); do $(BIN)/python -m benchmarks.$$program || exit 1; done

screenshots: install
	$(BIN)/python docs/screenshots.py

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .import_linter_cache demo
