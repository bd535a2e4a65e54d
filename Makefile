# Needs Python >= 3.11 with pip and venv, and make; sets up everything else in .venv by itself.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
# Torch is installed first and by itself: a package that asks for any torch would bring the largest
# build there is. For another build: make TORCH='torch==... --index-url ...' test
TORCH ?= torch==2.13.0
# Processes that run tests, one a core.
WORKERS ?= 2
PYTEST = $(BIN)/pytest -n $(WORKERS) --no-loadscope-reorder
EXAMPLE := tasks/example/predictions.csv

.PHONY: demo test perf format clean
.NOTPARALLEL:

demo: $(VENV)/.demo
	@echo '$$ cfbench score $(EXAMPLE) --track example'
	@$(BIN)/cfbench score $(EXAMPLE) --track example
	@echo
	@echo 'These numbers are made up. Those that follow are not: baselines on the embedded track.'
	@echo '$$ cfbench run-baseline'
	@$(BIN)/cfbench run-baseline
	@echo
	@echo 'Where to go next:'
	@echo '  $(BIN)/cfbench score $(EXAMPLE) --track example --explain   everything that was computed'
	@echo '  $(BIN)/cfbench show runs/wav2vec2-aasist-mini/scorecard.json   a baseline, in full'
	@echo '  $(BIN)/cfbench leaderboard build submissions --out site   the leaderboard: site/index.html'
	@echo '  make demo SERVE=1   the same as a web app, which stays'
	@echo '  $(BIN)/cfbench --help   the commands'
	@echo '  README.md   how to score a system of your own on CodecFake+'
ifdef SERVE
	@$(PIP) install -e '.[baseline,space]'
	@$(BIN)/cfbench leaderboard serve submissions --track codecfake-mini
endif

test: $(VENV)/.dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(PYTEST) -m 'not slow'
	$(PYTEST) -m slow

perf: $(VENV)/.dev
	$(BIN)/python tests/performance/score.py
	$(BIN)/python tests/performance/coverage.py
	$(BIN)/python tests/performance/audio.py
	$(BIN)/python tests/performance/model.py
	$(BIN)/python tests/performance/mini.py
	$(BIN)/python tests/performance/data.py
	$(BIN)/python tests/performance/extraction.py
	$(BIN)/python tests/performance/hub.py
	$(BIN)/python tests/performance/leaderboard.py
	$(BIN)/python tests/performance/space.py

format: $(VENV)/.dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) build dist benchmark/*.egg-info
	rm -rf .pytest_cache .mypy_cache .ruff_cache .hypothesis .coverage
	find benchmark tests -name __pycache__ -type d -prune -exec rm -rf {} +

# A changed pyproject.toml makes the environment anew. A stamp is set only when its step is done.
$(VENV)/.made: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and f"cfbench needs Python 3.11 or newer; this is {sys.version.split()[0]}. make PYTHON=python3.12 picks another.")'
	@echo 'setting up $(VENV) (once)'
	@$(PYTHON) -m venv --clear $(VENV)
	@touch $@

$(VENV)/.demo: $(VENV)/.made
	@$(PIP) install $(TORCH)
	@$(PIP) install -e '.[baseline]'
	@touch $@

$(VENV)/.dev: $(VENV)/.made
	@$(PIP) install $(TORCH)
	@$(PIP) install -e '.[dev]'
	@touch $@ $(VENV)/.demo
