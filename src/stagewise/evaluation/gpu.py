"""Numbers of a run of ``bench/gpu.py`` for the record that the paper prints."""

import math
import re
from collections.abc import Mapping
from typing import Any

from stagewise.config.scaling import ScalingSettings
from stagewise.errors import SchemaError
from stagewise.evaluation.scaling import scaling_numbers
from stagewise.storage.metrics import number

_SOURCE = "gpu"
_UNITS = {"seconds": "s", "memory_mb": "MB"}


def gpu_numbers(
    run: Mapping[str, Any], settings: ScalingSettings, standard_errors: float
) -> dict[str, dict[str, Any]]:
    """Return everything that was measured as flat numbers.

    Args:
        run: What ``bench/gpu.py`` wrote; parts that it did not come to are missing.
        settings: The scaling study's on a GPU.
        standard_errors: Ratios are quoted of samplers whose mean excess losses agree to so many.
    """
    found = _tests(run.get("tests", {}).get("pytest"))
    for part, values in run.get("environment", {}).items():
        if part != "machine":
            found |= _plain(f"gpu.{part}", values)
    found |= _ratios(run.get("throughput", {}), standard_errors)
    for name, values in run.get("models", {}).items():
        found |= _plain(f"gpu.{name}", values)
    if run.get("scaling"):
        found |= scaling_numbers(run["scaling"], settings)
    return found


def device_of(run: Mapping[str, Any]) -> str:
    """Return the name of the device.

    Raises:
        SchemaError: The run did not note it.
    """
    try:
        return str(run["environment"]["machine"]["device"])
    except KeyError:
        raise SchemaError(
            "the run names no device; let bench/gpu.py measure the part 'environment' too"
        ) from None


def merged(*runs: Mapping[str, Any]) -> dict[str, Any]:
    """Return one run made of several; of an entry that several have, the last is taken."""
    found: dict[str, Any] = {}
    for run in runs:
        for part, entries in run.items():
            found.setdefault(part, {}).update(entries)
    return found


def _tests(run: Mapping[str, Any] | None) -> dict[str, dict[str, Any]]:
    """Return how many tests passed, failed and were left out."""
    if run is None:
        return {}
    counts = dict.fromkeys(("passed", "failed", "skipped"), 0)
    for count, name in re.findall(r"(\d+) (passed|failed|skipped)", run["output"]):
        counts[name] = int(count)
    return {f"gpu.tests.{name}": number(n, source=_SOURCE) for name, n in counts.items()}


def _plain(start: str, values: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    return {
        f"{start}.{key}": number(value, unit=_UNITS.get(key, ""), source=_SOURCE)
        for key, value in values.items()
        if isinstance(value, int | float)
    }


def _ratios(rates: Mapping[str, Mapping[str, float]], errors: float) -> dict[str, dict[str, Any]]:
    """Return chain-steps a second, and ours over others' where outputs agree."""
    found = {}
    for name, one in rates.items():
        work, _, sampler = name.partition("/")
        rate = one["chain_steps_per_second"]
        found[f"gpu.{work}.{sampler}"] = number(rate, unit="chain-steps/s", source=_SOURCE)
        ours = rates.get(f"{work}/stagewise")
        if ours is None or sampler == "stagewise" or not _agree(ours, one, errors):
            continue
        ratio = ours["chain_steps_per_second"] / rate
        found[f"gpu.{work}.vs_{sampler}"] = number(ratio, source=_SOURCE)
    return found


def _agree(one: Mapping[str, float], other: Mapping[str, float], errors: float) -> bool:
    apart = abs(one["mean_excess"] - other["mean_excess"])
    return apart <= errors * math.hypot(one["mean_excess_error"], other["mean_excess_error"])
