"""Items and their taxonomy: permanent ids, parents, labels."""

import os
from collections.abc import Sequence

import numpy as np
import xarray as xr
from jaxtyping import Bool, Int

from stagewise.errors import SchemaError
from stagewise.storage import netcdf
from stagewise.storage.schema import Schema

ROOT_PARENT = ""

ITEMS = Schema(
    name="stagewise.items",
    version=1,
    variables={
        "parent": (("id",), "U"),
        "label": (("id",), "U"),
        "depth": (("id",), "i"),
        "is_leaf": (("id",), "b"),
    },
    coords={"id": (("id",), "U")},
)


def from_arrays(
    *,
    id: Sequence[str] | np.ndarray,
    parent: Sequence[str] | np.ndarray,
    label: Sequence[str] | np.ndarray,
) -> xr.Dataset:
    """Make a taxonomy from the parent of each node; depth and leaves follow from it.

    Args:
        id: Permanent ids of all nodes.
        parent: Id of each node's parent, the empty string for a root.
        label: What people call the node.

    Raises:
        SchemaError: Ids repeat, a parent is unknown, or the parents form a cycle.
    """
    ids, parents = [str(one) for one in id], [str(one) for one in parent]
    data = {
        "parent": ("id", np.array(parents, dtype=object)),
        "label": ("id", np.array([str(one) for one in label], dtype=object)),
        "depth": ("id", _depths(ids, parents)),
        "is_leaf": ("id", _leaves(ids, parents)),
    }
    labels = {"schema": ITEMS.name, "schema_version": ITEMS.version}
    try:
        items = xr.Dataset(data, coords={"id": np.array(ids, dtype=object)}, attrs=labels)
    except ValueError as error:
        raise SchemaError(f"items: lengths disagree ({error}); pass one of each") from error
    ITEMS.validate(items, "items")
    return items


def _leaves(ids: Sequence[str], parents: Sequence[str]) -> Bool[np.ndarray, "id"]:
    inner = set(parents)
    return np.array([one not in inner for one in ids], dtype=bool)


def _depths(ids: Sequence[str], parents: Sequence[str]) -> Int[np.ndarray, "id"]:
    """Return the distance of each node to its root."""
    above = dict(zip(ids, parents, strict=False))
    depths = np.zeros(len(ids), dtype=np.int64)
    for index, node in enumerate(ids):
        current = above.get(node, ROOT_PARENT)
        while current != ROOT_PARENT:
            if current not in above:
                raise SchemaError(
                    f"items: parent {current!r} of {node!r} is no item; add it, or use "
                    f"{ROOT_PARENT!r} for a root"
                )
            depths[index] += 1
            if depths[index] >= len(ids):
                raise SchemaError(f"items: the parents of {node!r} form a cycle; cut it at a root")
            current = above[current]
    return depths


def write(items: xr.Dataset, path: str | os.PathLike[str]) -> None:
    """Check a taxonomy and write it atomically.

    Raises:
        SchemaError: It is not a valid taxonomy.
    """
    ITEMS.validate(items, "items")
    netcdf.write(items, path)


def read(path: str | os.PathLike[str]) -> xr.Dataset:
    """Read a taxonomy into memory and check it.

    Raises:
        SchemaError: The file is missing, truncated, of another version, or no taxonomy.
    """
    return netcdf.read(path, ITEMS)
