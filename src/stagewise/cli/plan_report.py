"""A plan in words: a row for each act or rule, and on what the numbers rest."""

import math
from collections.abc import Callable, Sequence

from stagewise.cli.plan_costs import Cost
from stagewise.cli.plan_jobs import Job

#: Acts whose rules have another first word.
ACTS = {"problem": "calibration"}
#: What every act ends in.
PAPER = "figures, paper"
_ENDS = {"figure", "paper", "numbers", "run", "bench", "study"}
_NAMES = {
    "measured": "as measured: jobs with as much work were",
    "scaled": "scaled from a measured job of the same rule by its work",
    "counted": "counted: floating-point operations over {rate}",
    "assumed": "assumed to take what another job of the same rule took",
    "unknown": "not known: no job of the rule was measured and its work is not counted",
}

Row = tuple[str, ...]


def report(
    heading: str,
    costs: Sequence[tuple[Job, Cost]],
    sources: Sequence[str],
    rate: str,
    *,
    by_rule: bool = False,
) -> str:
    """Return the text that the command prints.

    Args:
        heading: What is planned.
        costs: Every job with its cost.
        sources: What was measured.
        rate: How fast GPUs are taken to be.
        by_rule: A row for each rule instead of each act.
    """
    name = (lambda job: job.rule) if by_rule else act
    parts = [
        f"plan: {heading}",
        _table(costs, name, "rule" if by_rule else "act"),
        f"Measured: {'; '.join(sources) or 'nothing'}.",
        _asked(costs)
        + "Disk is that of results; what a resumable job keeps until its end comes on top.",
        _bases(costs, rate),
        *_limits(costs),
    ]
    return "\n\n".join(part for part in parts if part)


def _asked(costs: Sequence[tuple[Job, Cost]]) -> str:
    """Say whose memory is no estimate, where there are such jobs."""
    if not any(cost.basis in ("counted", "unknown") for _, cost in costs):
        return ""
    return "Memory of jobs that are counted or not known is what their rule asks for. "


def act(job: Job) -> str:
    """Return the act of the paper that a job belongs to."""
    first = job.rule.partition("_")[0]
    return PAPER if first in _ENDS else ACTS.get(first, first)


def _table(costs: Sequence[tuple[Job, Cost]], name: Callable[[Job], str], title: str) -> str:
    groups: dict[str, list[tuple[Job, Cost]]] = {}
    for job, cost in costs:
        groups.setdefault(name(job), []).append((job, cost))
    ordered = sorted(groups, key=lambda one: (one == PAPER, one))
    header: Row = (title, "jobs", "CPU h", "GPU h", "longest job", "peak memory", "disk")
    rows = [header, *(_row(one, groups[one]) for one in ordered), _row("total", list(costs))]
    widths = [max(len(row[place]) for row in rows) for place in range(len(header))]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if place == 0 else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    )


def _row(name: str, costs: Sequence[tuple[Job, Cost]]) -> Row:
    longest = max((_wall_hours(job, cost) for job, cost in costs), default=0.0)
    memory = max((cost.memory_mb for _, cost in costs), default=0.0)
    return (
        name,
        str(len(costs)),
        _hours(sum(cost.cpu_hours for _, cost in costs)),
        _hours(sum(cost.gpu_hours for _, cost in costs)),
        f"{60 * longest:.0f} min",
        f"{memory / 1000:.1f} GB",
        _size(sum(cost.written for _, cost in costs)),
    )


def _wall_hours(job: Job, cost: Cost) -> float:
    if job.gpus:
        return cost.gpu_hours / job.gpus
    return cost.cpu_hours / max(job.threads, 1)


def _hours(hours: float) -> str:
    return "-" if hours == 0 else f"{hours:.2f}" if hours < 10 else f"{hours:.0f}"


def _size(count: float) -> str:
    for unit, scale in (("GB", 1e9), ("MB", 1e6)):
        if count >= scale:
            return f"{count / scale:.1f} {unit}"
    return f"{count / 1e3:.0f} kB"


def _bases(costs: Sequence[tuple[Job, Cost]], rate: str) -> str:
    """Say what the numbers rest on, and where they are extrapolated furthest."""
    lines = []
    for basis, text in _NAMES.items():
        some = [(job, cost) for job, cost in costs if cost.basis == basis]
        if not some:
            continue
        hours = sum(_wall_hours(job, cost) for job, cost in some)
        line = f"  {len(some):5} jobs, {_hours(hours):>5} h, {text.format(rate=rate)}"
        if basis == "scaled":
            job, cost = max(some, key=lambda one: abs(math.log(max(one[1].factor, 1e-9))))
            line += f"; furthest {job.rule}, {cost.factor:.3g} times"
        if basis in ("assumed", "counted", "unknown"):
            line += f" ({', '.join(sorted({job.rule for job, _ in some}))})"
        lines.append(line)
    return "\n".join(["What this rests on (hours of jobs one after another):", *lines])


def _limits(costs: Sequence[tuple[Job, Cost]]) -> list[str]:
    """Name the rules whose jobs may need more than they ask a scheduler for."""
    late = {job.rule for job, cost in costs if 60 * _wall_hours(job, cost) > job.runtime}
    large = {job.rule for job, cost in costs if cost.memory_mb > job.memory_mb}
    found = []
    if late:
        found.append(f"Longer than the `runtime` that they ask for: {', '.join(sorted(late))}.")
    if large:
        found.append(f"Larger than the `mem_mb` that they ask for: {', '.join(sorted(large))}.")
    if found:
        found.append("Raise both with `--set-resources RULE:runtime=MINUTES RULE:mem_mb=MB`.")
    return found
