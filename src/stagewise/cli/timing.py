"""Stage: how long the run took, from Snakemake's benchmark files."""

import sys
from pathlib import Path

from stagewise.cli.stage import stage
from stagewise.evaluation.curves import Summary
from stagewise.evaluation.records import as_numbers, exact
from stagewise.storage.benchmarks import read, went_on
from stagewise.storage.metrics import write_numbers

#: Jobs of one thread run in pairs on the two cores that budgets are stated for.
CORES = 2


def timing(benchmarks: list[Path], name: str, numbers: Path) -> None:
    """Adds up the jobs' wall seconds over two cores; every job here claims one of them.

    What it leaves out is the start of Snakemake and cores that wait for the last jobs, so it is
    the work done, not the time on the clock; jobs that were not run again keep their times. Of a
    job that resumed only the last attempt was timed: how many did is counted.
    """
    seconds = [read(path).seconds for path in benchmarks]
    minutes = Summary(sum(seconds) / 60 / CORES, float("nan"), len(seconds))
    resumed = [path for path in benchmarks if went_on(path)]
    if resumed:
        print(f"timing: resumed, so that the time is too small: {', '.join(map(str, resumed))}")
    found = {"minutes": minutes, "resumed": exact(len(resumed), len(seconds))}
    units = {"minutes": "minutes", "resumed": "jobs"}
    write_numbers(as_numbers(found, name, "timing", units), numbers)


main = stage(timing)

if __name__ == "__main__":
    sys.exit(main())
