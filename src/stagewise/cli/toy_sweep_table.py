"""Stage: sensitivity of the sampled influence to step size, inverse temperature, localization."""

import sys
from pathlib import Path

from stagewise.cli.stage import stage
from stagewise.config.toy_stages import TablesStage
from stagewise.evaluation.records import as_numbers
from stagewise.evaluation.toy_files import by_row, scores_by_row
from stagewise.evaluation.toy_sweep import SweepRow, sweep_summaries, sweep_table
from stagewise.files import atomic_path
from stagewise.storage import netcdf
from stagewise.storage.metrics import write_numbers


def toy_sweep_table(
    settings: TablesStage,
    name: str,
    trajectory: Path,
    retrain: Path,
    law: list[Path],
    bif: list[Path],
    table: Path,
    numbers: Path,
) -> None:
    """Correlates every setting of the sweep ``name`` with its law, training and retraining."""
    laws, scores = by_row(law), scores_by_row(bif)
    rows = [SweepRow(settings.rows[key[1]], laws[key], scores[key]) for key in sorted(scores)]
    made = sweep_table(rows, netcdf.read(trajectory), netcdf.read(retrain))
    with atomic_path(table) as temporary:
        made.to_csv(temporary, index=False)
    summaries = sweep_summaries(made)
    write_numbers(as_numbers(summaries, f"toy.sweep.{name}", "toy_sweep_table"), numbers)


main = stage(toy_sweep_table)

if __name__ == "__main__":
    sys.exit(main())
