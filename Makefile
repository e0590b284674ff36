# Two commands are enough for a user: `make run` and `make test`. Everything installs itself into .venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: run test check static fast bench screenshots agents soak clean format

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Engram needs Python 3.11 or newer; set PYTHON=/path/to/python3.11"; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(STAMP): $(BIN)/python pyproject.toml constraints.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $(STAMP)

run: $(STAMP)
	@$(BIN)/engram run $(ARGS)

test: $(STAMP)
	$(BIN)/python -m pytest -q

# Format, lint, types, import contracts, fast tests: under a minute.
check: static fast

static: $(STAMP)
	$(BIN)/ruff format --check --quiet .
	$(BIN)/ruff check --quiet .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo 2>/dev/null || $(BIN)/lint-imports

fast: $(STAMP)
	$(BIN)/python -m pytest -q -m 'not slow and not agents'

format: $(STAMP)
	$(BIN)/ruff check --fix --quiet .
	$(BIN)/ruff format --quiet .

bench: $(STAMP)
	$(BIN)/python -m benchmarks $(ARGS)

screenshots: $(STAMP)
	$(BIN)/python screenshots/make.py

# Pinned real agent CLIs for the end-to-end tests; without them those tests skip with a reason.
agents: $(STAMP)
	$(BIN)/python tests/agents/install.py claude openhands

# The same tests with full counts: thousands of kills, power cuts, damaged bytes and fuzzed messages. Some two hours;
# docs/soak.md says what came out. One part alone: make soak ARGS=tests/crash/test_mixed_kills.py
SOAKED := tests/crash tests/contract/test_mcp_fuzz.py tests/integration/damage tests/unit/runtime/test_forget.py \
	tests/unit/runtime/test_redaction_measured.py
soak: $(STAMP)
	ENGRAM_SOAK=1 $(BIN)/python -m pytest -q -s --durations=0 --timeout=10800 $(or $(ARGS),$(SOAKED))

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
