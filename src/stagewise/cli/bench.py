"""Stage: speed against other samplers, each measurement in a process of its own."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from stagewise.cli.stage import stage
from stagewise.config.bench import BenchJob, Workshop
from stagewise.errors import StagewiseError
from stagewise.evaluation.bench import compare
from stagewise.files import read_json, scratch_folder, sha256_file, write_json
from stagewise.storage.metrics import number, write_numbers

#: Samplers whose chains run one after another.
ONE_BY_ONE = ("devinterp",)
#: The workload whose cost is measured against its sizes.
CURVES = "mlp"


def bench(settings: BenchJob, program: Path, folder: Path, numbers: Path) -> None:
    """Times one workload and its share of the machine, or without one the cost curves.

    ``--program`` is what measures one thing in a process of its own; what it has measured is kept
    under ``--folder`` until all is there, so that a stopped bench goes on where it was. Times are
    quoted only of samplers whose outputs agree with this project's.
    """
    identity = {"measured": _measured(settings), "sources": _sources(program.parent)}
    with scratch_folder(folder, identity) as scratch:
        measure = _Measure(program, scratch, settings.bench.threads)
        if settings.workload is None:
            found = _curves(settings, measure)
        else:
            found = _pairs(settings, measure) | _shares(settings, measure)
        write_numbers(found, numbers)


def _measured(settings: BenchJob) -> dict[str, Any]:
    """Return the settings that what is measured depends on."""
    whole = settings.bench.model_dump(mode="json")
    shop = whole["workloads"][settings.workload or CURVES]
    shop.pop("step_error")  # what is made of measurements, not how they are made
    named = ("threads",) if settings.workload else ("threads", "scaling", "scaling_draws")
    shares = {name: one.model_dump(mode="json") for name, one in settings.shares().items()}
    own = {"workload": settings.workload, "shares": shares, **shop}
    return own | {name: whole[name] for name in named}


def _sources(folder: Path) -> dict[str, str]:
    """Return the content hashes of what is timed: the programs, the samplers and the models."""
    package = Path(__file__).parents[1]
    folders = {"bench": folder, **{name: package / name for name in ("sampling", "models")}}
    return {
        f"{name}/{path.relative_to(where).as_posix()}": sha256_file(path)
        for name, where in folders.items()
        for path in sorted(where.rglob("*.py"))
    }


class _Measure:
    """Runs measurements that have not been made yet."""

    def __init__(self, program: Path, scratch: Path, threads: int) -> None:
        self._program, self._scratch, self._threads = program, scratch, threads

    def __call__(self, name: str, **job: Any) -> dict[str, Any]:
        out = self._scratch / f"{name}.json"
        if out.is_file():
            return read_json(out)
        begun = time.time()
        environment = {
            **os.environ,
            "OMP_NUM_THREADS": str(self._threads),
            "TQDM_DISABLE": "1",  # a progress bar is no part of the work
        }
        job["threads"] = self._threads
        done = subprocess.run(
            [sys.executable, str(self._program), json.dumps(job), str(out)],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            raise StagewiseError(f"the measurement {name} failed:\n{done.stderr[-3000:]}")
        result = read_json(out)
        if "ready" in result:
            result["total"] = result["ready"] - begun
            write_json(out, result)
        print(f"{name}: {time.time() - begun:.1f} s", flush=True)
        return result


def _pairs(settings: BenchJob, measure: _Measure) -> dict[str, dict[str, Any]]:
    """Return the numbers of one workload: rounds in which every sampler has its turn."""
    workload = settings.workload
    shop = settings.bench.workloads[workload]
    rounds: dict[str, list[dict[str, Any]]] = {name: [] for name in settings.bench.samplers}
    for index in range(shop.rounds):
        for name in settings.bench.samplers:
            job = _job(shop, workload, name) | {"seed": settings.seed % 2**20 + 10 * index}
            rounds[name].append(measure(f"{name}-{index}", kind="time", **job))
    steps = {}
    for name in settings.bench.samplers:
        job = _job(shop, workload, name) | {"checkpoints": min(2, shop.checkpoints)}
        steps[name] = np.array(measure(f"{name}-step", kind="step", **job)["change"])
    limits = (shop.step_error, settings.bench.standard_errors)
    return compare(workload, rounds, steps, limits)


def _job(shop: Workshop, workload: str, sampler: str) -> dict[str, Any]:
    job = {"workload": workload, "sampler": sampler, **shop.model_dump(mode="json")}
    if sampler in ONE_BY_ONE:
        job |= {"chains": shop.chains_one_by_one, "checkpoints": shop.checkpoints_one_by_one}
        job["draws"] = shop.draws_one_by_one or shop.draws
    return job


def _shares(settings: BenchJob, measure: _Measure) -> dict[str, dict[str, Any]]:
    """Return a large model's share of the machine's matrix-product rate, with a profile."""
    found = {}
    for name, share in settings.shares().items():
        shop = settings.bench.workloads[share.workload]
        job = _job(shop, share.workload, "stagewise")
        job |= {"hidden": share.hidden, "draws": share.draws}
        result = measure(f"share-{name}", kind="peak", **job)
        low, middle, high = np.quantile(result["fractions"], [0.25, 0.5, 0.75]).tolist()
        values = {
            "fraction_of_peak": (middle, ""),
            "fraction_of_peak_low": (low, ""),
            "fraction_of_peak_high": (high, ""),
            "peak": (result["peak_gflops"], "GFLOP/s"),
            "draw": (result["gflops"], "GFLOP"),
            **{
                f"profile.{operation.replace('::', '-')}": (spent, "of the gradient's time")
                for operation, spent in result["profile"].items()
            },
        }
        for key, (value, unit) in values.items():
            found[f"bench.{name}.{key}"] = number(
                value, n=len(result["fractions"]), unit=unit, source="bench"
            )
    return found


def _curves(settings: BenchJob, measure: _Measure) -> dict[str, dict[str, Any]]:
    """Return cost and peak memory of runs on the perceptron, a process for each point."""
    found = {}
    shop = settings.bench.workloads[CURVES]
    base = _job(shop, CURVES, "stagewise") | {"draws": settings.bench.scaling_draws, "seed": 1}
    for axis, values in settings.bench.scaling.items():
        for value in values:
            job = base | {axis: value}
            result = measure(f"costs-{axis}-{value}", kind="time", **job)
            seconds = result["first"]
            for key, cost, unit in (
                ("seconds", seconds, "s"),
                ("each", 1e3 * seconds / (job["chains"] * job["draws"]), "ms per chain-draw"),
                ("memory", result["maxrss_mb"], "MB"),
            ):
                found[f"bench.costs.{axis}.{value}.{key}"] = number(cost, unit=unit, source="bench")
    return found


main = stage(bench)

if __name__ == "__main__":
    sys.exit(main())
