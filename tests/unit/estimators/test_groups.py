"""Group means of covariances, and their errors."""

import numpy as np
import pytest
import xarray as xr

from stagewise.errors import ConfigError
from stagewise.estimators.groups import group_influence
from stagewise.estimators.influence import bif
from support.traces import make_trace


@pytest.fixture
def trace() -> xr.Dataset:
    rng = np.random.default_rng(5)
    shared = rng.normal(size=(2, 12, 40, 1))
    return make_trace(shared + rng.normal(size=(2, 12, 40, 4)))


def test_group_mean_is_the_mean_of_the_scores(trace: xr.Dataset) -> None:
    """Catches a dropped sign, a mask summed instead of averaged, or groups in another order."""
    mask = np.zeros((4, 4), bool)
    mask[0, 1:] = True
    found = group_influence(trace, {"first": mask, "own": np.eye(4, dtype=bool)})
    value = bif(trace)["value"].values
    assert found["group"].sel(relation="first").values == pytest.approx(value[:, 0, 1:].mean(-1))
    own = np.diagonal(value, axis1=1, axis2=2).mean(-1)
    assert found["group"].sel(relation="own").values == pytest.approx(own)


def test_error_of_one_pair_is_its_scores_error(trace: xr.Dataset) -> None:
    """Catches an error scaled by the number of pairs or of chains."""
    mask = np.zeros((4, 4), bool)
    mask[1, 2] = True
    found = group_influence(trace, {"pair": mask})["group_se"].sel(relation="pair").values
    assert found == pytest.approx(bif(trace)["se"].values[:, 1, 2], rel=1e-9)


def test_errors_of_entries_that_share_a_loss_do_not_average_down(trace: xr.Dataset) -> None:
    """All losses share one signal here: the mean's error is nearly an entry's, not a quarter."""
    mask = ~np.eye(4, dtype=bool)
    found = group_influence(trace, {"all": mask})["group_se"].values[:, 0]
    assert (found > 0.5 * bif(trace)["se"].values[:, 0, 1]).all()


def test_a_group_without_pairs_or_of_another_shape_is_named(trace: xr.Dataset) -> None:
    with pytest.raises(ConfigError, match=r"group 'none' .* 0 pairs; need shape \(4, 4\)"):
        group_influence(trace, {"none": np.zeros((4, 4), bool)})
