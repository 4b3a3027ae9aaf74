"""One training of an image network: weights at checkpoints, the labels it was given, its accuracy.

``state`` holds every floating-point tensor of the network's state dict, parameters and statistics
of BatchNorm, one after another in the dict's order.
"""

import os

import xarray as xr

from stagewise.storage import netcdf
from stagewise.storage.schema import Schema

VISION_TRAINING = Schema(
    name="stagewise.vision_training",
    version=1,
    variables={
        "state": (("checkpoint", "entry"), "f"),
        # Label that each training image had, flipped or not, in the order of the images' file.
        "given": (("sample",), "i"),
        "held_loss": (("checkpoint",), "f"),
        "held_accuracy": (("checkpoint",), "f"),
        # Over held-out images.
        "held_accuracy_se": (("checkpoint",), "f"),
    },
    coords={"step": (("checkpoint",), "i"), "sample": (("sample",), "U")},
    attrs=("labels", "parameters", "shift", "scale"),
)


def write(training: xr.Dataset, path: str | os.PathLike[str]) -> None:
    """Check the file of a training and write it atomically.

    Raises:
        SchemaError: It is not valid.
    """
    VISION_TRAINING.validate(training)
    netcdf.write(training, path)


def read(path: str | os.PathLike[str]) -> xr.Dataset:
    """Read it into memory and check it.

    Raises:
        SchemaError: The file is missing, truncated, of another version, or no such file.
    """
    return netcdf.read(path, VISION_TRAINING)
