"""How suspicious one method finds each training sample's label, and which labels were flipped."""

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr
from jaxtyping import Bool, Float

from stagewise.errors import SchemaError
from stagewise.storage import netcdf
from stagewise.storage.schema import Schema

MISLABEL = Schema(
    name="stagewise.mislabel",
    version=1,
    variables={
        # Larger where the method finds the label more suspicious.
        "value": (("sample",), "f"),
        "flipped": (("sample",), "b"),
    },
    coords={"sample": (("sample",), "U")},
    attrs=("method", "problem"),
)


def from_arrays(
    *,
    value: Float[np.ndarray, " sample"],
    flipped: Bool[np.ndarray, " sample"],
    sample: Sequence[str] | np.ndarray,
    method: str,
    problem: str,
    attrs: Mapping[str, Any] | None = None,
) -> xr.Dataset:
    """Make a detector's file.

    Args:
        value: Larger where the label is more suspicious.
        flipped: True where the sample was trained on with another class's label.
        sample: Permanent ids of the training samples.
        method: What made the values.
        problem: Whose training samples these are.
        attrs: Further attributes.

    Raises:
        SchemaError: Shapes disagree, ids repeat, or a value is not finite.
    """
    data = {
        "value": (("sample",), np.asarray(value, np.float64)),
        "flipped": (("sample",), np.asarray(flipped, bool)),
    }
    names = {"schema": MISLABEL.name, "schema_version": MISLABEL.version}
    labels = {**(attrs or {}), "method": method, "problem": problem, **names}
    try:
        found = xr.Dataset(data, {"sample": np.array(sample, dtype=object)}, labels)
    except ValueError as error:
        raise SchemaError(f"mislabel: shapes disagree ({error}); pass arrays of one run") from error
    validate(found)
    return found


def validate(detector: xr.Dataset, source: str = "mislabel") -> None:
    """Check a detector: schema, and that every value is finite.

    Raises:
        SchemaError: The message names the method, what is wrong and the remedy.
    """
    MISLABEL.validate(detector, source)
    bad = int((~np.isfinite(detector["value"].values)).sum())
    if bad:
        raise SchemaError(
            f"{source}: {detector.attrs['method']} gave {bad} values that are not finite; allowed "
            "are finite ones: mend the method, or leave it out of the config"
        )


def write(detector: xr.Dataset, path: str | os.PathLike[str]) -> None:
    """Check a detector and write it atomically.

    Raises:
        SchemaError: It is not valid.
    """
    validate(detector)
    netcdf.write(detector, path)


def read(path: str | os.PathLike[str]) -> xr.Dataset:
    """Read a detector into memory and check it.

    Raises:
        SchemaError: The file is missing, truncated, of another version, or no such file.
    """
    detector = netcdf.read(path)
    validate(detector, str(path))
    return detector
