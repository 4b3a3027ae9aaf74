"""Stage: tables and numbers of the three influences, of window ablation and of the pairs."""

import sys
from pathlib import Path

import pandas as pd
import xarray as xr

from stagewise.cli.stage import stage
from stagewise.config.toy_stages import TablesStage
from stagewise.data.trees import from_settings
from stagewise.evaluation.curves import RELATIONS
from stagewise.evaluation.records import as_numbers, exact
from stagewise.evaluation.toy_ablation import ablation_numbers, window_table
from stagewise.evaluation.toy_curves import (
    TreeResults,
    curve_numbers,
    flip_table,
    influence_table,
    mode_levels,
    pair_table,
    transition_numbers,
    transition_table,
)
from stagewise.evaluation.toy_files import by_row, by_tree, scores_by_row
from stagewise.files import atomic_path
from stagewise.storage.metrics import write_numbers

#: Row of the sampling table that every headline number uses.
MAIN = "main"
_UNITS = dict.fromkeys(
    (
        "sign_flip_step",
        "peak_step",
        "window_ablation",
        "transition_step",
        "peak_minus_transition",
    ),
    "steps",
)
_NAMES = ("toy_influence", "toy_pairs", "toy_transitions", "toy_flips", "toy_windows")


def toy_tables(
    settings: TablesStage,
    training: list[Path],
    trajectory: list[Path],
    retrain: list[Path],
    windows: list[Path],
    law: list[Path],
    bif: list[Path],
    tables: Path,
    numbers: Path,
) -> None:
    """Puts the influences of every tree on one time axis, at the main sampling row."""
    runs, derivatives, left_out = by_tree(training), by_tree(trajectory), by_tree(retrain)
    dropped, laws, scores = by_tree(windows), by_row(law), scores_by_row(bif)
    frames: dict[str, list[pd.DataFrame]] = {name: [] for name in _NAMES}
    entries: dict[str, dict] = {}
    for tree in runs:
        results = TreeResults(
            tree,
            from_settings(settings.trees[tree]).relations(),
            runs[tree],
            derivatives[tree],
            left_out[tree],
            laws[tree, MAIN],
            scores[tree, MAIN],
        )
        made = _tree_tables(results, dropped[tree])
        for name, frame in made.items():
            frames[name].append(frame)
        entries |= _tree_numbers(results, made)
    for name, parts in frames.items():
        with atomic_path(tables / f"{name}.csv") as temporary:
            pd.concat(parts, ignore_index=True).to_csv(temporary, index=False)
    write_numbers(entries, numbers)


def _tree_tables(results: TreeResults, windows: xr.Dataset) -> dict[str, pd.DataFrame]:
    influence = influence_table(results)
    return {
        "toy_influence": influence,
        "toy_pairs": pair_table(results),
        "toy_transitions": transition_table(results),
        "toy_flips": flip_table(influence),
        "toy_windows": window_table(results.tree, windows, results.relation),
    }


def _tree_numbers(results: TreeResults, made: dict[str, pd.DataFrame]) -> dict[str, dict]:
    """Numbers of one tree; the balanced tree's keys carry no name, as it is the headline."""
    prefix = "toy" if results.tree == "balanced" else f"toy.{results.tree}"
    summaries = curve_numbers(made["toy_influence"], made["toy_flips"], results.tree)
    summaries |= transition_numbers(
        made["toy_influence"], made["toy_transitions"], mode_levels(results.training["Y"].values)
    )
    ablation = ablation_numbers(made["toy_windows"], made["toy_influence"])
    summaries |= {f"window_ablation.{key}": value for key, value in ablation.items()}
    smallest = float(results.law["smallest_eigenvalue"].min())
    summaries["law.smallest_eigenvalue"] = exact(smallest)
    summaries["law.local_fraction"] = exact(float(results.law["local"].mean()))
    entries = as_numbers(summaries, prefix, "toy_tables", _UNITS)
    entries[f"{prefix}.window_ablation.at_final.largest"]["unit"] = "nats"
    for relation in RELATIONS:
        for key in (f"window_ablation.r.{relation}", f"window_ablation.r_prior.{relation}"):
            entries[f"{prefix}.{key}"]["unit"] = ""
        entries[f"{prefix}.sign_flip_step.a_minus_law.{relation}"]["unit"] = "checkpoints"
    return entries


main = stage(toy_tables)

if __name__ == "__main__":
    sys.exit(main())
