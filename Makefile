# Every target below sets up .venv by itself the first time. "make help" lists them.

PY := .venv/bin/python
STAMP := .venv/.installed
ONLY ?=
ARGS ?=

# The tested versions in constraints.txt exist for these Pythons. A PYTHON= given by hand is the only one tried.
ifeq ($(origin PYTHON),undefined)
PYTHONS := python3 python3.13 python3.12 python3.11 python3.10 python
else
PYTHONS := $(PYTHON)
endif

export TF_CPP_MIN_LOG_LEVEL ?= 3
export PYDEVD_DISABLE_FILE_VALIDATION ?= 1
export PIP_DISABLE_PIP_VERSION_CHECK := 1
export PYTHONUNBUFFERED := 1

# The stamp holds the folder it was made for: an editable install breaks when the checkout moves.
INSTALLED_FOR := $(shell $(PY) -c "print(open('$(STAMP)').read().strip())" 2>/dev/null)
ifneq ($(INSTALLED_FOR),$(CURDIR))
.PHONY: $(STAMP)
endif

MAKEFLAGS += --no-print-directory
.DEFAULT_GOAL := help
.PHONY: help tutorial lab test test-oldest test-newest reproduce notebooks figures \
    student site slides test-browser test-small test-long bench fuzz supply model clean

help: ## list the targets
	@echo "make TARGET, where TARGET is one of"
	@awk -F ':[^#]*## ' '/^[a-z -]+:.*## /{printf "  %-12s %s\n", $$1, $$2}' Makefile
	@echo "PYTHON=python3.12 chooses the Python (3.10 to 3.13) that .venv is made with."

tutorial: $(STAMP) ## run every lesson in order and print the result table (ONLY="05 06": just these)
	@$(PY) notebooks/run.py $(if $(ONLY),--only $(ONLY)) $(ARGS)

lab: $(STAMP) ## open JupyterLab at lesson 01
	@$(PY) -m jupyterlab $(firstword $(sort $(wildcard notebooks/01_*.ipynb)) notebooks) $(ARGS)

TESTS := -m pytest tests xrdclass notebooks --nbval --nbval-current-env \
    --nbval-sanitize-with tests/nbval_sanitize.cfg --nbval-cell-timeout 300 --durations 15

test: $(STAMP) ## unit tests, notebook structure, and every stored output compared with a fresh run
	@echo "Testing: the package and its examples, the repository, then the notebooks cell by cell"
	@$(PY) $(TESTS) $(ARGS)

test-oldest test-newest: test-%: build/%/.installed ## test with the oldest or newest versions that pyproject.toml allows
	@build/$*/bin/python $(TESTS) $(ARGS)

reproduce: $(STAMP) ## compare seeds, processes, Pythons and threads: the same data, the same verdicts
	@$(PY) tests/test_reproducible.py $(PYTHONS)

notebooks: $(STAMP) ## for maintainers: run the notebooks and store their outputs and figures (ONLY="05")
	@$(PY) notebooks/run.py --in-place --figures $(if $(ONLY),--only $(ONLY)) $(ARGS)

figures: $(STAMP) ## run the notebooks that draw the pictures in figures/ and write these
	@$(PY) notebooks/run.py --figures $(if $(ONLY),--only $(ONLY)) $(ARGS)

student: $(STAMP) ## write the lessons without solutions to build/student/ (ARGS=--force: over edited copies)
	@$(PY) notebooks/student.py $(ARGS)

site: .venv/.extra-site ## build a web site of all lessons from their stored outputs, in build/site/
	@$(PY) docs/site/build.py $(ARGS)

slides: .venv/.extra-slides ## build slides for a first session of 90 minutes from the lessons' cells, in build/slides/
	@$(PY) docs/slides/build.py $(ARGS)

test-browser: .venv/.extra-browser ## open lessons in JupyterLab with Chromium, run them, move sliders, upload scans
	@$(PY) -m pytest tests/browser.py -q $(ARGS)

bench: $(STAMP) ## measure speed, memory and accuracy beside the original recipe
	@$(PY) benchmarks/run.py $(ARGS)

test-small: $(STAMP) ## run every lesson and identify with 2 GB of memory and one core
	@$(PY) tests/small_machine.py $(ARGS)

test-long: $(STAMP) ## identify 10,000 scans, some of them broken; kill 200 processes that write
	@$(PY) tests/long_run.py $(ARGS)
	@$(PY) tests/test_writing.py 200

