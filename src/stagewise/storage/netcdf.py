"""Datasets as netCDF files: written atomically, read whole, equal content giving equal bytes."""

import os
from collections.abc import Hashable
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from stagewise.errors import SchemaError
from stagewise.files import atomic_path
from stagewise.storage.schema import Schema

_REMEDY = "delete it and run the stage that makes it again"


def write(dataset: xr.Dataset, path: str | os.PathLike[str], *, compress: bool = False) -> None:
    """Write a dataset atomically as netCDF-4.

    Variables and attributes are written in sorted order and HDF5 stores no times, so that equal
    content gives equal bytes and equal hashes.

    Args:
        dataset: What to write.
        path: Where; what stood there stays until the new file is whole.
        compress: Compress floating-point variables (zlib level 1).

    Raises:
        StagewiseError: The disk is full; the old file is intact.
    """
    ordered = _ordered(dataset)
    encoding: dict[Hashable, dict[str, Any]] = {}
    for name, variable in ordered.variables.items():
        encoding[name] = {"_FillValue": None} if variable.dtype.kind == "f" else {}
        if variable.dtype.kind == "f" and variable.size and variable.ndim:
            encoding[name]["fletcher32"] = True  # a flipped bit is then an error, not a result
        if compress and variable.dtype.kind == "f" and variable.ndim:
            encoding[name] |= {"zlib": True, "complevel": 1}
    # Through memory: HDF5 that meets a full disk raises, and then takes the process down when its
    # half-written file is closed. A write from Python fails cleanly.
    image = ordered.to_netcdf(None, engine="h5netcdf", format="NETCDF4", encoding=encoding)
    with atomic_path(path) as temporary:
        temporary.write_bytes(image)


def read(path: str | os.PathLike[str], schema: Schema | None = None) -> xr.Dataset:
    """Read a whole dataset into memory, close the file, and check it against its schema.

    Raises:
        SchemaError: The file is missing, truncated, or breaks the schema.
    """
    target = Path(path)
    if not target.is_file():
        raise SchemaError(f"{target} does not exist; run the stage that makes it first")
    try:
        with xr.open_dataset(target, engine="h5netcdf") as lazy:
            dataset = lazy.load()
    except Exception as error:  # h5py raises OSError, KeyError, RuntimeError, by where the cut is
        raise SchemaError(
            f"{target} cannot be read as netCDF, it is truncated or no such file ({error}); "
            f"{_REMEDY}"
        ) from error
    for variable in dataset.variables.values():
        variable.encoding.clear()  # what was read must write back to the same bytes
    dataset.encoding.clear()
    if schema is not None:
        schema.validate(dataset, str(target))
    return dataset


def _ordered(dataset: xr.Dataset) -> xr.Dataset:
    """Return the same dataset with sorted names and with attributes that netCDF can hold."""
    coords = {name: _variable(dataset.variables[name]) for name in sorted(dataset.coords, key=str)}
    data = {name: _variable(dataset.variables[name]) for name in sorted(dataset.data_vars, key=str)}
    return xr.Dataset(data, coords=coords, attrs=_attributes(dataset.attrs))


def _variable(variable: xr.Variable) -> xr.Variable:
    values = np.asarray(variable.values)
    if values.dtype.kind in "UT":
        values = values.astype(object)
    return xr.Variable(variable.dims, values, _attributes(variable.attrs))


def _attributes(attrs: dict[Any, Any]) -> dict[str, Any]:
    # netCDF attributes have no booleans.
    plain = {str(k): int(v) if isinstance(v, bool | np.bool_) else v for k, v in attrs.items()}
    return dict(sorted(plain.items()))
