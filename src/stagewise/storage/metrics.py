"""Metrics along training, and the numbers that the paper quotes.

Metrics are one netCDF variable per name over (seed, step). Numbers are one flat JSON object, key ->
value, standard error, count, unit and source; no key may be written twice.
"""

import math
import os
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr
from jaxtyping import Float

from stagewise.errors import SchemaError
from stagewise.files import read_json, write_json
from stagewise.storage import netcdf
from stagewise.storage.schema import Schema

METRICS = Schema(
    name="stagewise.metrics",
    version=1,
    variables={},
    coords={"seed": (("seed",), "i"), "step": (("step",), "i")},
    open_names=True,
)

_FIELDS = ("value", "se", "n", "unit", "source")
_KEY = re.compile(r"[A-Za-z0-9_\-]+(\.[A-Za-z0-9_\-]+)+")


def from_arrays(
    *,
    seed: Sequence[int] | np.ndarray,
    step: Sequence[int] | np.ndarray,
    values: Mapping[str, Float[np.ndarray, "seed step"]],
    attrs: Mapping[str, Any] | None = None,
) -> xr.Dataset:
    """Make a table of metrics over seeds and optimiser steps.

    Raises:
        SchemaError: A shape is not (seed, step), or seeds or steps repeat.
    """
    data = {name: (("seed", "step"), np.asarray(array)) for name, array in values.items()}
    coords = {"seed": np.asarray(seed, np.int64), "step": np.asarray(step, np.int64)}
    labels = {**(attrs or {}), "schema": METRICS.name, "schema_version": METRICS.version}
    try:
        metrics = xr.Dataset(data, coords=coords, attrs=labels)
    except ValueError as error:
        raise SchemaError(f"metrics: shapes disagree ({error}); use (seed, step)") from error
    validate(metrics)
    return metrics


def validate(metrics: xr.Dataset, source: str = "metrics") -> None:
    """Check metrics: schema, and that every variable is a float over (seed, step).

    Raises:
        SchemaError: The message names what is wrong and the remedy.
    """
    METRICS.validate(metrics, source)
    for name, array in metrics.data_vars.items():
        if array.dims != ("seed", "step") or array.dtype.kind != "f":
            raise SchemaError(
                f"{source}: {name} is {array.dtype} over {array.dims}, expected floating point "
                "over ('seed', 'step'); transpose or cast it"
            )


def write(metrics: xr.Dataset, path: str | os.PathLike[str]) -> None:
    """Check metrics and write them atomically.

    Raises:
        SchemaError: They are not valid metrics.
    """
    validate(metrics)
    netcdf.write(metrics, path)


def read(path: str | os.PathLike[str]) -> xr.Dataset:
    """Read metrics into memory and check them.

    Raises:
        SchemaError: The file is missing, truncated, of another version, or no metrics.
    """
    metrics = netcdf.read(path)
    validate(metrics, str(path))
    return metrics


def number(
    value: float | int | np.number | None,
    *,
    source: str,
    se: float | np.number | None = None,
    n: int | np.integer | None = None,
    unit: str = "",
) -> dict[str, Any]:
    """Return one entry of the numbers file; ``None`` where there is no value or no error."""
    return {
        "value": _plain(value),
        "se": _plain(se),
        "n": _plain(n),
        "unit": unit,
        "source": source,
    }


def _plain(value: Any) -> Any:
    return value.item() if hasattr(value, "item") else value


def check_numbers(numbers: Mapping[str, Any], source: str = "numbers") -> dict[str, dict[str, Any]]:
    """Check a numbers object and return it as a plain dict.

    Raises:
        SchemaError: A key or a field is malformed; the message names it.
    """
    for key, entry in numbers.items():
        if not _KEY.fullmatch(key):
            raise SchemaError(
                f"{source}: key {key!r} is not words joined by dots; use such as 'toy.modes.error'"
            )
        if not isinstance(entry, Mapping) or set(entry) != set(_FIELDS):
            raise SchemaError(f"{source}: {key} needs exactly the fields {list(_FIELDS)}: {entry}")
        _check_entry(key, entry, source)
    return {key: dict(numbers[key]) for key in sorted(numbers)}


def _check_entry(key: str, entry: Mapping[str, Any], source: str) -> None:
    for name, kinds in (("value", (int, float)), ("se", (int, float)), ("n", (int,))):
        found = entry[name]
        if found is None:
            continue
        if isinstance(found, bool) or not isinstance(found, kinds) or not math.isfinite(found):
            raise SchemaError(
                f"{source}: {key}.{name} is {found!r}; allowed is a finite number or null"
            )
    if (entry["se"] or 0) < 0 or (entry["n"] is not None and entry["n"] < 1):
        raise SchemaError(
            f"{source}: {key} has se {entry['se']}, n {entry['n']}; need se ≥ 0, n ≥ 1"
        )
    if not isinstance(entry["unit"], str) or not entry["source"]:
        raise SchemaError(f"{source}: {key} needs a unit (may be '') and a source (may not)")


def merge_numbers(parts: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Merge numbers objects, given by the name of their file.

    Raises:
        SchemaError: Two of them hold the same key, or an entry is malformed.
    """
    merged: dict[str, dict[str, Any]] = {}
    origin: dict[str, str] = {}
    for name, part in parts.items():
        for key, entry in check_numbers(part, name).items():
            if key in merged:
                raise SchemaError(
                    f"{key} is in both {origin[key]} and {name}; let one stage write it"
                )
            merged[key], origin[key] = entry, name
    return dict(sorted(merged.items()))


def write_numbers(numbers: Mapping[str, Any], path: str | os.PathLike[str]) -> None:
    """Check numbers and write them atomically as JSON.

    Raises:
        SchemaError: An entry is malformed.
    """
    write_json(path, check_numbers(numbers, str(path)))


def read_numbers(path: str | os.PathLike[str]) -> dict[str, dict[str, Any]]:
    """Read and check a numbers file.

    Raises:
        SchemaError: It is missing, truncated or malformed.
    """
    numbers = read_json(path)
    if not isinstance(numbers, Mapping):
        raise SchemaError(f"{path} holds no JSON object; delete it and run its stage again")
    return check_numbers(numbers, str(path))