fuzz: $(STAMP) ## 20,000 damaged files of every scan format, and attacks on the readers (ARGS="--inputs 500")
	@$(PY) tests/fuzz_readers.py $(ARGS)

model: $(STAMP) ## train the shipped network again from nothing (under half an hour on two cores)
	@$(PY) -m xrdclass train-identifier --samples 330000 --rounds 11 --crystals 3000 --judged 12000 \
	    --out xrdclass/networks/tio2.keras --force $(ARGS)

supply: .venv/.extra-supply ## check what is installed, and list its licences in build/licences.md
	@$(PY) -m pip check && mkdir -p build && \
	$(dir $(PY))pip-licenses --from=mixed --format=markdown --with-urls --output-file=build/licences.md && \
	$(dir $(PY))pip-licenses --from=mixed --summary --order=count

# Tools that only some targets need: .venv/.extra-NAME installs the extra NAME of pyproject.toml.
.venv/.extra-%: $(STAMP)
	@if [ "$*" != browser ] && ! $(PY) -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then \
	    echo "make $* needs Python 3.11 or newer; .venv has $$($(PY) -V). Remove .venv and name another: make $* PYTHON=python3.12" >&2; \
	    exit 1; fi; \
	echo "Installing what the extra '$*' of pyproject.toml names" && \
	$(PY) -m pip install -qq --constraint constraints.txt --editable ".[$*]" && touch $@

# Every bound in pyproject.toml as a version; what it does not name is as new as these allow.
build/oldest/.installed: PYTHONS := $(if $(filter undefined,$(origin PYTHON)),python3.10 python3.11,$(PYTHON))
build/newest/.installed: PYTHONS := $(if $(filter undefined,$(origin PYTHON)),python3.13 python3.12 python3 python3.11,$(PYTHON))
build/oldest/.installed build/newest/.installed: build/%/.installed: pyproject.toml
	@$(call FIND_PYTHON); mkdir -p build && \
	sed -nE 's/^ *"([A-Za-z0-9_.-]+)>=([0-9.]+).*/\1==\2/p' pyproject.toml > build/oldest.txt && \
	echo "Setting up build/$* with $$("$$found" -V): a few minutes" && \
	"$$found" -m venv build/$* && build/$*/bin/python -m pip install -qq --upgrade pip && \
	build/$*/bin/python -m pip install -qq $(if $(filter oldest,$*),--constraint build/oldest.txt,--upgrade) \
	    --editable ".[lessons,test]" && touch $@

clean: ## remove build/ and caches (.venv and the notebooks stay)
	rm -rf build .pytest_cache .ruff_cache .hypothesis
	find xrdclass tests notebooks benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +

define FIND_PYTHON
	found=; for p in $(PYTHONS); do \
	    if "$$p" -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null; \
	    then found=$$p; break; fi; done; \
	if [ -z "$$found" ]; then \
	    echo "Python 3.10 to 3.13 is needed, and none was found under the names: $(PYTHONS). Install one, or name it: make $(MAKECMDGOALS) PYTHON=/path/to/python3.12" >&2; \
	    exit 1; fi; \
	if ! "$$found" -c 'import venv, ensurepip' 2>/dev/null; then \
	    echo "$$found cannot make a virtual environment with pip in it: install its venv package (on Debian and Ubuntu: sudo apt install python3-venv), then run make again." >&2; \
	    exit 1; fi
endef

$(STAMP): pyproject.toml constraints.txt
	@$(call FIND_PYTHON); \
	echo "Setting up .venv with $$("$$found" -V): a few minutes the first time, about 3 GB"; \
	rm -f $(STAMP); clear=; \
	if [ -e $(PY) ] && [ "$$($(PY) -V)" != "$$("$$found" -V)" ]; then clear=--clear; fi; \
	"$$found" -m venv $$clear .venv && \
	echo "  1/2 pip" && \
	$(PY) -m pip install -qq "pip>=23" && \
	echo "  2/2 TensorFlow, pymatgen, JupyterLab and the xrdclass package, in the tested versions" && \
	$(PY) -m pip install -qq --constraint constraints.txt --editable ".[lessons,test]" || { \
	    echo "The set-up did not finish: the lines above say why. Run make again to go on where it stopped." >&2; \
	    exit 1; }; \
	pwd -P > $(STAMP); \
	echo "  .venv is ready"
