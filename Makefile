# The project's commands. On a fresh machine `make demo` and `make test` do all set-up themselves.
# Needed beforehand: git, make, Python 3.11+ with venv, Node 20+.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
WORKERS ?= 2
VIEWER_SOURCES := $(shell find viewer -type f -not -path '*/node_modules/*' 2>/dev/null)

.PHONY: setup demo test check bench soak viewer system clean
.DEFAULT_GOAL := setup

setup: $(VENV)/installed viewer   ## the command at .venv/bin/tim, the viewer built

demo: setup                       ## a small coastal place made, tiled and served
	$(BIN)/tim demo

test: setup system                ## every test
	$(BIN)/python -m pytest -n $(WORKERS) $(PYTEST_ARGS)

check: setup                      ## format, lint, types, floors, the viewer's types and lint
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -q tests/test_floors.py
	npm --prefix viewer run --silent check

bench: setup                      ## the numbers of the design, beside peers where they can run
	$(BIN)/python -m benchmarks $(BENCH_ARGS)

soak: setup system                ## the slow tests: kills at many moments, long fuzzing
	TIM_SOAK=1 $(BIN)/python -m pytest -n $(WORKERS) -m slow $(PYTEST_ARGS)

viewer: server/static/index.html

$(VENV)/installed: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed, this is " + sys.version) if sys.version_info < (3, 11) else 0'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || { echo "Python's venv module is missing: apt-get install python3-venv"; exit 1; }
	$(BIN)/python -m pip install --quiet --disable-pip-version-check 'pip>=25.1'
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e . --group dev
	@touch $@

viewer/node_modules/installed: viewer/package.json viewer/package-lock.json
	@command -v npm >/dev/null || { echo "Node 20 or newer with npm is needed to build the viewer: apt-get install nodejs npm"; exit 1; }
	cd viewer && npm ci --no-audit --no-fund --loglevel=error
	@touch $@

server/static/index.html: viewer/node_modules/installed $(VIEWER_SOURCES)
	cd viewer && npm run --silent build
	@touch $@

# What the tests use beyond Python and Node: Chromium (viewer), OpenSceneGraph's osgconv (oracle for OSGB), a Chinese font, nginx and wrk (http), PostgreSQL with
# PostGIS (the package is named for its version, and so is what it depends on).
SYSTEM_PACKAGES := chromium:chromium osgconv:openscenegraph nginx:nginx-light wrk:wrk
system:
	@missing=""; for pair in $(SYSTEM_PACKAGES); do command -v $${pair%%:*} >/dev/null || PATH=$$PATH:/usr/sbin command -v $${pair%%:*} >/dev/null || missing="$$missing $${pair##*:}"; done; \
	ls /usr/share/postgresql/*/extension/postgis.control >/dev/null 2>&1 || missing="$$missing postgresql-postgis"; \
	fc-list :lang=zh 2>/dev/null | grep -q . || missing="$$missing fonts-wqy-zenhei"; \
	[ -z "$$missing" ] && exit 0; \
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	  echo "installing$$missing"; (apt-get -qq update && DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends $$missing) >/dev/null 2>&1 || echo "could not install$$missing: tests that need them say so"; \
	else echo "not installed (tests that need them say so): apt-get install$$missing"; fi

clean:                            ## everything made, nothing written by hand
	rm -rf $(VENV) .demo server/static viewer/node_modules .mypy_cache .ruff_cache .pytest_cache
