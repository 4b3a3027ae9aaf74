#!/usr/bin/env bash
# Snakemake runs this in a new conda environment, from the repository's folder.
set -euo pipefail
python -m pip install --quiet --no-deps --no-build-isolation -e .
