"""Stage: the cost curves of the bench's committed record as a table."""

import sys
from pathlib import Path

import pandas as pd

from stagewise.cli.stage import stage
from stagewise.files import atomic_path
from stagewise.storage import studies

_PREFIX = "bench.costs."


def bench_table(record: Path, out: Path) -> None:
    """Writes the points of the cost curves; a single empty one where none has been recorded."""
    numbers = studies.read(record).numbers
    rows = []
    for key, entry in numbers.items():
        if key.startswith(_PREFIX):
            axis, value, quantity = key.removeprefix(_PREFIX).split(".")
            rows.append((axis, int(value), quantity, entry["value"]))
    columns = ["axis", "value", "quantity", "cost"]
    rows = sorted(rows) or [("chains", 1, "each", float("nan"))]
    with atomic_path(out) as temporary:
        pd.DataFrame(rows, columns=columns).to_csv(temporary, index=False)


main = stage(bench_table)

if __name__ == "__main__":
    sys.exit(main())
