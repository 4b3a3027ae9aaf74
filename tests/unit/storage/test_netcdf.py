"""Equal content gives equal bytes; what is read writes back the same."""

import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from stagewise.errors import SchemaError
from stagewise.files import sha256_file
from stagewise.storage import netcdf


def _dataset() -> xr.Dataset:
    rng = np.random.default_rng(0)
    return xr.Dataset(
        {
            "x": (("seed", "item"), rng.normal(size=(2, 3)), {"unit": "nats"}),
            "flag": ("seed", [True, False]),
            "count": ("seed", np.array([1, 2], np.int8)),
            "alone": 1.5,
        },
        coords={"item": ["a", "µ", "ccc"], "seed": [3, 4], "step": ("seed", [0, 7])},
        attrs={"tau": 0.1, "name": "toy", "flag": True, "vector": [1.0, 2.0]},
    )


def test_equal_content_gives_equal_bytes_whatever_the_order_or_time(tmp_path: Path) -> None:
    """Catches timestamps and dictionary order in the file, which would rerun what depends on it."""
    one = _dataset()
    netcdf.write(one, tmp_path / "a.nc")
    time.sleep(1.1)  # HDF5 keeps whole seconds
    names = ["flag", "alone", "x", "count"]
    other = xr.Dataset(
        {name: one[name].variable for name in names},
        coords={name: one.coords[name].variable for name in reversed(list(one.coords))},
        attrs=dict(reversed(one.attrs.items())),
    )
    netcdf.write(other, tmp_path / "b.nc")
    netcdf.write(netcdf.read(tmp_path / "a.nc"), tmp_path / "c.nc")
    hashes = {sha256_file(tmp_path / name) for name in ("a.nc", "b.nc", "c.nc")}
    assert len(hashes) == 1


def test_another_process_writes_the_same_bytes(tmp_path: Path) -> None:
    """Catches uninitialised memory or hash order in the file."""
    code = """
import sys, numpy as np, xarray as xr
from stagewise.storage import netcdf
data = xr.Dataset({"x": ("i", np.arange(3.0))}, coords={"i": ["a", "bb", "ccc"]}, attrs={"k": "v"})
netcdf.write(data, sys.argv[1])
"""
    for name in ("a.nc", "b.nc"):
        subprocess.run([sys.executable, "-c", code, str(tmp_path / name)], check=True)
    assert sha256_file(tmp_path / "a.nc") == sha256_file(tmp_path / "b.nc")


def test_what_is_read_is_what_was_written_and_the_file_is_closed(tmp_path: Path) -> None:
    """Catches lazy arrays that need the file later, and booleans or strings that change type."""
    made = _dataset()
    netcdf.write(made, tmp_path / "a.nc")
    read = netcdf.read(tmp_path / "a.nc")
    (tmp_path / "a.nc").unlink()
    xr.testing.assert_equal(made, read)
    assert read["flag"].dtype == bool
    assert read["x"].attrs == {"unit": "nats"}
    assert (read.attrs["tau"], read.attrs["name"], read.attrs["flag"]) == (0.1, "toy", 1)


def test_nan_and_compression_survive(tmp_path: Path) -> None:
    data = xr.Dataset({"x": ("i", np.array([np.nan, 1.0, np.inf]))})
    netcdf.write(data, tmp_path / "a.nc", compress=True)
    np.testing.assert_array_equal(netcdf.read(tmp_path / "a.nc")["x"], data["x"])


def test_a_file_of_another_kind_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.nc").write_text("seed,step\n1,2\n")
    with pytest.raises(SchemaError, match=r"a\.nc cannot be read as netCDF.*delete it"):
        netcdf.read(tmp_path / "a.nc")


def test_the_array_side_starts_without_torch_and_other_slow_imports() -> None:
    """Catches an import at the top that every stage would pay for."""
    code = """
import sys
import stagewise.estimators.diagnostics, stagewise.estimators.gates, stagewise.estimators.influence
import stagewise.estimators.kernels, stagewise.estimators.local_learning
import stagewise.storage.items, stagewise.storage.metrics, stagewise.storage.targets
slow = {"torch", "arviz", "sklearn", "matplotlib", "scipy.stats", "dask"} & set(sys.modules)
assert not slow, slow
"""
    subprocess.run([sys.executable, "-c", code], check=True)
