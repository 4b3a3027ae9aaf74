"""Stage: the conformance tables of all samplers as one, and its numbers."""

import sys
from pathlib import Path

import pandas as pd

from stagewise.cli.stage import stage
from stagewise.errors import SchemaError
from stagewise.evaluation.conformance import conformance_numbers, with_headlines
from stagewise.files import atomic_path
from stagewise.storage.metrics import write_numbers


def conformance_table(parts: list[Path], table: Path, numbers: Path) -> None:
    """Joins one file per sampler, in the order given."""
    made = with_headlines(pd.concat([_read(part) for part in parts], ignore_index=True))
    with atomic_path(table) as temporary:
        made.to_csv(temporary, index=False)
    write_numbers(conformance_numbers(made), numbers)


def _read(path: Path) -> pd.DataFrame:
    try:
        # Without a verdict ``passed`` is empty: kept as a third value, not as a float.
        return pd.read_csv(path, dtype={"passed": "boolean"})
    except (pd.errors.EmptyDataError, pd.errors.ParserError) as error:
        raise SchemaError(f"{path} cannot be read ({error}): delete it and run again") from error


main = stage(conformance_table)

if __name__ == "__main__":
    sys.exit(main())
