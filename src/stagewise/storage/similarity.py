"""Similarities of images to each other, by any number of methods: the loss kernel and baselines.

``value(method, sample, partner)`` is symmetric and larger for images that are more alike; only its
order, and for a kernel its size, has a meaning. ``partner`` are the samples again.
"""

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr
from jaxtyping import Float

from stagewise.errors import SchemaError
from stagewise.storage import netcdf
from stagewise.storage.schema import Schema

SIMILARITY = Schema(
    name="stagewise.similarity",
    version=1,
    variables={"value": (("method", "sample", "partner"), "f")},
    optional={
        # Variance of each sample's loss, nats²; of the kernel alone.
        "variance": (("sample",), "f"),
        # Standard error of the kernel's correlations.
        "se": (("sample", "partner"), "f"),
    },
    coords={"method": (("method",), "U"), "sample": (("sample",), "U")},
    attrs=("step",),
)


def from_arrays(
    values: Mapping[str, Float[np.ndarray, "sample partner"]],
    sample: Sequence[str],
    step: int,
    attrs: Mapping[str, Any] | None = None,
) -> xr.Dataset:
    """Make a file of similarities, float32, from a matrix for each method.

    Raises:
        SchemaError: A matrix is of another size or has a value that is not finite.
    """
    count = len(sample)
    for name, value in values.items():
        if value.shape != (count, count) or not np.isfinite(value).all():
            raise SchemaError(
                f"similarity {name!r} has shape {value.shape}, {int((~np.isfinite(value)).sum())} "
                f"values that are not finite; need ({count}, {count}) finite values"
            )
    stacked = np.stack([value.astype(np.float32) for value in values.values()])
    return xr.Dataset(
        {"value": (("method", "sample", "partner"), stacked)},
        coords={
            "method": np.array(list(values), dtype=object),
            "sample": np.array(list(sample), dtype=object),
        },
        attrs={
            "schema": SIMILARITY.name,
            "schema_version": SIMILARITY.version,
            "step": int(step),
            **(attrs or {}),
        },
    )


def write(similarity: xr.Dataset, path: str | os.PathLike[str]) -> None:
    """Check similarities and write them atomically, compressed.

    Raises:
        SchemaError: They are not valid.
    """
    SIMILARITY.validate(similarity)
    netcdf.write(similarity, path, compress=True)


def read(path: str | os.PathLike[str]) -> xr.Dataset:
    """Read similarities into memory and check them.

    Raises:
        SchemaError: The file is missing, truncated, of another version, or no such file.
    """
    return netcdf.read(path, SIMILARITY)
