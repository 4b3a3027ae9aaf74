"""Retraining targets: each query's loss after training on each subset, with each seed."""

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr
from jaxtyping import Bool, Float

from stagewise.errors import SchemaError
from stagewise.storage import netcdf
from stagewise.storage.schema import Schema

TARGETS = Schema(
    name="stagewise.targets",
    version=1,
    variables={"loss": (("subset", "seed", "query"), "f"), "mask": (("subset", "sample"), "b")},
    coords={
        "seed": (("seed",), "i"),
        "query": (("query",), "U"),
        "sample": (("sample",), "U"),
    },
)


def from_arrays(
    *,
    loss: Float[np.ndarray, "subset seed query"],
    mask: Bool[np.ndarray, "subset sample"],
    seed: Sequence[int] | np.ndarray,
    query: Sequence[str] | np.ndarray,
    sample: Sequence[str] | np.ndarray,
    attrs: Mapping[str, Any] | None = None,
) -> xr.Dataset:
    """Make a table of retraining targets.

    Args:
        loss: Loss of the query after training on the subset with the seed, nats.
        mask: True where the subset holds the sample.
        seed: Seeds of the retrainings.
        query: Permanent ids of the queries.
        sample: Permanent ids of the training samples.
        attrs: Further attributes, such as the subset fraction α.

    Raises:
        SchemaError: Shapes disagree, ids repeat, or a loss is not finite.
    """
    data = {
        "loss": (("subset", "seed", "query"), np.asarray(loss, np.float64)),
        "mask": (("subset", "sample"), np.asarray(mask, bool)),
    }
    coords = {
        "seed": np.asarray(seed, np.int64),
        "query": np.array(query, dtype=object),
        "sample": np.array(sample, dtype=object),
    }
    labels = {**(attrs or {}), "schema": TARGETS.name, "schema_version": TARGETS.version}
    try:
        targets = xr.Dataset(data, coords=coords, attrs=labels)
    except ValueError as error:
        raise SchemaError(f"targets: shapes disagree ({error}); pass arrays of one run") from error
    validate(targets)
    return targets


def validate(targets: xr.Dataset, source: str = "targets") -> None:
    """Check targets: schema, and that every loss is finite.

    Raises:
        SchemaError: The message names what is wrong and the remedy.
    """
    TARGETS.validate(targets, source)
    bad = int((~np.isfinite(targets["loss"].values)).sum())
    if bad:
        raise SchemaError(
            f"{source}: loss is not finite in {bad} entries; a retraining diverged: lower its "
            "learning rate and retrain"
        )


def write(targets: xr.Dataset, path: str | os.PathLike[str]) -> None:
    """Check targets and write them atomically.

    Raises:
        SchemaError: They are not valid targets.
    """
    validate(targets)
    netcdf.write(targets, path)


def read(path: str | os.PathLike[str]) -> xr.Dataset:
    """Read targets into memory and check them.

    Raises:
        SchemaError: The file is missing, truncated, of another version, or no targets.
    """
    targets = netcdf.read(path)
    validate(targets, str(path))
    return targets
