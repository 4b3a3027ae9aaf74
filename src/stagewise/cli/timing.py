"""Stage: how long the run took, from Snakemake's benchmark files."""

import sys
from pathlib import Path

from stagewise.cli.stage import stage
from stagewise.evaluation.curves import Summary
from stagewise.evaluation.records import as_numbers
from stagewise.storage.benchmarks import read
from stagewise.storage.metrics import write_numbers

#: Jobs of one thread run in pairs on the two cores that budgets are stated for.
CORES = 2


def timing(benchmarks: list[Path], name: str, numbers: Path) -> None:
    """Adds up the jobs' wall seconds over two cores; every job here claims one of them.

    What it leaves out is the start of Snakemake and cores that wait for the last jobs, so it is
    the work done, not the time on the clock; jobs that were not run again keep their times.
    """
    seconds = [read(path).seconds for path in benchmarks]
    minutes = Summary(sum(seconds) / 60 / CORES, float("nan"), len(seconds))
    write_numbers(as_numbers({"minutes": minutes}, name, "timing", "minutes"), numbers)


main = stage(timing)

if __name__ == "__main__":
    sys.exit(main())
