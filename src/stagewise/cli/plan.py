"""What a target will cost before it is run: jobs, CPU and GPU hours, memory, disk."""

import argparse
import os
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from stagewise.cli.expected_studies import working_commit
from stagewise.cli.plan_costs import Cost, Estimator, sizes
from stagewise.cli.plan_jobs import Job, dry_run
from stagewise.cli.plan_rates import Rates, measured_rates
from stagewise.cli.plan_records import Measured, measured, read_record, write_record
from stagewise.cli.plan_report import report
from stagewise.errors import ConfigError, StagewiseError

RECORD = Path("paper/expected/costs.json")
GPU_RECORD = Path("paper/expected/gpu.json")
#: What a GPU is taken to reach where no job on one was measured: three quarters of the 19.5 TFLOP/s
#: in single precision of the A100's data sheet, near the share that the bench measures on a CPU.
GPU_TFLOPS = 15.0


def main(argv: Sequence[str] | None = None) -> int:
    """Prints the plan; returns 2 where there can be none."""
    arguments = _parser().parse_args(argv)
    try:
        if arguments.record:
            record(arguments.record_file)
        else:
            plan(arguments)
    except StagewiseError as error:
        print(f"plan: {error}", file=sys.stderr)
        return 2
    return 0


def plan(arguments: argparse.Namespace) -> list[tuple[Job, Cost]]:
    """Prints what the targets cost under a configuration, and returns it job by job."""
    configfile = arguments.configfile
    if not configfile.is_file():
        raise ConfigError(f"{configfile} does not exist: give a file such as config/paper.yaml")
    jobs = dry_run(arguments.targets, configfile, remaining=arguments.remaining)
    known, sources = _known(jobs, arguments.record_file)
    rates = _rates(arguments)
    estimator = Estimator(jobs, known, rates)
    costs = [(job, estimator.cost(job)) for job in jobs]
    heading = f"{' '.join(arguments.targets)}, {configfile} over config/default.yaml"
    print(report(heading, costs, sources, _said(rates, arguments), by_rule=arguments.rules))
    return costs


def record(path: Path) -> None:
    """Writes what the jobs of the default run took, as far as there are results of it.

    Jobs that an earlier record has and that have not been run here stay as they were.

    Raises:
        ConfigError: There are none.
    """
    jobs = dry_run(["all"], None)
    here = measured(jobs, sizes(jobs))
    if not here:
        raise ConfigError(f"results has no benchmarks of {len(jobs)} jobs: run `make paper` first")
    kept = read_record(path)[0] if path.is_file() else []
    fresh, wanted = {one.key for one in here}, {job.key for job in jobs}
    old = [one for one in kept if one.key not in fresh and one.key in wanted]
    attrs = {"commit": working_commit(path.parent), "date": f"{datetime.now(UTC):%Y-%m-%d}"}
    write_record([*here, *old], path, cores=os.cpu_count(), **attrs)
    print(f"plan: recorded {len(here)} jobs in {path}; {len(old)} kept of the record before")


def _known(jobs: Sequence[Job], path: Path) -> tuple[list[Measured], list[str]]:
    """Return what was measured, best first: this run itself, the default run, the record."""
    own = measured(jobs, sizes(jobs))
    found, sources = list(own), [f"{len(own)} jobs of this configuration's own results"]
    if len(own) < len(jobs):
        default = dry_run(["all"], None)
        here = measured(default, sizes(default))
        found += here
        sources.append(f"{len(here)} jobs of the default run's results")
        if path.is_file():
            kept, attrs = read_record(path)
            fresh = {one.rule for one in here}
            kept = [one for one in kept if one.rule not in fresh]
            found += kept
            origin = ", ".join(str(attrs.get(name, "?")) for name in ("commit", "date"))
            sources.append(f"{len(kept)} jobs of {path} ({origin})")
    return found, [one for one in sources if not one.startswith("0 ")]


def _rates(arguments: argparse.Namespace) -> Rates:
    """Return what was measured of GPUs and is assumed of the rest, unless a rate is given."""
    if arguments.gpu_tflops is not None:
        return Rates(arguments.gpu_tflops * 1e12, {})
    return measured_rates(arguments.gpu_file, GPU_TFLOPS * 1e12)


def _said(rates: Rates, arguments: argparse.Namespace) -> str:
    """Say how fast GPUs are taken to be."""
    kind = "assumed" if arguments.gpu_tflops is None else "given"
    text = f"{rates.otherwise / 1e12:g} TFLOP/s ({kind}; --gpu-tflops takes what your GPU reaches)"
    if rates.by_size:
        text += f", language models at the rate of their size that {arguments.gpu_file} has of one "
        text += rates.device
    return text


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="stagewise plan",
        description="Estimates what a target costs, from what the jobs of finished runs took and "
        "from counts of floating-point operations. Computes nothing and needs neither data nor "
        "a GPU.",
        allow_abbrev=False,
    )
    options: dict[str, dict[str, Any]] = {
        "targets": {"nargs": "*", "default": ["all"], "help": "rules or files; default: all"},
        "--configfile": {"type": Path, "default": Path("config/paper.yaml"), "metavar": "FILE"},
        "--gpu-tflops": {
            "type": _positive,
            "metavar": "TFLOPS",
            "help": f"of all jobs; default: as measured, else {GPU_TFLOPS:g}",
        },
        "--gpu-file": {"type": Path, "default": GPU_RECORD, "metavar": "FILE"},
        "--remaining": {"action": "store_true", "help": "leave out what is done already"},
        "--rules": {"action": "store_true", "help": "a row for each rule"},
        "--record": {"action": "store_true", "help": "record what the default run took, instead"},
        "--record-file": {"type": Path, "default": RECORD, "metavar": "FILE"},
    }
    for name, option in options.items():
        if name not in ("targets", "--gpu-tflops", "--remaining", "--rules", "--record"):
            option["help"] = f"default: {option['default']}"
        parser.add_argument(name, **option)
    return parser


def _positive(text: str) -> float:
    value = float(text)
    if not value > 0:
        raise argparse.ArgumentTypeError(f"{text} is not positive")
    return value


if __name__ == "__main__":
    sys.exit(main())
