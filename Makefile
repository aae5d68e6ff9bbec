# make quickstart: set up, run a small search on real data, print its front. make test: set up and run the tests.
PYTHON ?= python3
VENV ?= .venv
RUN := $(VENV)/bin
INSTALLED := $(VENV)/installed

# What an old processor computes with. OPENBLAS_CORETYPE stays as the machine has it: on some, other kernels go wrong.
OLDER := ONEDNN_MAX_CPU_ISA=SSE41 ATEN_CPU_CAPABILITY=default MKL_CBWR=COMPATIBLE \
	NPY_DISABLE_CPU_FEATURES='X86_V3 X86_V4 AVX512_ICL AVX512_SPR'
# Tests of what is computed in floats; the last is slow.
COMPUTING := tests/architecture tests/attention tests/backbones tests/cost tests/training tests/export tests/data \
	tests/test_metrics.py tests/test_pareto.py tests/search/known_cost tests/search/test_space_costs.py
NUMERICS := tests/training/test_numerics.py::test_trainings_come_to_what_was_kept

.PHONY: quickstart test test-fast test-older-processors test-newest-python test-gpu lint types imports check clean

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

test-older-processors: $(INSTALLED)
	$(OLDER) $(RUN)/python -c 'import torch; assert torch.backends.cpu.get_cpu_capability() == "DEFAULT"'
	$(OLDER) $(RUN)/python -m pytest -n 2 --dist loadfile -m 'not slow' $(COMPUTING)
	$(OLDER) $(RUN)/python -m pytest $(NUMERICS)

test-newest-python:
	bash .ci/test-newest-python

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
