"""Stage: scores by settings of the sampler, and of every method by seconds, against retraining."""

import sys
from pathlib import Path

import pandas as pd
import xarray as xr

from stagewise.cli.stage import stage
from stagewise.config.retraining_study_stages import SensitivityTableStage
from stagewise.evaluation.bootstrap import LEVEL
from stagewise.evaluation.retraining_gap import gap_table
from stagewise.evaluation.retraining_sensitivity import (
    sensitivity_numbers,
    sensitivity_tables,
    speed_table,
)
from stagewise.evaluation.retraining_tables import Plan
from stagewise.files import atomic_path
from stagewise.storage import netcdf
from stagewise.storage import scores as scores_file
from stagewise.storage import targets as targets_file
from stagewise.storage.metrics import write_numbers
from stagewise.storage.predictions import PREDICTIONS


def retraining_sensitivity_table(
    settings: SensitivityTableStage,
    predictions: list[Path],
    targets: Path,
    cost: Path,
    exact: list[Path],
    table: Path,
    differences: Path,
    speed: Path,
    gap: Path,
    numbers: Path,
) -> None:
    """Scores all cells on the same retrainings, beside what every method costs."""
    parts = [netcdf.read(path, PREDICTIONS) for path in predictions]
    found = xr.concat(parts, "cell", combine_attrs="override")
    plan = Plan(settings.seed, settings.resamplings, LEVEL, 1)
    truth = targets_file.read(targets)
    scores, gaps = sensitivity_tables(settings.cells, found, truth, settings.steps, plan)
    costs = speed_table(scores, pd.read_csv(cost), settings.problem)
    influences = [scores_file.read(path) for path in exact]
    behind = gap_table(settings.cells, found, truth, influences, plan)
    for made, path in ((scores, table), (gaps, differences), (costs, speed), (behind, gap)):
        with atomic_path(path) as temporary:
            made.to_csv(temporary, index=False)
    write_numbers(sensitivity_numbers(scores, gaps, costs, behind), numbers)


main = stage(retraining_sensitivity_table)

if __name__ == "__main__":
    sys.exit(main())
