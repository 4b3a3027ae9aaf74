"""Stage: how long the run took, from Snakemake's benchmark files."""

import csv
import sys
from pathlib import Path

from stagewise.cli.stage import stage
from stagewise.errors import SchemaError
from stagewise.evaluation.curves import Summary
from stagewise.evaluation.records import as_numbers
from stagewise.storage.metrics import write_numbers

#: Jobs of one thread run in pairs on the two cores that budgets are stated for.
CORES = 2


def timing(benchmarks: list[Path], name: str, numbers: Path) -> None:
    """Adds up the jobs' wall seconds over two cores; every job here claims one of them.

    What it leaves out is the start of Snakemake and cores that wait for the last jobs, so it is
    the work done, not the time on the clock; jobs that were not run again keep their times.
    """
    seconds = [_seconds(path) for path in benchmarks]
    minutes = Summary(sum(seconds) / 60 / CORES, float("nan"), len(seconds))
    write_numbers(as_numbers({"minutes": minutes}, name, "timing", "minutes"), numbers)


def _seconds(path: Path) -> float:
    with path.open(newline="") as stream:
        rows = list(csv.DictReader(stream, delimiter="\t"))
    if not rows or "s" not in rows[0]:
        raise SchemaError(f"{path} is no benchmark of Snakemake; delete it and run its job again")
    return float(rows[0]["s"])


main = stage(timing)

if __name__ == "__main__":
    sys.exit(main())
