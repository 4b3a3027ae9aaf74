"""Stage: the scaling study's committed records as a table."""

import sys
from pathlib import Path

import pandas as pd

from stagewise.cli.stage import stage
from stagewise.evaluation.scaling import scaling_rows
from stagewise.files import atomic_path
from stagewise.storage import studies

#: Devices by the names of their records.
_DEVICES = {"studies": "cpu", "gpu": "gpu"}


def scaling_table(records: list[Path], out: Path) -> None:
    """Writes the points of the records of the studies (CPU) and of the GPU.

    A single empty one where neither has any.
    """
    rows = []
    for path in records:
        rows += scaling_rows(studies.read(path).numbers, _DEVICES[path.stem])
    columns = ["device", "method", "quantity", "parameters", "cost", "fitted"]
    rows = rows or [{"device": "cpu", "method": "bif", "quantity": "seconds"}]
    with atomic_path(out) as temporary:
        pd.DataFrame(rows, columns=columns).to_csv(temporary, index=False)


main = stage(scaling_table)

if __name__ == "__main__":
    sys.exit(main())
