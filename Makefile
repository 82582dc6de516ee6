# "make" lists the targets. Each but "clean" sets up .venv by itself the first time (tools/venv.sh).

PY := .venv/bin/python
ONLY ?=
OFFLINE ?=
ARGS ?=

export TF_CPP_MIN_LOG_LEVEL ?= 3
export PYDEVD_DISABLE_FILE_VALIDATION ?= 1
export PYTHONUNBUFFERED := 1

TRIALS := $(sort oldest newest $(patsubst tools/check_%.py,%,$(wildcard tools/check_*.py)))

# Side by side, as two cores carry: the lessons cell by cell, and all else. Status 5 is pytest's
# for "nothing was chosen", as ARGS="-k 03_" may choose only lessons.
define TESTS
	@mkdir -p build
	@$(1) -m pytest tests xrdclass --durations 15 $(ARGS) > build/units.log 2>&1 & units=$$!; \
	trap 'kill $$units' INT TERM; \
	$(1) -m pytest notebooks --nbval --nbval-current-env --nbval-cell-timeout 300 --durations 15 \
	    --nbval-sanitize-with tests/nbval_sanitize.cfg -o cache_dir=build/cells $(ARGS); cells=$$?; \
	wait $$units; units=$$?; cat build/units.log; \
	case $$cells$$units in 00|05|50) ;; *) exit 1 ;; esac
endef

MAKEFLAGS += --no-print-directory
.NOTPARALLEL:
.PHONY: help tutorial lab app test notebooks student site slides bench clean model venv

help:
	@echo "make TARGET, where TARGET is one of"
	@awk -F ':[^#]*## ' '/^[a-z]+:.*## /{printf "  %-10s %s\n", $$1, $$2}' Makefile
	@echo "and for those who change the package, minutes to an hour each: make check-NAME, where NAME is"
	@echo "  $(TRIALS)"
	@echo "PYTHON=python3.12 chooses the Python (3.10 to 3.13) that .venv is made with."

tutorial: venv ## fetch the scans (not with OFFLINE=1), run all lessons, print the table (ONLY="05 06")
	@$(PY) tools/run_lessons.py $(if $(OFFLINE),,--fetch 60) $(if $(ONLY),--only $(ONLY)) $(ARGS)

lab: venv ## open JupyterLab at lesson 01
	@$(PY) -m jupyterlab $(firstword $(sort $(wildcard notebooks/01_*.ipynb)) notebooks) $(ARGS)

app: venv-app ## open a page that names the phases of scans which are dropped on it
	@$(PY) -m voila tools/app.ipynb $(ARGS)

test: venv ## unit tests, notebook structure, and every stored output compared with a fresh run
	@echo "Testing the notebooks cell by cell; beside them, what is shown last, all else"
	$(call TESTS,$(PY))

notebooks: venv ## for maintainers: run the lessons and store their outputs and figures (ONLY="05")
	@$(PY) tools/run_lessons.py --in-place --figures $(if $(ONLY),--only $(ONLY)) $(ARGS)

student: venv ## write the lessons without solutions to build/student/ (ARGS=--force: over edited copies)
	@$(PY) tools/student.py $(ARGS)

site: venv-site ## build a web site of all lessons from their stored outputs, in build/site/
	@$(PY) tools/site/build.py $(ARGS)

slides: venv-slides ## build slides for a first session of 90 minutes from the lessons' cells, in build/slides/
	@$(PY) tools/slides/build.py $(ARGS)

bench: venv ## measure speed, memory and accuracy beside the original recipe
	@$(PY) benchmarks/run.py $(ARGS)

clean: ## remove build/ and caches (.venv and the notebooks stay)
	rm -rf build .pytest_cache .ruff_cache .hypothesis
	find xrdclass tests tools benchmarks notebooks -name __pycache__ -type d -prune -exec rm -rf {} +

# The shipped network, trained again from nothing: some four hours on two cores.
model: venv
	@$(PY) -m xrdclass train-identifier --samples 4400000 --crystals 4000 --fitted 4000 \
	    --out xrdclass/networks/tio2.npz --force $(ARGS)

check-oldest check-newest: check-%: venv-%
	$(call TESTS,build/$*/bin/python)

check-browser check-supply: check-%: venv-%
check-%: tools/check_%.py venv
	@$(PY) $< $(ARGS)

venv:
	@sh tools/venv.sh

venv-%:
	@sh tools/venv.sh $*
