# make install | search | test | lint | clean. The first call makes .venv and installs into it.
PYTHON ?= python3
RUN ?= runs/quick-$(shell date +%Y%m%d-%H%M%S)
BIN := .venv/bin

.PHONY: install search test lint format clean

install: .venv/installed

.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $@

# Search on synthetic data, retrain what was found beside its rivals, draw it: about three minutes on two cores.
search: install
	$(BIN)/python -m nas.search --out $(RUN)/search
	$(BIN)/python -m retrain.compare --genotypes $(RUN)/search/genotype.yaml random:0 fpn --recipe quick --out $(RUN)/compare
	$(BIN)/python -m nas.visualize $(RUN)/search/genotype.yaml -o $(RUN)/cells.svg

test: install
	$(BIN)/python -m pytest

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: install
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf .venv runs build *.egg-info
