"""What each job of a plan will take, from what like jobs took and how much larger it is."""

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

from stagewise.cli.plan_jobs import Job
from stagewise.cli.plan_rates import Rates
from stagewise.cli.plan_records import Measured
from stagewise.cli.plan_work import Work, work

Basis = Literal["measured", "scaled", "counted", "assumed", "unknown"]
#: Work within so much of what was measured counts as the same.
SAME = 0.02
#: Copies of a job's largest file that it may hold: as read, in double precision, and two more.
COPIES = 4
#: Bytes of a stored number.
BYTES = 4
#: How much larger than those measured files become at most that sum up what was read: a figure or a
#: list of numbers does not grow; a table has a row for each class, sample or pair of classes.
MOST_GROWTH = {".pdf": 1.0, ".png": 1.0, ".json": 1.0, ".tex": 1.0, ".csv": 64.0}
#: CPU seconds of a job before it works: Python and the libraries.
START = 4.0


class Cost(NamedTuple):
    """What one job will take.

    Attributes:
        cpu_hours: Of all its threads together.
        gpu_hours: Of all its GPUs together.
        memory_mb: Resident, at its peak.
        written: Bytes of its outputs.
        basis: "measured": a job with as much work was; "scaled": a smaller or larger one was;
            "counted": floating-point operations over a rate; "assumed": one of its rule was, and
            how the work differs is not known; "unknown": none of these.
        factor: Work over that of the measured job.
    """

    cpu_hours: float
    gpu_hours: float
    memory_mb: float
    written: float
    basis: Basis
    factor: float


def sizes(jobs: Sequence[Job]) -> dict[str, Work | None]:
    """Return the size of each job by its key."""
    makers = {path: job for job in jobs for path in job.outputs}
    return {job.key: work(job, _upstream(job, makers)) for job in jobs}


def _upstream(job: Job, makers: Mapping[str, Job]) -> Callable[[str], Mapping[str, Any] | None]:
    def settings(rule: str) -> Mapping[str, Any] | None:
        seen, waiting = set(), [job]
        while waiting:
            for path in waiting.pop().inputs:
                maker = makers.get(path)
                if maker is None or maker.key in seen:
                    continue
                if maker.rule == rule:
                    return maker.settings
                seen.add(maker.key)
                waiting.append(maker)
        return None

    return settings


class Estimator:
    """Estimates the jobs of one plan.

    Args:
        jobs: All of them.
        known: What was measured, of any run.
        rates: Floating-point operations per second of a GPU that these jobs reach.
    """

    def __init__(self, jobs: Sequence[Job], known: Sequence[Measured], rates: Rates) -> None:
        """Index the jobs by what they write and the measurements by their rules."""
        self._sizes = sizes(jobs)
        self._makers = {path: job for job in jobs for path in job.outputs}
        self._known: dict[str, list[Measured]] = {}
        for one in known:
            self._known.setdefault(one.rule, []).append(one)
        self._rates = rates
        self._costs: dict[str, Cost] = {}

    def cost(self, job: Job) -> Cost:
        """Return what a job will take."""
        if job.key not in self._costs:
            self._costs[job.key] = self._estimate(job)
        return self._costs[job.key]

    def read(self, job: Job) -> float:
        """Return the bytes that a job will read of what other jobs of the plan write."""
        makers = {maker.key: maker for path in job.inputs if (maker := self._makers.get(path))}
        return sum(self.cost(maker).written for maker in makers.values())

    def _estimate(self, job: Job) -> Cost:
        size, read = self._sizes[job.key], self.read(job)
        like = [one for one in self._known.get(job.rule, []) if one.gpus == job.gpus]
        if not like and job.gpus == 0:
            like = self._known.get(job.rule, [])
        if not like:
            return self._counted(job, size, read)
        nearest = min(like, key=lambda one: self._distance(job, size, read, one))
        factor, sure = _factor(job, size, read, nearest)
        hours = _scaled(nearest.cpu_seconds, factor) / 3600
        gpu = job.gpus * _scaled(nearest.seconds, factor) / 3600
        written = _written(job, size, read, nearest)
        more = max(written - nearest.bytes_out, read - nearest.bytes_in, 0.0)
        memory = nearest.memory_mb + COPIES * more / 1e6
        basis: Basis = "assumed"
        if sure:
            basis = "measured" if abs(factor - 1) < SAME else "scaled"
        return Cost(hours, gpu, memory, written, basis, factor)

    def _distance(
        self, job: Job, size: Work | None, read: float, one: Measured
    ) -> tuple[bool, float, bool]:
        """Order measurements: known work first, then the nearest, then the job's own."""
        factor, sure = _factor(job, size, read, one)
        return not sure, round(abs(math.log(max(factor, 1e-12))), 3), one.key != job.key

    def _counted(self, job: Job, size: Work | None, read: float) -> Cost:
        """Estimate a job of which no like was measured: on a GPU, by operations over a rate."""
        written = (size.written or 0.0) * BYTES if size is not None else 0.0
        if size is None or not size.flop:
            return Cost(0.0, 0.0, job.memory_mb, written, "unknown", math.nan)
        hours = size.amount / self._rates.of(job) / 3600
        cpu, gpu = (hours * job.threads, hours) if job.gpus else (0.0, 0.0)
        basis: Basis = "counted" if job.gpus else "unknown"
        return Cost(cpu, gpu, job.memory_mb, written or read, basis, math.nan)


def _scaled(seconds: float, factor: float) -> float:
    """Return the time of ``factor`` times the work; a job's start takes what it takes."""
    start = min(START, seconds)
    return start + factor * (seconds - start)


def _factor(job: Job, size: Work | None, read: float, one: Measured) -> tuple[float, bool]:
    """Return the work of a job over that of a measured one, and whether that is known."""
    if size is not None and one.work:
        return size.amount / one.work, True
    same = one.identity == job.identity()
    if read and one.bytes_in and size is None:
        ratio = read / one.bytes_in
        # What is read is itself an estimate, and tables have headers: near enough is the same.
        return (1.0, True) if same and 0.9 < ratio < 1.1 else (max(ratio, 1.0), True)
    return 1.0, same


def _written(job: Job, size: Work | None, read: float, one: Measured) -> float:
    if size is not None and size.written is not None and one.written:
        return one.bytes_out * size.written / one.written
    if size is None and read and one.bytes_in:
        most = max(
            (MOST_GROWTH.get(Path(path).suffix, math.inf) for path in job.outputs), default=1
        )
        return one.bytes_out * min(max(read / one.bytes_in, 1.0), most)
    return float(one.bytes_out)
