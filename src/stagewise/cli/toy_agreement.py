"""Stage: sampled covariances against their second-order laws, and against MALA."""

import sys
from pathlib import Path

import numpy as np
import pandas as pd

from stagewise.cli.stage import stage
from stagewise.config.toy_stages import TablesStage
from stagewise.data.trees import from_settings
from stagewise.evaluation.curves import Summary
from stagewise.evaluation.records import as_numbers, exact
from stagewise.evaluation.toy_agreement import (
    RowResults,
    agreement_rows,
    max_z,
    noise_bound,
    quantile_rows,
    relative_difference,
    z_scores,
)
from stagewise.evaluation.toy_files import by_row, scores_by_row
from stagewise.files import atomic_path
from stagewise.storage.metrics import write_numbers


def toy_agreement(
    settings: TablesStage, law: list[Path], bif: list[Path], tables: Path, numbers: Path
) -> None:
    """Compares every sampling row with its law: correlations, z-scores and their quantiles."""
    laws, scores = by_row(law), scores_by_row(bif)
    relations = {name: from_settings(tree).relations() for name, tree in settings.trees.items()}
    results = [
        RowResults(tree, row, settings.rows[row], relations[tree], laws[tree, row], seeds)
        for (tree, row), seeds in sorted(scores.items())
    ]
    made = {
        "toy_agreement": pd.concat(map(agreement_rows, results), ignore_index=True),
        "toy_z": pd.concat(map(quantile_rows, results), ignore_index=True),
    }
    for name, frame in made.items():
        with atomic_path(tables / f"{name}.csv") as temporary:
            frame.to_csv(temporary, index=False)
    summaries: dict[str, Summary] = {}
    for result in results:
        summaries |= _row_numbers(result)
    summaries |= _against_mala(results)
    write_numbers(as_numbers(summaries, "toy", "toy_agreement"), numbers)


def _row_numbers(result: RowResults) -> dict[str, Summary]:
    kind = "quadratic" if result.settings.loss == "quadratic" else f"real.{result.row}"
    name = f"bif_vs_law.max_z.{kind}"
    if result.tree != "balanced":
        name = f"{result.tree}.{name}"
    z = z_scores(result)
    return {
        name: max_z(result),
        f"{name}.bound": exact(noise_bound(result), z.size),
        f"{name}.rms": exact(float(np.sqrt(np.mean(z**2))) if z.size else np.nan, z.size),
    }


def _against_mala(results: list[RowResults]) -> dict[str, Summary]:
    """Relative excess of SGLD's self-covariances over MALA's, at MALA's checkpoints."""
    exact_rows = {(r.tree, r.row): r for r in results}
    found = {}
    for (tree, row), mala in exact_rows.items():
        twin = exact_rows.get((tree, row.replace("mala", "exact")))
        if mala.settings.kernel != "mala" or twin is None:
            continue
        for seed, reference in mala.bif.items():
            steps = twin.bif[seed]["step"].values
            common, at, at_reference = np.intersect1d(
                steps, reference["step"].values, return_indices=True
            )
            value, se = relative_difference(
                twin.bif[seed], reference.isel(checkpoint=at_reference), at
            )
            found[f"sgld_vs_mala.relative_difference.{row}"] = Summary(value, se, common.size)
    return found


main = stage(toy_agreement)

if __name__ == "__main__":
    sys.exit(main())
