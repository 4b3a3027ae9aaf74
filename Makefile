# The commands of stagewise; `make help` lists them. The others work in .venv, which the first of them
# makes; `make .venv` makes it alone.
#   make paper PYTHON=python3.12     choose the Python under .venv (3.11 or newer)
#   make studies STUDY=vision        one study: toy, calibration, language, scaling, vision, vision_long,
#                                    retraining, retraining_problems
#   make paper ARGS="-n"             hand more arguments to Snakemake, pytest or uv

PYTHON ?= python3
ARGS ?=
STUDY ?=
README_IMAGES := toy_influence.png retraining_lds.png vision_influence.png

PY := .venv/bin/python
WORKFLOW := $(PY) -m stagewise.cli.workflow

# What runs is what the lock says, whatever else is installed for this user.
unexport PYTHONPATH PYTHONHOME
export PYTHONNOUSERSITE := 1

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help .venv paper smoke studies bench rehearsal figures images archive check expected \
  doctor plan test test-cluster expected-cluster lint lock clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-20s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.venv:
	@$(PYTHON) .ci/install.py

paper: .venv ## train, sample, retrain, draw; leaves paper/main.pdf (1 hour; 2.5 on a slow machine)
	@$(WORKFLOW) all $(ARGS)
	@test ! -f paper/generated/numbers.json || $(PY) -m stagewise.cli.check

smoke: .venv ## every rule at tiny size, in results/smoke (10 minutes)
	@$(WORKFLOW) all --configfile config/smoke.yaml $(ARGS)

studies: .venv ## the long studies (6 hours at most, resumable; STUDY=scaling for one), recorded in paper/expected
	@$(WORKFLOW) studies$(STUDY:%=_%) $(ARGS)
	@for found in results/studies/$(or $(STUDY),*)/numbers.json; do \
	  test ! -f $$found || $(PY) -m stagewise.cli.expected_studies --numbers $$found \
	    --settings-file $${found%/*}/settings.json --study $$(basename $${found%/*}) || exit; done

bench: .venv ## speed against other samplers (30 minutes, resumable; WORKLOAD=mlp for one), recorded in paper/expected
	@$(WORKFLOW) bench$(WORKLOAD:%=_%) $(ARGS)
	@found=results/bench/$(WORKLOAD:%=%/)numbers.json; \
	  test ! -f $$found || $(PY) -m stagewise.cli.expected_studies --numbers $$found \
	    --settings-file $${found%/*}/settings.json $(WORKLOAD:%=--study %) --out paper/expected/bench.json

rehearsal: .venv ## the run on ImageNet on made-up photographs, at reduced counts (20 minutes)
	@test -d data/rehearsal || $(PY) -m stagewise.cli.rehearsal
	@$(WORKFLOW) results/rehearsal/vision/imagenet/numbers.json \
	  --configfile config/rehearsal.yaml --resources gpu=$$(nvidia-smi -L 2>/dev/null | wc -l) $(ARGS)
	@$(PY) -m stagewise.cli.resources --benchmarks results/rehearsal/benchmarks

figures: .venv ## the figures alone, with whatever they need
	@$(WORKFLOW) figures $(ARGS)

images: .venv ## redraw the README's pictures from the default run
	@$(WORKFLOW) figures $(ARGS)
	@mkdir -p docs/images && cp $(addprefix paper/figures/,$(README_IMAGES)) docs/images/

archive: .venv ## pack the tables behind every figure into archive/
	@$(WORKFLOW) figures $(ARGS)
	@$(PY) -m stagewise.cli.archive

check: .venv ## compare the numbers of the last make paper with paper/expected; fails on deviations
	@$(PY) -m stagewise.cli.check --strict $(ARGS)

expected: .venv ## run the default experiments and record their numbers in paper/expected
	@$(WORKFLOW) numbers $(ARGS)
	@$(PY) -m stagewise.cli.expected
	@$(PY) -m stagewise.cli.plan --record

doctor: .venv ## what this machine lacks for a run (ARGS="--configfile config/paper.yaml")
	@$(PY) -m stagewise.cli.doctor $(ARGS)

plan: .venv ## what config/paper.yaml would cost: jobs, hours, memory, disk; nothing is run
	@$(PY) -m stagewise.cli.plan $(ARGS)

test: .venv ## the whole test suite (25 minutes)
	@OMP_NUM_THREADS=1 $(PY) -m pytest -n 2 --dist loadgroup --no-loadscope-reorder $(ARGS)

test-cluster: .venv ## the smoke run as jobs of a real Slurm, and faults (root, on Debian; 15 minutes)
	@OMP_NUM_THREADS=1 $(PY) .ci/cluster.py $(PY) -m pytest tests/cluster $(ARGS)

expected-cluster: .venv ## record what the last make test-cluster took in paper/expected
	@$(PY) -m stagewise.cli.expected_studies --numbers results/cluster/numbers.json \
	  --settings-file results/cluster/settings.json --over config/smoke.yaml \
	  --out paper/expected/cluster.json

lint: .venv ## style, import contract, sizes, versions
	@$(PY) -m pytest -q tests/lint $(ARGS)

lock: .venv ## resolve pyproject.toml into requirements.lock (ARGS=--upgrade for new versions)
	@$(PY) -m uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	  --extra bench --extra cluster --extra dev --no-annotate --no-emit-index-url --no-emit-find-links --system-certs \
	  --custom-compile-command "make lock" $(ARGS) pyproject.toml -o requirements.lock
	@$(PY) -m stagewise.cli.environment

clean: ## delete everything that was computed; .venv and archive/ stay
	rm -rf results paper/main.pdf
	-find paper/figures paper/generated -type f ! -name .gitignore -delete
	rm -rf report.html build .pytest_cache .ruff_cache .import_linter_cache
