"""Benchmark files, which Snakemake leaves of every job: seconds and memory."""

import csv
import math
from pathlib import Path
from typing import NamedTuple

from stagewise.errors import SchemaError


class Benchmark(NamedTuple):
    """What one job took.

    Attributes:
        seconds: Wall time.
        megabytes: Largest resident memory of all its processes together; NaN for a job that ended
            before it was measured.
    """

    seconds: float
    megabytes: float


def read(path: Path) -> Benchmark:
    """Read the benchmark file of a job.

    Raises:
        SchemaError: It has no row, or not the columns that Snakemake writes.
    """
    with path.open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream, delimiter="\t"))
    if not rows or not {"s", "max_rss"} <= set(rows[0]):
        raise SchemaError(f"{path} is no benchmark of Snakemake; delete it and run its job again")
    memory = rows[0]["max_rss"]
    return Benchmark(float(rows[0]["s"]), math.nan if memory in ("-", "NA") else float(memory))
