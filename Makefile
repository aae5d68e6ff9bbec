# make quickstart: set up, run a small search on real data, print its front. make test: set up and run the tests.
PYTHON ?= python3
VENV ?= .venv
RUN := $(VENV)/bin
INSTALLED := $(VENV)/installed

.PHONY: quickstart test test-fast test-gpu lint types imports check clean

$(INSTALLED): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	# torch first: with it in place, nothing else asks for another build of it.
	$(RUN)/python -m pip install --quiet --constraint constraints.txt torch
	$(RUN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $(INSTALLED)

quickstart: $(INSTALLED)
	$(RUN)/cbam-search launch search_spaces/quickstart.yaml
	@echo 'To have these commands on your path: . $(VENV)/bin/activate'

test: $(INSTALLED)
	$(RUN)/python -m pytest -n 2 --dist loadfile

test-fast: $(INSTALLED)
	$(RUN)/python -m pytest -n 2 --dist loadfile -m 'not slow'

test-gpu: $(INSTALLED)
	$(RUN)/python -m pytest -m gpu

lint: $(INSTALLED)
	$(RUN)/ruff check .
	$(RUN)/ruff format --check .

types: $(INSTALLED)
	$(RUN)/mypy

imports: $(INSTALLED)
	$(RUN)/lint-imports

check: lint types imports test

clean:
	rm -rf $(VENV)
