"""Stage: the intervention's arms beside the trainings that were left alone."""

import sys
from pathlib import Path

from stagewise.cli.stage import stage
from stagewise.config.language import BranchTableStage
from stagewise.evaluation.language_intervention import curve, curve_table, difference, effects
from stagewise.evaluation.records import as_numbers
from stagewise.files import atomic_path
from stagewise.storage import language_branch, language_training
from stagewise.storage.metrics import write_numbers

SOURCE = "language_branch_table"


def language_branch_table(
    settings: BranchTableStage,
    branches: list[Path],
    training: list[Path],
    table: Path,
    numbers: Path,
) -> None:
    """Writes accuracy along training by arm and seed, and how much sooner each arm gets there."""
    arms = [language_branch.read(path) for path in branches]
    arms += [curve(language_training.read(path)) for path in training]
    with atomic_path(table) as temporary:
        curve_table(arms).to_csv(temporary, index=False)
    found = effects(
        arms, settings.arms, settings.threshold, settings.bootstrap, settings.seed % 2**32
    )
    if {"during", "before"} <= set(settings.arms):
        found["during_over_before"] = difference(arms, "during", "before", settings.threshold)
    entries = as_numbers(found, settings.prefix, SOURCE)
    for key, entry in entries.items():
        entry["unit"] = "seeds" if ".crossed." in key else "steps"
    write_numbers(entries, numbers)


main = stage(language_branch_table)

if __name__ == "__main__":
    sys.exit(main())
