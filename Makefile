# Everything runs from a virtual environment of the project's own, filled with the pinned versions.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: setup demo test pytest test-fast lint bench bench-search docs typescript constraints clean

setup: $(VENV)/.installed

# Without bytecode: to compile 12,000 files takes half a minute, and most are never imported.
$(VENV)/.installed: constraints.txt pyproject.toml
	$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("pgface needs Python 3.11 or newer")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --use-pep517 --require-hashes --no-compile \
		-r constraints.txt
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	touch $@

demo: setup
	$(BIN)/python examples/demo.py

# Tests start hundreds of processes that import pgface: it is compiled once, also where bytecode is not written otherwise.
unexport PYTHONDONTWRITEBYTECODE
# One process runs all tests of a file, which share photos and servers. The tests keep all cores busy by themselves:
# threads of linear algebra would only wait for each other.
PYTEST := OPENBLAS_NUM_THREADS=1 OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --dist loadfile --no-loadscope-reorder

test: setup
	$(MAKE) -j2 lint pytest

# Every process of the tests imports the same thousands of modules. Here one process compiles them, for all.
$(VENV)/.compiled: $(VENV)/.installed
	$(BIN)/python -m pytest --collect-only --quiet > /dev/null
	touch $@

pytest: setup $(VENV)/.compiled
	$(PYTEST)

test-fast: setup $(VENV)/.compiled # the inner loop
	$(PYTEST) -m "not slow"

lint: setup
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	$(BIN)/codespell
	$(BIN)/python docs/prose.py --check

docs: setup # the pages that are generated from the code, and all of them as a site: docs/_build/index.html
	$(BIN)/python docs/generate.py
	$(BIN)/sphinx-build --fail-on-warning --keep-going --nitpicky --quiet --fresh-env docs docs/_build
	@echo "Open docs/_build/index.html. For the search, run: $(BIN)/python -m http.server --directory docs/_build 8080"

typescript: # the TypeScript client from docs/reference/openapi.json, and a package to install (needs Node)
	cd clients/typescript && npm ci && npm run generate && npm run lint && npm pack && npm test

bench: setup # side by side with the parts it is made of; some fifteen minutes
	$(BIN)/python benchmarks/bench_gallery.py
	$(BIN)/python benchmarks/bench_service.py
	$(BIN)/python benchmarks/bench_side_by_side.py

bench-search: setup # side by side with exact answers, FAISS, hnswlib, and the specification's own script
	$(BIN)/python benchmarks/bench_search.py

PINS = uv pip compile --universal --python-version 3.11 --generate-hashes --no-header --no-annotate --no-emit-index-url

constraints: # needs uv; versions and hashes only, for every platform, and no addresses
	$(PINS) pyproject.toml --all-extras --group dev --upgrade --output-file constraints.txt
	$(PINS) deploy/build.in --constraint constraints.txt --output-file deploy/build.txt
	$(PINS) deploy/programs.in --no-deps --constraint constraints.txt --output-file deploy/programs.txt
	$(PINS) pyproject.toml --extra dlib --extra sface --extra openvino --extra insightface --extra heif \
		--extra server --extra client --extra s3 --extra backup --constraint constraints.txt --output-file deploy/requirements.txt

clean:
	rm -rf $(VENV) demo-data build dist docs/_build .mypy_cache .pytest_cache .ruff_cache
	cd clients/typescript && rm -rf node_modules dist *.tgz
