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
    relation_max_z,
    remainder,
    self_excess,
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
        **{
            f"{name.replace('max_z', 'remainder')}.{relation}": value
            for relation, value in remainder(result).items()
        },
    }


def _against_mala(results: list[RowResults]) -> dict[str, Summary]:
    """SGLD against MALA of the same setting and seed, at the checkpoints that MALA has."""
    rows = {(result.tree, result.row): result for result in results}
    found = {}
    for (tree, row), mala in rows.items():
        twin = rows.get((tree, row.replace("mala", "exact")))
        if mala.settings.kernel != "mala" or twin is None:
            continue
        for seed, reference in mala.bif.items():
            sgld = twin.bif[seed]
            _, at, at_reference = np.intersect1d(
                sgld["step"].values, reference["step"].values, return_indices=True
            )
            pair = sgld.isel(checkpoint=at), reference.isel(checkpoint=at_reference)
            found[f"sgld_vs_mala.self_excess.{row}"] = self_excess(*pair, mala.settings.chains)
            found[f"sgld_vs_mala.max_z.{row}"] = relation_max_z(*pair)
            acceptance = float(reference.attrs["acceptance"])
            found[f"sgld_vs_mala.acceptance.{row}"] = exact(acceptance)
    return found


main = stage(toy_agreement)

if __name__ == "__main__":
    sys.exit(main())
