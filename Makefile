# Everything a newcomer runs. `make demo` and `make test` set up what they need and nothing else.
# PYTHON is any Python from 3.11; the virtual environment is made once, in the tree.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check -q
NATIVE_SOURCES := $(shell find native -type f \( -name '*.cpp' -o -name '*.hpp' -o -name '*.h' -o -name '*.cu' -o -name '*.cuh' -o -name '*.inc' -o -name 'CMakeLists.txt' -o -name '*.in' \) 2>/dev/null)

.PHONY: help demo test check unit install install-dev native-test exhaustive bench bench-peers fuzz sanitize \
        gfpq-libs golden samples pictures clean

help:
	@echo 'make demo        build, compare the embedded pair of networks, leave demo/report.html'
	@echo 'make test        everything: checks, C++ tests, Python tests, browser tests'
	@echo 'make check       ruff, mypy, import rules, C++ tests'
	@echo 'make exhaustive  every float32 pattern against the reference (minutes)'
	@echo 'make bench       speed as ratios measured in one run'
	@echo 'make bench-peers like tools on the same networks, whole processes (installs them, up to an hour)'
	@echo 'make sanitize    C++ tests under the address and undefined-behaviour sanitizers'
	@echo 'make fuzz        one minute of each fuzzer'
	@echo 'make gfpq-libs   the drop-in library laid out as GFPQLibs/{include,lib,sample}'
	@echo 'make golden      rewrite the expected pages of the report; read the diff'
	@echo 'make samples     render the sample reports to reports/samples/pages'
	@echo 'make clean       remove build folders and the virtual environment'

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo 'Python 3.11 or later is needed: make PYTHON=/path/to/python3.12 ...' >&2; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(PIP) install --upgrade pip

# The build tools stay in the environment, so that a second run compiles only what changed.
$(VENV)/.installed: $(BIN)/python pyproject.toml $(NATIVE_SOURCES)
	$(PIP) install 'scikit-build-core>=0.10' 'nanobind>=2.4' 'cmake>=3.26' ninja
	$(PIP) install --no-build-isolation --editable .
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	$(PIP) install --no-build-isolation --editable '.[dev]'
	$(PIP) install --constraint fixtures/constraints.txt torch
	@touch $@

install: $(VENV)/.installed
install-dev: $(VENV)/.installed-dev

demo: $(VENV)/.installed
	@mkdir -p demo
	$(BIN)/gfpq-inspect compare fixtures/digits/float.caffemodel fixtures/digits/quant.caffemodel \
	  --input fixtures/digits/test.npz --html demo/report.html --json demo/result.json --csv demo/layers.csv --force
	@echo 'Open demo/report.html in a browser.'

test: $(VENV)/.installed-dev
	$(BIN)/python tests/everything.py

check: $(VENV)/.installed-dev native-test
	$(BIN)/ruff check gfpq_inspect tests fixtures native reports
	$(BIN)/ruff format --check gfpq_inspect tests fixtures
	$(BIN)/mypy
	$(BIN)/lint-imports

# The C++ side by presets of native/CMakePresets.json; tools from the environment, so that nothing else is needed.
NATIVE = cd native && PATH="$(abspath $(BIN)):$$PATH"

native-test: $(VENV)/.installed
	$(NATIVE) cmake --preset tests -G Ninja >/dev/null && cmake --build --preset tests && ctest --preset tests

exhaustive: $(VENV)/.installed-dev
	$(NATIVE) cmake --preset tests -G Ninja >/dev/null && cmake --build --preset tests
	build/tests/gfpq_exhaustive
	GFPQ_EXHAUSTIVE=1 $(BIN)/python -m pytest -q tests/native
	$(NATIVE) cmake -S . -B ../build/twin -G Ninja -DGFPQ_PYTHON=OFF >/dev/null && cmake --build ../build/twin --target gfpq_device_twin
	$$(find build/twin -name gfpq_device_twin -type f) --all
	@if command -v aarch64-linux-gnu-g++ >/dev/null && command -v qemu-aarch64 >/dev/null; then \
	  ( $(NATIVE) cmake --preset aarch64 -G Ninja >/dev/null && cmake --build --preset aarch64 && ctest --preset aarch64 ); \
	else echo 'not run: 64-bit ARM (needs g++-aarch64-linux-gnu and qemu-user)'; fi

sanitize: $(VENV)/.installed
	$(NATIVE) cmake --preset sanitize -G Ninja >/dev/null && cmake --build --preset sanitize && ctest --preset sanitize

fuzz: $(VENV)/.installed-dev
	$(NATIVE) cmake --preset fuzz -G Ninja >/dev/null && cmake --build --preset fuzz
	build/fuzz/gfpq_fuzz -max_total_time=60
	$(PIP) install atheris
	mkdir -p build/fuzz/networks
	$(BIN)/python tests/fuzz/caffe_reader.py build/fuzz/networks -max_total_time=60

bench: $(VENV)/.installed-dev
	$(NATIVE) cmake --preset tests -G Ninja >/dev/null && cmake --build --preset tests
	build/tests/gfpq_bench --json build/bench.json
	$(BIN)/python -m tests.bench.engine --json build/bench-engine.json
	$(BIN)/python -m tests.bench.engine mobilenetv2 squeezenet --isolate
	$(BIN)/python -m tests.bench.engine --real --json build/bench-real.json
	$(BIN)/python -m tests.bench.small --json build/bench-small.json
	$(BIN)/python -m tests.bench.linearity --json build/bench-linearity.json --picture build/linearity.svg
	-$(BIN)/python -m tests.bench.memory resnet50 --json build/bench-memory.json
	-$(BIN)/python -m tests.bench.memory vgg16 --samples 4 16 --json build/bench-memory-vgg16.json
	$(BIN)/python -m tests.bench.report_page

bench-peers: $(VENV)/.installed-dev
	$(BIN)/python -m tests.bench.peers --json build/bench-peers.json

golden: $(VENV)/.installed-dev
	$(BIN)/python -m tests.report.rebaseline
	git diff --stat

samples: $(VENV)/.installed-dev
	$(BIN)/python -m tests.report.rebaseline --pages reports/samples/pages

pictures: demo $(VENV)/.installed-dev
	$(BIN)/python docs/make_pictures.py

unit: $(VENV)/.installed-dev
	$(BIN)/python -m pytest -n 2 --dist loadfile -m 'not slow'

gfpq-libs: $(VENV)/.installed
	$(BIN)/python native/library/gfpq_libs.py --output GFPQLibs

clean:
	rm -rf build build-* demo GFPQLibs $(VENV)
