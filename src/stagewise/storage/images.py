"""Images with labels, splits and permanent ids: what a network is trained on and its kernel is of.

Pixels are stored where they were rendered here; images of a folder stay where they are, by path.
"""

import os

import numpy as np
import xarray as xr
from jaxtyping import Bool, UInt8

from stagewise.storage import netcdf
from stagewise.storage.schema import Schema

#: Splits: what is trained on; renderings of the same kind that settings are chosen on; what is
#: scored.
TRAIN, TUNING, HELD = "train", "tuning", "held"

IMAGES = Schema(
    name="stagewise.images",
    version=1,
    variables={
        # Index of the class, in the order of the coordinate ``class``.
        "label": (("sample",), "i"),
        "split": (("sample",), "U"),
        # What an image differs in from others of its class: a face, or a file's name.
        "variant": (("sample",), "U"),
        # Whether the kernel is of it (a part of the held-out images).
        "recorded": (("sample",), "b"),
    },
    optional={
        # Grey levels, 0 is paper and 255 ink.
        "pixels": (("sample", "row", "column"), "i"),
        "path": (("sample",), "U"),
        # Small grey pictures of the recorded images, where pixels are not stored; others are 0.
        "thumbnail": (("sample", "row", "column"), "i"),
        # Pairs of classes that look alike, a positive control.
        "twin": (("class",), "U"),
        # How two classes are related beyond the taxonomy: "other case", for letters.
        "relation": (("class", "other"), "U"),
    },
    coords={"sample": (("sample",), "U"), "class": (("class",), "U")},
    attrs=("kind", "size"),
)


def write(images: xr.Dataset, path: str | os.PathLike[str]) -> None:
    """Check images and write them atomically.

    Raises:
        SchemaError: They are not valid.
    """
    IMAGES.validate(images)
    netcdf.write(images, path)


def read(path: str | os.PathLike[str]) -> xr.Dataset:
    """Read images into memory and check them.

    Raises:
        SchemaError: The file is missing, truncated, of another version, or no such file.
    """
    return netcdf.read(path, IMAGES)


def part(images: xr.Dataset, split: str) -> xr.Dataset:
    """Return the images of one split."""
    return images.isel(sample=np.flatnonzero(images["split"].values.astype(str) == split))


def thumbnails(images: xr.Dataset) -> UInt8[np.ndarray, "sample row column"]:
    """Return small pictures of images, 0 is paper."""
    name = "pixels" if "pixels" in images else "thumbnail"
    return images[name].values.astype(np.uint8)


def recorded(images: xr.Dataset) -> xr.Dataset:
    """Return the images that the kernel is of."""
    chosen: Bool[np.ndarray, " sample"] = images["recorded"].values.astype(bool)
    return images.isel(sample=np.flatnonzero(chosen))
