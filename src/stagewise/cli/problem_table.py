"""Stage: the calibration experiments as tables and numbers; calibrated runs pass gates here."""

import dataclasses
import sys
from pathlib import Path

import pandas as pd
import xarray as xr

from stagewise.calibration import settings as calibration_file
from stagewise.cli.gating import thresholds
from stagewise.cli.stage import stage
from stagewise.config.calibration import TableStage
from stagewise.errors import DivergenceError
from stagewise.estimators.gates import gate
from stagewise.evaluation.calibration import (
    grid_summaries,
    judged,
    row_table,
    search_table,
    summaries,
    variance_reduction,
)
from stagewise.evaluation.records import as_numbers
from stagewise.files import atomic_path
from stagewise.storage import scores
from stagewise.storage.metrics import write_numbers

PREFIX, SOURCE = "sampling.calibration", "problem_table"


def problem_table(
    settings: TableStage,
    rows: list[Path],
    calibrations: list[Path],
    exact: list[Path],
    table: Path,
    numbers: Path,
    search: Path | None = None,
) -> None:
    """Gathers runs; a calibrated one that fails a gate of the config ends the stage."""
    found = [scores.read(path) for path in rows]
    # Scores and calibrations come in the order of the config's problems.
    choices = {
        name: dataclasses.asdict(calibration_file.read(path))
        for name, path in zip(settings.problems, calibrations, strict=True)
    }
    together = row_table(found)
    _write(together, table)
    if search is not None:
        _write(search_table(choices), search)
        _gate(settings, found)
    if settings.grids:
        record = grid_summaries(together, settings.grids)
    else:
        seconds = [float(scores.read(path).attrs["seconds"]) for path in exact]
        record = summaries(together, choices, dict(zip(settings.problems, seconds, strict=True)))
        record |= variance_reduction(together, settings.estimators)
    entries = as_numbers(record, PREFIX, SOURCE)
    for key, entry in entries.items():
        entry["unit"] = "s" if key.endswith("seconds") else ""
    write_numbers(entries, numbers)


def _write(table: pd.DataFrame, path: Path) -> None:
    with atomic_path(path) as temporary:
        table.to_csv(temporary, index=False)


def _gate(settings: TableStage, found: list[xr.Dataset]) -> None:
    runs = list(judged(found))
    limits = thresholds(
        settings.diagnostics, sum(run[2] for run in runs), sum(run[3] for run in runs)
    )
    failures = []
    for problem, values, *_ in runs:
        for name, finding in gate(values, limits).items():
            if finding.verdict != "pass":
                print(f"{problem}: {finding.verdict}: {finding.message}")
            if finding.verdict == "fail":
                failures.append(f"{problem}: {name}: {finding.message}")
    if failures:
        raise DivergenceError("the sampler's gates failed:\n" + "\n".join(failures))


main = stage(problem_table)

if __name__ == "__main__":
    sys.exit(main())
