# Two commands do all set-up on a fresh machine: `make run` and `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/pip install --quiet --disable-pip-version-check -c requirements.lock

.PHONY: run test test-postgres lint types unit browser train-env lock clean

run: $(VENV)/base.stamp ## start the service with a generated, already scored demo pair
	$(BIN)/jingdi serve --demo

test: lint types unit ## everything CI checks, on SQLite

# A module stays in one process, so that what it made for itself is made once.
SIDE_BY_SIDE := --numprocesses auto --maxprocesses 4 --dist loadfile
# They share the cores: threads of their own on top of that only wait for each other.
unit test-postgres: export OMP_NUM_THREADS = 1

DATABASE_TESTS = $(wildcard $(patsubst %,tests/test_%.py,api audit bulletin comparisons corrections database demo idempotency ledger_* models_api nightly_* notify_* ogc pages_field pages_pick pages_triage people_* public queue_* rebound registry* reports* scans scenes_api scenes_pick scenes_runs triage* uploads watch))
test-postgres: $(VENV)/dev.stamp ## what touches the database once more, on a PostgreSQL of its own
	tests/postgres.sh $(BIN)/pytest $(SIDE_BY_SIDE) $(DATABASE_TESTS)

train-env: $(VENV)/dev.stamp ## add what training needs

lint: $(VENV)/dev.stamp
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/dev.stamp
	$(BIN)/mypy

unit: $(VENV)/dev.stamp browser
	$(BIN)/pytest $(SIDE_BY_SIDE)

# The browser test drives Debian's Chromium; Playwright's own download is not used.
browser:
	@command -v chromium >/dev/null || { $(call apt,chromium) ; } \
		|| { echo "The browser test needs Chromium: install the package 'chromium' and run again." >&2; exit 1; }

$(VENV)/base.stamp: pyproject.toml requirements.lock | $(BIN)/python
	$(PIP) -e .
	@touch $@

$(VENV)/dev.stamp: pyproject.toml requirements.lock | $(BIN)/python
	$(PIP) -e '.[train,dev]'
	@touch $(VENV)/base.stamp $@

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "Jingdi needs Python 3.11 or later; name one with 'make PYTHON=...'." >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || { $(call apt,python3-venv) ; }
	$(PYTHON) -m venv $(VENV)

# What stands in the environment becomes the lock: exact versions, without the local part of a build.
lock:
	$(BIN)/pip freeze --exclude-editable | sed -E 's/\+[a-z0-9.]+$$//' > requirements.lock

clean:
	rm -rf $(VENV) var runs build *.egg-info

apt = run="env DEBIAN_FRONTEND=noninteractive apt-get"; [ "$$(id -u)" = 0 ] || run="sudo -n $$run"; \
	$$run update -q && $$run install -q -y --no-install-recommends $(1)
