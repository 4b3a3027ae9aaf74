"""What could tell training images with a flipped label from others, and who influences whom.

The judged images are training images, some with another class's label; the queries are held out.
"""

import os

import xarray as xr

from stagewise.storage import netcdf
from stagewise.storage.schema import Schema

DETECTORS = Schema(
    name="stagewise.detectors",
    version=1,
    variables={
        "flipped": (("sample",), "b"),
        # The label that the training had.
        "given": (("sample",), "i"),
        # Each larger for images that look mislabelled.
        "loss": (("sample",), "f"),
        "el2n": (("sample",), "f"),
        "self_gradient": (("sample",), "f"),
        # Cosine of penultimate features.
        "penultimate": (("sample", "partner"), "f"),
        # EK-FAC's influence in the sense of the Bayesian one: negative helps.
        "ekfac": (("query", "sample"), "f"),
        # -g_q · g_i, the influence's limit for small moves: negative helps.
        "gradient": (("query", "sample"), "f"),
    },
    coords={"sample": (("sample",), "U"), "query": (("query",), "U")},
    attrs=("ekfac_seconds", "damping"),
)


def write(detectors: xr.Dataset, path: str | os.PathLike[str]) -> None:
    """Check and write atomically.

    Raises:
        SchemaError: It is not valid.
    """
    DETECTORS.validate(detectors)
    netcdf.write(detectors, path)


def read(path: str | os.PathLike[str]) -> xr.Dataset:
    """Read into memory and check.

    Raises:
        SchemaError: The file is missing, truncated, of another version, or no such file.
    """
    return netcdf.read(path, DETECTORS)
