"""Attribution scores, whatever made them, always in the sense of the Bayesian influence function.

``value(query, sample)`` is proportional to d(query loss)/d(weight of the sample): negative means
that more weight on the sample lowers the query's loss ("helpful"), and a training duplicate of the
query comes out most negative.
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

SENSE = "bif"

SCORES = Schema(
    name="stagewise.scores",
    version=1,
    variables={"value": (("query", "sample"), "f"), "se": (("query", "sample"), "f")},
    coords={"query": (("query",), "U"), "sample": (("sample",), "U")},
    attrs=("method", "sense"),
    open_dims=True,
    open_names=True,
)


def from_arrays(
    *,
    value: Float[np.ndarray, "*lead query sample"],
    se: Float[np.ndarray, "*lead query sample"],
    query: Sequence[str] | np.ndarray,
    sample: Sequence[str] | np.ndarray,
    method: str,
    lead: Sequence[str] = (),
    coords: Mapping[str, Any] | None = None,
    attrs: Mapping[str, Any] | None = None,
) -> xr.Dataset:
    """Make a table of scores.

    Args:
        value: d(query loss)/d(weight of sample), up to a positive factor; negative = helpful.
        se: Standard error of each value; zero for a method without sampling noise.
        query: Permanent ids of the queries.
        sample: Permanent ids of the samples.
        method: What made the scores.
        lead: Names of leading dimensions, such as ``("checkpoint",)``.
        coords: Further coordinates, in xarray's form.
        attrs: Further attributes.

    Raises:
        SchemaError: Shapes disagree, ids repeat, or a value is not finite.
    """
    dims = (*lead, "query", "sample")
    ids = {"query": np.array(query, dtype=object), "sample": np.array(sample, dtype=object)}
    data = {
        "value": (dims, np.asarray(value, np.float64)),
        "se": (dims, np.asarray(se, np.float64)),
    }
    labels = {
        "method": method,
        "sense": SENSE,
        "schema": SCORES.name,
        "schema_version": SCORES.version,
    }
    try:
        scores = xr.Dataset(data, coords={**(coords or {}), **ids}, attrs={**(attrs or {})})
    except ValueError as error:
        raise SchemaError(f"scores: shapes disagree ({error}); pass arrays of one run") from error
    scores.attrs.update(labels)
    validate(scores)
    return scores


def validate(scores: xr.Dataset, source: str = "scores") -> None:
    """Check scores: schema, sense, and that every value is finite.

    Raises:
        SchemaError: The message names what is wrong and the remedy.
    """
    SCORES.validate(scores, source)
    if scores.attrs["sense"] != SENSE:
        raise SchemaError(
            f"{source} has sense {scores.attrs['sense']!r}, allowed is {SENSE!r} (negative = "
            "helpful): flip the sign in the adapter that makes them"
        )
    for name in ("value", "se"):
        bad = int((~np.isfinite(scores[name].values)).sum())
        if bad:
            raise SchemaError(
                f"{source}: {name} is not finite in {bad} entries; leave out what diverged"
            )


def write(scores: xr.Dataset, path: str | os.PathLike[str]) -> None:
    """Check scores and write them atomically.

    Raises:
        SchemaError: They are not valid scores.
    """
    validate(scores)
    netcdf.write(scores, path)


def read(path: str | os.PathLike[str]) -> xr.Dataset:
    """Read scores into memory and check them.

    Raises:
        SchemaError: The file is missing, truncated, of another version, or no scores.
    """
    scores = netcdf.read(path)
    validate(scores, str(path))
    return scores
