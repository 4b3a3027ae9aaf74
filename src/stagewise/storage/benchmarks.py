"""Benchmark files, which Snakemake leaves of every job: seconds and memory."""

import csv
import math
from pathlib import Path
from typing import NamedTuple

from stagewise.errors import SchemaError
from stagewise.files import WENT_ON

#: Names of Snakemake's columns.
_COLUMNS = ("s", "cpu_time", "max_rss")


class Benchmark(NamedTuple):
    """What one job took.

    Attributes:
        seconds: Wall time.
        cpu_seconds: Of all its threads together; the wall time of a job that ended before it was
            measured.
        megabytes: Largest resident memory of all its processes together; NaN for a job that ended
            before it was measured.
    """

    seconds: float
    cpu_seconds: float
    megabytes: float


def read(path: Path) -> Benchmark:
    """Read the benchmark file of a job.

    Raises:
        SchemaError: It has no row, or not the columns that Snakemake writes.
    """
    with path.open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream, delimiter="\t"))
    if not rows or not set(_COLUMNS) <= set(rows[0]):
        raise SchemaError(f"{path} is no benchmark of Snakemake; delete it and run its job again")
    seconds, cpu, memory = (_number(rows[0][name]) for name in _COLUMNS)
    return Benchmark(seconds, cpu if cpu > 0 else seconds, memory)


def went_on(path: Path) -> bool:
    """Return whether the job resumed, so that its benchmark is of its last attempt alone.

    It is told by the job's log, which lies in ``logs`` where the benchmark lies in ``benchmarks``.
    """
    above, _, name = str(path).rpartition("benchmarks/")
    log = Path(f"{above}logs/{name}").with_suffix(".log")
    return log.is_file() and WENT_ON in log.read_text(encoding="utf-8", errors="replace")


def _number(text: str) -> float:
    return math.nan if text in ("-", "NA") else float(text)
