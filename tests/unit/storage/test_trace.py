"""A trace is refused unless it is whole, of this schema, and of the checkpoint that is meant."""

import json
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from stagewise.errors import SchemaError
from stagewise.storage import netcdf, trace
from support.traces import ATTRS, make_trace


@pytest.fixture
def losses() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(3, 4, 5, 2))


def test_what_is_written_is_read(tmp_path: Path, losses: np.ndarray) -> None:
    """Catches lost coordinates, attributes, dtypes and dimension orders."""
    made = make_trace(losses, queries=losses[..., :1] + 1, step=[0, 10, 30])
    trace.write(made, tmp_path / "a.nc")
    read = trace.read(tmp_path / "a.nc")
    xr.testing.assert_identical(made.drop_attrs(), read.drop_attrs())
    assert read["excess_loss"].dtype == np.float32
    assert read["loss_ref"].dtype == np.float64
    assert read["step"].values.tolist() == [0, 10, 30]
    assert json.loads(read.attrs["versions"]) == ATTRS["versions"]
    assert {name: read.attrs[name] for name in ("n_beta", "kernel", "batch_size")} == {
        "n_beta": 100.0,
        "kernel": "sgld",
        "batch_size": 0,
    }


def test_a_trace_without_checkpoints_is_as_good(tmp_path: Path, losses: np.ndarray) -> None:
    trace.write(make_trace(losses[0]), tmp_path / "a.nc")
    assert trace.read(tmp_path / "a.nc")["excess_loss"].dims == ("chain", "draw", "sample")


def test_every_truncation_is_refused(tmp_path: Path, losses: np.ndarray) -> None:
    """Catches a cut file taken for a whole one."""
    trace.write(make_trace(losses), tmp_path / "a.nc")
    whole = (tmp_path / "a.nc").read_bytes()
    for length in np.linspace(0, len(whole) - 1, 25).astype(int):
        (tmp_path / "cut.nc").write_bytes(whole[:length])
        with pytest.raises(SchemaError, match=r"cut\.nc.*truncated.*delete it"):
            trace.read(tmp_path / "cut.nc")


def test_a_missing_file_names_the_stage_to_run(tmp_path: Path) -> None:
    with pytest.raises(SchemaError, match=r"none\.nc does not exist; run the stage"):
        trace.read(tmp_path / "none.nc")


def test_another_version_or_schema_is_refused(tmp_path: Path, losses: np.ndarray) -> None:
    """Catches an old file read as a new one."""
    made = make_trace(losses)
    netcdf.write(made.assign_attrs(schema_version=99), tmp_path / "old.nc")
    with pytest.raises(SchemaError, match=r"old\.nc.*schema_version 99.*reads 1; delete"):
        trace.read(tmp_path / "old.nc")
    netcdf.write(made.assign_attrs(schema="stagewise.scores"), tmp_path / "other.nc")
    with pytest.raises(SchemaError, match=r"'stagewise\.scores', expected 'stagewise\.trace'"):
        trace.read(tmp_path / "other.nc")


def test_a_trace_of_another_checkpoint_is_refused(losses: np.ndarray) -> None:
    """Catches a result cache whose key leaves out the weights."""
    made = make_trace(losses)
    trace.require(made, checkpoint_hash="c" * 64, n_beta=100.0)
    with pytest.raises(
        SchemaError, match="checkpoint_hash 'cccc.*another checkpoint.*sample again"
    ):
        trace.require(made, checkpoint_hash="f" * 64)


def _breaks() -> dict[str, tuple[object, str]]:
    return {
        "variable": (lambda t: t.drop_vars("distance"), r"lacks the variable\(s\) \['distance'\]"),
        "coordinate": (lambda t: t.drop_vars("sample"), r"lacks the coordinate\(s\) \['sample'\]"),
        "attribute": (lambda t: t.drop_attrs(deep=False), "schema None"),
        "unknown": (lambda t: t.assign(los=0.0), r"unknown variable\(s\) \['los'\].*allows"),
        "dims": (
            lambda t: t.assign(distance=t["distance"].transpose("draw", "chain", "checkpoint")),
            "distance has dimensions .* expected",
        ),
        "dtype": (lambda t: t.assign(status=t["status"] * 1.0), "status has type float64.*integer"),
        "ids": (lambda t: t.assign_coords(sample=["a", "a"]), r"sample repeats \['a'\]"),
        "half": (lambda t: t.drop_vars("query_loss_ref"), "query_loss_ref come together"),
    }


@pytest.mark.parametrize("name", sorted(_breaks()))
def test_what_is_wrong_is_named(losses: np.ndarray, name: str) -> None:
    change, message = _breaks()[name]
    made = make_trace(losses, queries=losses)
    with pytest.raises(SchemaError, match=message):
        trace.validate(change(made))  # type: ignore[operator]


def test_a_missing_attribute_is_named(losses: np.ndarray) -> None:
    made = make_trace(losses)
    del made.attrs["n_beta"]
    with pytest.raises(SchemaError, match=r"attribute\(s\) \['n_beta'\]"):
        trace.validate(made)


def test_nan_in_a_chain_marked_ok_is_refused_and_in_a_diverged_one_kept(
    tmp_path: Path, losses: np.ndarray
) -> None:
    """Catches a diverged chain stored as complete."""
    losses[1, 2, 3:] = np.nan
    with pytest.raises(SchemaError, match=r"excess_loss is not finite in 1 chain\(s\)"):
        make_trace(losses)
    status = np.zeros((3, 4), int)
    status[1, 2] = trace.DIVERGED
    trace.write(make_trace(losses, status=status), tmp_path / "a.nc")
    read = trace.read(tmp_path / "a.nc")
    assert (~trace.valid_chains(read)).sum() == 1
    assert read["diverged_step"].values[1, 2] == 7


def test_arrays_of_different_runs_are_refused(losses: np.ndarray) -> None:
    with pytest.raises(SchemaError, match="shapes disagree"):
        make_trace(losses, ids=["only one"])


def test_without_queries_the_samples_are_their_own(losses: np.ndarray) -> None:
    made = make_trace(losses)
    np.testing.assert_array_equal(trace.query_losses(made), trace.sample_losses(made))
    asked = make_trace(losses, queries=losses[..., :1], query_ids=["q"])
    assert trace.query_ids(asked).tolist() == ["q"]
    assert trace.query_losses(asked).shape == (3, 4, 5, 1)
