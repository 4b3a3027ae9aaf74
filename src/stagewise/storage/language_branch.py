"""One arm of an intervention on one seed: hits on induction tokens after each few steps."""

import os

import xarray as xr

from stagewise.storage import netcdf
from stagewise.storage.schema import Schema

LANGUAGE_BRANCH = Schema(
    name="stagewise.language_branch",
    version=1,
    variables={
        "correct": (("measured", "held"), "f"),
        "count": (("held",), "i"),
    },
    coords={"step": (("measured",), "i")},
    #: ``low`` and ``high``: the window of the arm; ``extra_steps``: steps with extra weight, of
    #: which ``extra`` each; ``finished``: 1 once the outcome came, so that nothing was cut off.
    attrs=("run", "run_seed", "arm", "low", "high", "extra", "extra_steps", "finished"),
)


def write(branch: xr.Dataset, path: str | os.PathLike[str]) -> None:
    """Check a branch and write it atomically.

    Raises:
        SchemaError: It is not valid.
    """
    LANGUAGE_BRANCH.validate(branch)
    netcdf.write(branch, path)


def read(path: str | os.PathLike[str]) -> xr.Dataset:
    """Read a branch into memory and check it.

    Raises:
        SchemaError: The file is missing, truncated, of another version, or no such file.
    """
    branch = netcdf.read(path)
    LANGUAGE_BRANCH.validate(branch, str(path))
    return branch
