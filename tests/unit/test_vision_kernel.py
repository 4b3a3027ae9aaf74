"""The stage of the image kernels: which draws a part is of, and how few chains are too few."""

import numpy as np
import pytest
import xarray as xr

from stagewise.cli.vision_kernel import FEWEST_CHAINS, _check_chains, spread
from stagewise.config.toy import DiagnosticsSettings
from stagewise.config.vision import KernelStage
from stagewise.errors import DivergenceError
from stagewise.storage import trace


@pytest.mark.parametrize(("count", "some"), [(50, 25), (50, 12), (50, 6), (7, 4), (4, 4)])
def test_parts_are_of_the_whole_chain(count: int, some: int) -> None:
    """Caught: first draws alone, a draw taken twice, a part that ends before the chain does."""
    chosen = spread(count, some)
    assert len(set(chosen.tolist())) == some
    gaps = np.diff([-1, *chosen.tolist(), count])
    # Neighbours are count/some apart up to rounding, and so are the ends from theirs.
    assert set(gaps[1:-1].tolist()) <= {count // some, -(-count // some)}
    assert gaps[0] <= count // some + 1
    assert gaps[-1] <= count // some + 1


@pytest.mark.parametrize("left", range(FEWEST_CHAINS + 1))
def test_too_few_chains_are_refused_by_name(left: int) -> None:
    """Caught: two chains that are left, of which the null has nothing to say."""
    status = np.where(np.arange(8) < left, trace.OK, trace.OK + 1)
    whole = xr.Dataset({"status": ("chain", status)})
    limits = {"stride": 1, "rhat": {"warn": 1, "fail": 2}, "ess": {"warn": 2, "fail": 1}}
    limits |= {"false_alarm": {"warn": 0.01, "fail": 0.001}}
    settings = KernelStage(name="early_75", diagnostics=DiagnosticsSettings(**limits))
    if left < FEWEST_CHAINS:
        with pytest.raises(DivergenceError, match=f"{left} of 8 chains of early_75"):
            _check_chains(settings, whole)
    else:
        _check_chains(settings, whole)
