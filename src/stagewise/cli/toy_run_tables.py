"""Stage: tables and numbers of the training runs: modes, derivatives, representations."""

import sys
from pathlib import Path

import pandas as pd

from stagewise.cli.stage import stage
from stagewise.evaluation.records import as_numbers
from stagewise.evaluation.toy_files import by_tree
from stagewise.evaluation.toy_runs import mode_table, plane_table, run_numbers
from stagewise.files import atomic_path
from stagewise.storage.metrics import write_numbers


def toy_run_tables(
    modes: list[Path],
    trajectory: list[Path],
    representations: list[Path],
    tables: Path,
    numbers: Path,
) -> None:
    """Tabulates modes and hidden representations of every tree, and how exact the runs are."""
    strengths, derivatives, planes = map(by_tree, (modes, trajectory, representations))
    made = {
        "toy_modes": [mode_table(tree, data) for tree, data in strengths.items()],
        "toy_mds": [plane_table(tree, data) for tree, data in planes.items()],
    }
    for name, frames in made.items():
        with atomic_path(tables / f"{name}.csv") as temporary:
            pd.concat(frames, ignore_index=True).to_csv(temporary, index=False)
    entries: dict[str, dict] = {}
    for tree in strengths:
        prefix = "toy" if tree == "balanced" else f"toy.{tree}"
        summaries = run_numbers(strengths[tree], derivatives[tree])
        entries |= as_numbers(summaries, prefix, "toy_run_tables")
    write_numbers(entries, numbers)


main = stage(toy_run_tables)

if __name__ == "__main__":
    sys.exit(main())
