"""Products of gradients between classes of tokens, sequence by sequence, at every checkpoint.

A unit is one class in one sequence; ``product(unit, other_unit)`` is g_u · g_v, with g_u the
gradient of the summed loss of the unit's tokens, nats² per squared unit of weight. Units without
tokens are left out, and both dimensions have them in the same order. Covariances under the law at
nβ = 0 are these products over γ to first order; TracIn sums them over checkpoints.
"""

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr
from jaxtyping import Float

from stagewise.config.token_classes import CLASSES
from stagewise.errors import SchemaError
from stagewise.storage import netcdf
from stagewise.storage.schema import CHECKPOINT, Schema

CLASS_GRADIENTS = Schema(
    name="stagewise.class_gradients",
    version=1,
    variables={"product": ((CHECKPOINT, "unit", "other_unit"), "f")},
    coords={
        "step": ((CHECKPOINT,), "i"),
        "unit_sequence": (("unit",), "U"),
        "unit_class": (("unit",), "U"),
    },
)


def from_arrays(
    *,
    product: Float[np.ndarray, "checkpoint unit unit"],
    step: Sequence[int] | np.ndarray,
    unit_sequence: Sequence[str] | np.ndarray,
    unit_class: Sequence[str] | Sequence[int] | np.ndarray,
    attrs: Mapping[str, Any] | None = None,
) -> xr.Dataset:
    """Make the file's dataset.

    Args:
        product: g_u · g_v.
        step: Optimiser step of each checkpoint.
        unit_sequence: Id of each unit's sequence, as in the corpus.
        unit_class: Its class, by name or as an index into ``CLASSES``.
        attrs: What else is known; ``learning_rate`` where the checkpoints are of one training.

    Raises:
        SchemaError: Shapes disagree, a class is unknown, or a unit stands there twice.
    """
    labels = {"schema": CLASS_GRADIENTS.name, "schema_version": CLASS_GRADIENTS.version}
    data = {"product": ((CHECKPOINT, "unit", "other_unit"), np.asarray(product, np.float64))}
    coords = {
        "step": (CHECKPOINT, np.asarray(step, np.int64)),
        "unit_sequence": ("unit", np.array([str(one) for one in unit_sequence], dtype=object)),
        "unit_class": ("unit", np.array([_class(one) for one in unit_class], dtype=object)),
    }
    try:
        gradients = xr.Dataset(data, coords=coords, attrs={**(attrs or {}), **labels})
    except ValueError as error:
        raise SchemaError(f"class gradients: shapes disagree ({error})") from error
    validate(gradients)
    return gradients


def _class(one: Any) -> str:
    if isinstance(one, int | np.integer):
        if not 0 <= one < len(CLASSES):
            raise SchemaError(f"class gradients: class {one}; allowed are 0 to {len(CLASSES) - 1}")
        return CLASSES[int(one)]
    return str(one)


def validate(gradients: xr.Dataset, source: str = "class gradients") -> None:
    """Check it.

    Raises:
        SchemaError: The message names what is wrong and the remedy.
    """
    CLASS_GRADIENTS.validate(gradients, source)
    if gradients.sizes["unit"] != gradients.sizes["other_unit"]:
        raise SchemaError(
            f"{source}: product is {gradients['product'].shape}; both sides have the same units"
        )
    if not np.isfinite(gradients["product"].values).all():
        raise SchemaError(f"{source}: a product is not finite; check the checkpoints' weights")
    unknown = sorted(set(gradients["unit_class"].values.tolist()) - set(CLASSES))
    if unknown:
        raise SchemaError(f"{source}: classes {unknown} are unknown; allowed are {list(CLASSES)}")
    names = zip(gradients["unit_sequence"].values, gradients["unit_class"].values, strict=True)
    units = list(names)
    if len(set(units)) < len(units):
        raise SchemaError(f"{source}: a class of a sequence stands there twice; add its gradients")


def write(gradients: xr.Dataset, path: str | os.PathLike[str]) -> None:
    """Check it and write it atomically.

    Raises:
        SchemaError: It is not valid.
    """
    validate(gradients)
    netcdf.write(gradients, path)


def read(path: str | os.PathLike[str]) -> xr.Dataset:
    """Read it into memory and check it.

    Raises:
        SchemaError: The file is missing, truncated, of another version, or no such file.
    """
    gradients = netcdf.read(path)
    validate(gradients, str(path))
    return gradients
