"""What jobs of a finished run took: from its benchmark files, or from the record of one."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from stagewise.cli.plan_jobs import Job
from stagewise.cli.plan_work import Work
from stagewise.errors import SchemaError
from stagewise.files import read_json, write_json
from stagewise.storage.benchmarks import read, went_on


class Measured(NamedTuple):
    """What one job took.

    Attributes:
        key: Which job.
        rule: Its rule.
        identity: Hash of what it was told.
        seconds: On the clock; on a GPU, where it asked for one.
        cpu_seconds: Of all its threads together: what it would take undisturbed on one core.
        memory_mb: Largest resident memory, MB; 0 for a job too short to be looked at.
        bytes_in: Size of the files that it read, code left out.
        bytes_out: Size of the files that it wrote.
        gpus: GPUs that it asked for.
        work: Its size, as `plan_work` counts it; None where that is not known.
        written: Numbers that it wrote, as `plan_work` counts them.
    """

    key: str
    rule: str
    identity: str
    seconds: float
    cpu_seconds: float
    memory_mb: float
    bytes_in: int
    bytes_out: int
    gpus: int = 0
    work: float | None = None
    written: float | None = None


def measured(jobs: Sequence[Job], sizes: Mapping[str, Work | None]) -> list[Measured]:
    """Read what those of the jobs took that have run: benchmark file and all outputs are there.

    Jobs that resumed are left out: what their earlier attempts took is not known.
    """
    found = []
    for job in jobs:
        path = Path(job.benchmark)
        done = path.is_file() and all(Path(one).exists() for one in job.outputs)
        if done and not went_on(path):
            found.append(_measured(job, path, sizes.get(job.key)))
    return found


def _measured(job: Job, path: Path, size: Work | None) -> Measured:
    took = read(path)
    return Measured(
        key=job.key,
        rule=job.rule,
        identity=job.identity(),
        seconds=took.seconds,
        cpu_seconds=took.cpu_seconds,
        memory_mb=0.0 if math.isnan(took.megabytes) else took.megabytes,
        bytes_in=_bytes(job.inputs),
        bytes_out=_bytes(job.outputs),
        gpus=job.gpus,
        work=None if size is None else float(size.amount),
        written=None if size is None or size.written is None else float(size.written),
    )


def _bytes(paths: Sequence[str]) -> int:
    return sum(Path(one).stat().st_size for one in paths if Path(one).is_file())


def read_record(path: Path) -> tuple[list[Measured], dict[str, Any]]:
    """Read a committed record; returns its jobs, and commit, date and cores.

    Raises:
        SchemaError: The file is no record of this version.
    """
    record = read_json(path)
    try:
        jobs = [Measured(**one) for one in record.pop("jobs")]
    except (KeyError, TypeError, AttributeError) as error:
        raise SchemaError(
            f"{path} is no record of costs ({error}); make it again with `stagewise plan --record`"
        ) from error
    return jobs, record


def write_record(jobs: Sequence[Measured], path: Path, **attrs: Any) -> None:
    """Write a record: the jobs by name, and where they come from."""
    ordered = sorted(jobs, key=lambda one: one.key)
    write_json(path, {**attrs, "jobs": [one._asdict() for one in ordered]})
