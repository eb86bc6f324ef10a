# make demo, make test, make lint, make docs: each sets up .venv first, once, and again when what it is made from has changed.

PYTHON := python3
VENV := .venv
ROOMS := gridgate data transforms networks pipeline bundles
# A worker per core, four at most (each holds torch and MONAI), of one thread; a file's tests stay in one worker, so that
# what they share is made once, and files come in the order of tests/conftest.py.
TEST_FLAGS := -n auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder
STAMP := $(VENV)/.set-up

.PHONY: set-up compiled demo test interop lint format docs clean
.DEFAULT_GOAL := set-up

set-up: $(STAMP)

# pip compiles on one core; compileall uses all, and skips the tests that torch, scipy and sympy carry. Not compiling at
# all costs each start many seconds where PYTHONDONTWRITEBYTECODE is set, as it is in many containers.
$(STAMP): setup.cfg pyproject.toml constraints.txt
	@echo "Setting up $(VENV): a minute or two, the first time."
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet --no-compile -c constraints.txt -e ".[test,lint]"
	@$(VENV)/bin/python -m compileall -qq -j 0 -x '/tests?/' $(VENV)/lib || true  # torch carries files for a newer Python
	@touch $@

# Where Python may not write what it compiled, each process of the demo and of the tests would compile the rooms anew.
compiled: $(STAMP)
	@$(VENV)/bin/python -m compileall -qq -j 0 $(ROOMS) || true

demo: compiled
	$(VENV)/bin/gridgate demo

test: compiled
	OMP_NUM_THREADS=1 $(VENV)/bin/pytest $(TEST_FLAGS)

# other tools of the field, each in an environment of its own that is made once
interop: $(STAMP)
	tests/interop/make_environments
	OMP_NUM_THREADS=1 $(VENV)/bin/pytest tests/interop

lint: $(STAMP)
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/ruff check .
	$(VENV)/bin/lint-imports
	MYPYPATH=$(CURDIR) $(VENV)/bin/mypy -p gridgate

format: $(STAMP)
	$(VENV)/bin/ruff check --fix .
	$(VENV)/bin/ruff format .

# Warnings are errors, as mkdocs.yml says. The generated pages are committed; docs/source/write.py writes them.
docs: $(STAMP)
	$(VENV)/bin/python -m pip install --quiet -c constraints.txt -e ".[docs]"
	$(VENV)/bin/mkdocs build --quiet
	@echo "Open site/index.html"

clean:
	rm -rf $(VENV) build dist demo site *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find $(ROOMS) tests -name __pycache__ -type d -prune -exec rm -rf {} +
