"""Files of the two-task experiment: trained networks, and kernels of one row and some seeds."""

import os

import numpy as np
import xarray as xr

from stagewise.errors import SchemaError
from stagewise.storage import netcdf
from stagewise.storage.schema import CHECKPOINT, Schema

#: Weights at the end of every training, and the share of right answers by task (0 to 1).
TRAINING = Schema(
    name="stagewise.multitask_training",
    version=1,
    variables={
        "weights": (("fraction", "seed", "parameter"), "f"),
        "train_accuracy": (("fraction", "seed", "task"), "f"),
        "test_accuracy": (("fraction", "seed", "task"), "f"),
        "train_loss": (("fraction", "seed"), "f"),
    },
    coords={
        "shared": (("fraction",), "f"),
        "seed": (("seed",), "i"),
        "operation": (("task",), "U"),
    },
)

_KERNEL = (CHECKPOINT, "sample", "partner")

#: Covariance (squared nats) and correlation of recorded losses at every checkpoint with their
#: errors, and the diagnostics of the chains; ``law`` is the exact covariance where there is one.
KERNEL = Schema(
    name="stagewise.multitask_kernel",
    version=1,
    variables={
        "covariance": (_KERNEL, "f"),
        "covariance_se": (_KERNEL, "f"),
        "correlation": (_KERNEL, "f"),
        "correlation_se": (_KERNEL, "f"),
        "rise": ((CHECKPOINT,), "f"),
        "rhat_loss_max": ((CHECKPOINT,), "f"),
        "rhat_product_max": ((CHECKPOINT,), "f"),
        "ess_product_min": ((CHECKPOINT,), "f"),
        "null_max_abs_z": ((CHECKPOINT,), "f"),
        "drift_max_z": ((CHECKPOINT,), "f"),
    },
    optional={"law": (_KERNEL, "f")},
    coords={
        "sample": (("sample",), "U"),
        "partner": (("partner",), "U"),
        "shared": ((CHECKPOINT,), "f"),
        "run_seed": ((CHECKPOINT,), "i"),
        "task": (("sample",), "i"),
        "a": (("sample",), "i"),
        "b": (("sample",), "i"),
        "answer": (("sample",), "i"),
    },
    attrs=("row", "chains", "null_entries", "drift_entries"),
)


def write(dataset: xr.Dataset, schema: Schema, path: str | os.PathLike[str]) -> None:
    """Sign a dataset with its schema, check it and write it atomically.

    Raises:
        SchemaError: It does not fit the schema.
    """
    signed = dataset.assign_attrs(schema=schema.name, schema_version=schema.version)
    _check(signed, schema, "dataset")
    netcdf.write(signed, path)


def read(path: str | os.PathLike[str], schema: Schema) -> xr.Dataset:
    """Read a file into memory and check it.

    Raises:
        SchemaError: The file is missing, truncated, of another kind or version, or not finite.
    """
    dataset = netcdf.read(path)
    _check(dataset, schema, str(path))
    return dataset


def _check(dataset: xr.Dataset, schema: Schema, source: str) -> None:
    schema.validate(dataset, source)
    name = "weights" if schema is TRAINING else "covariance"
    if not np.isfinite(dataset[name].values).all():
        raise SchemaError(f"{source}: {name} is not finite; run the stage that makes it again")
