"""Stage: one table of all image networks from the tables of each, the main one's first."""

import sys
from pathlib import Path

import pandas as pd

from stagewise.cli.stage import stage
from stagewise.config.vision import JoinStage
from stagewise.errors import SchemaError
from stagewise.files import atomic_path


def vision_join(settings: JoinStage, tables: list[Path], out: Path) -> None:
    """Puts a column with the run's name in front; ``--tables`` come in the order of the runs."""
    if len(tables) != len(settings.runs):
        raise SchemaError(f"{len(tables)} tables for {len(settings.runs)} runs; pass one of each")
    parts = []
    for run, path in zip(settings.runs, tables, strict=True):
        part = pd.read_csv(path, keep_default_na=False, na_values=[""])
        part.insert(0, "run", run)
        parts.append(part)
    with atomic_path(out) as temporary:
        pd.concat(parts, ignore_index=True).to_csv(temporary, index=False)


main = stage(vision_join)

if __name__ == "__main__":
    sys.exit(main())
