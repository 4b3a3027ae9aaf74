"""Blocks of chains are joined only where they are parts of one run."""

import numpy as np
import pytest
import xarray as xr

from stagewise.errors import SchemaError
from stagewise.storage import trace as trace_file
from support.traces import make_trace

LOSSES = np.random.default_rng(0).normal(size=(2, 6, 5, 3)).astype(np.float32)


def block(chains: list[int], losses: np.ndarray = LOSSES, **attrs: object) -> xr.Dataset:
    status = np.zeros((2, len(chains)), int)
    status[0, -1] = 1 if 5 in chains else 0
    made = make_trace(losses[:, chains], queries=losses[:, chains][..., :2], status=status, **attrs)
    return made.assign_coords(chain=chains)


def test_blocks_in_any_order_are_the_whole() -> None:
    """Catches chains in the order of the files, and costs that are not added."""
    whole = block([0, 1, 2, 3, 4, 5])
    made = trace_file.merge([block([3, 4, 5]), block([1]), block([0, 2])])
    xr.testing.assert_identical(
        made.drop_attrs(deep=False), whole[list(made.data_vars)].drop_attrs(deep=False)
    )
    assert made["chain"].values.tolist() == [0, 1, 2, 3, 4, 5]
    assert made.attrs["wall_seconds"] == 3 * whole.attrs["wall_seconds"]
    assert made.attrs["chain_steps"] == 3 * whole.attrs["chain_steps"]


def test_acceptance_is_averaged_over_chains() -> None:
    made = trace_file.merge([block([0, 1, 2], acceptance=0.5), block([3], acceptance=0.9)])
    assert made.attrs["acceptance"] == pytest.approx(0.6)


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (block([2, 3]), r"chains \[2\] stand in more than one trace"),
        (block([3], n_beta=7.0), r"n_beta 100\.0, trace 1 7\.0"),
        (block([3], data_hash="f"), "has data_hash"),
        (block([3], LOSSES[:, :, :4]), "differ in draw"),
        (block([3], extra=1), "has extra None, trace 1 1"),
        (block([3]).assign_coords(sample=list("abc")), "differ in sample"),
        (block([3]).assign(loss_ref=lambda one: one["loss_ref"] + 1e-9), "differ in loss_ref"),
        (block([3]).drop_vars(["query_excess_loss", "query_loss_ref", "query"]), "don't both have"),
    ],
)
def test_parts_of_different_runs_are_refused(other: xr.Dataset, message: str) -> None:
    """Catches two runs that are taken for one."""
    with pytest.raises(SchemaError, match=message):
        trace_file.merge([block([0, 1, 2]), other])


def test_nothing_is_no_trace() -> None:
    with pytest.raises(SchemaError, match="no trace to merge"):
        trace_file.merge([])
