"""The same run in parts: chains in separate jobs, sums for draws, stopped and resumed."""

import functools
from collections.abc import Iterator
from pathlib import Path

import jaxtyping
import numpy as np
import pytest
import torch
import torch.nn.functional as F
import xarray as xr
from torch import Tensor, nn

import stagewise
from stagewise.errors import ConfigError
from stagewise.sampling.records import RunResult
from stagewise.storage import sums as sums_file

CROSS_ENTROPY = functools.partial(F.cross_entropy, reduction="none")
SETTINGS = {
    "n_beta": 20.0,
    "localization": 50.0,
    "step_size": 1e-3,
    "draws": 12,
    "burn_in": 70,
    "chains": 8,
    "batch_size": 4,
}
#: What two equal runs may differ in.
COSTS = ("wall_seconds", "until")


class Killed(Exception):
    """Stands for a kill: nothing runs after it."""


def kill(done: int, total: int) -> None:
    raise Killed


@pytest.fixture(autouse=True)
def _unchecked() -> Iterator[None]:
    """A check of annotations costs more than a step of these chains, and there are thousands."""
    jaxtyping.config.update("jaxtyping_disable", True)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # which would wait for each other, on matrices this small
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def data() -> tuple[Tensor, Tensor]:
    inputs = torch.randn(10, 4, generator=torch.Generator().manual_seed(0))
    return inputs, torch.arange(10) % 3


@pytest.fixture
def net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3))


def sampled(net: nn.Module, data: tuple[Tensor, Tensor], **changed: object) -> xr.Dataset:
    queries = {"queries": (data[0][:3], data[1][:3])}
    return stagewise.sample_losses(net, CROSS_ENTROPY, data, **{**SETTINGS, **queries, **changed})


def without_costs(trace: xr.Dataset) -> xr.Dataset:
    return trace.assign_attrs(dict.fromkeys(COSTS))


def test_blocks_of_chains_are_the_run_of_all_bit_for_bit(
    net: nn.Module, data: tuple[Tensor, Tensor]
) -> None:
    """Catches noise and batches that go by a chain's place instead of its id, and lost chains."""
    one_by_one = {"vectorize": False}  # else how many are batched may change the last bit
    whole = sampled(net, data, **one_by_one)
    blocks = [sampled(net, data, chains=ids, **one_by_one) for ids in ([4], [7, 5, 6], range(4))]
    merged = stagewise.merge(blocks)
    xr.testing.assert_identical(without_costs(merged), without_costs(whole)[list(merged)])
    batched = stagewise.merge([sampled(net, data, chains=list(ids)) for ids in ([0, 1, 2], [3, 7])])
    same = whole.sel(chain=[0, 1, 2, 3, 7])
    np.testing.assert_allclose(batched["excess_loss"], same["excess_loss"], rtol=1e-3, atol=1e-5)


def test_blocks_of_another_run_are_refused(net: nn.Module, data: tuple[Tensor, Tensor]) -> None:
    first = sampled(net, data, chains=[0, 1])
    for changed, name in (({"step_size": 2e-3}, "step_size"), ({"seed": 1}, "seed"),
                          ({"spacing": 2}, "spacing"), ({"restrict": "0.*"}, "checkpoint_hash"),
                          ({"control_variate": True}, "control_variate")):  # fmt: skip
        other = sampled(net, data, chains=[2, 3], **changed)
        with pytest.raises(stagewise.errors.SchemaError, match=name):
            stagewise.merge([first, other])


@pytest.mark.parametrize("chains", [8, 4])
def test_sums_are_those_of_the_trace(
    net: nn.Module, data: tuple[Tensor, Tensor], chains: int
) -> None:
    """Catches draws that are lost or counted twice on their way from the runner to the sums."""
    trace = sampled(net, data, chains=chains, draws=150)
    sums = sampled(net, data, chains=chains, draws=150, record="covariance")
    sums_file.validate(sums)
    assert "excess_loss" not in sums
    for estimate in (stagewise.bif, stagewise.posterior_correlation, stagewise.llc):
        found, wanted = estimate(sums), estimate(trace)
        for name in found.data_vars:
            size = float(np.abs(wanted[name]).max())
            np.testing.assert_allclose(found[name], wanted[name], rtol=1e-10, atol=1e-11 * size)
    for name in ("train_loss", "distance", "loss_ref", "query_loss_ref"):
        np.testing.assert_array_equal(sums[name], trace[name])
    assert sums.attrs["data_hash"] == trace.attrs["data_hash"]


def test_sums_of_checkpoints_survive_a_kill(
    net: nn.Module, data: tuple[Tensor, Tensor], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Catches sums that a resumed run begins again, or takes a block of draws into twice."""
    states = [{n: s * v for n, v in net.state_dict().items()} for s in (0.5, 1.0)]
    settings = {"checkpoints": states, "draws": 300, "record": "covariance"}
    whole = sampled(net, data, **settings)
    monkeypatch.setattr(stagewise.api, "run", functools.partial(stagewise.api.run, save_every=0.0))
    for after in (2, 1):
        calls = iter(range(100))

        def late(done: int, total: int, calls: object = calls, after: int = after) -> None:
            if next(calls) == after:
                raise Killed

        with pytest.raises(Killed):
            sampled(net, data, scratch=tmp_path, progress=late, **settings)
    resumed = sampled(net, data, scratch=tmp_path, **settings)
    xr.testing.assert_identical(without_costs(resumed), without_costs(whole))


def test_a_stopped_run_resumes_to_the_same_stop(
    net: nn.Module, data: tuple[Tensor, Tensor], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Catches a rule with a memory, and a kill between a save and the rule's yes."""
    rule = stagewise.until_standard_error(0.8, least_draws=8)
    settings = {"draws": 600, "until": rule}
    whole = sampled(net, data, **settings)
    assert 8 <= whole.sizes["draw"] < 600
    assert whole.attrs["until"] == repr(rule)
    assert whole.attrs["chain_steps"] == 8 * (70 + whole.sizes["draw"])
    monkeypatch.setattr(stagewise.api, "run", functools.partial(stagewise.api.run, save_every=0.0))
    killed = 0
    for _ in range(20):  # killed right after every save until the run ends by itself
        try:
            resumed = sampled(net, data, scratch=tmp_path, progress=kill, **settings)
            break
        except Killed:
            killed += 1
    assert killed >= 2
    xr.testing.assert_identical(without_costs(resumed), without_costs(whole))
    longer = sampled(net, data, draws=600)
    np.testing.assert_array_equal(
        whole["excess_loss"], longer["excess_loss"][:, : whole.sizes["draw"]]
    )


def test_any_function_may_stop_a_run(net: nn.Module, data: tuple[Tensor, Tensor]) -> None:
    def enough(result: RunResult) -> bool:
        return result.draws >= 100

    trace = sampled(net, data, draws=600, until=enough)
    assert trace.sizes["draw"] == 128 + 64 - 70
    assert trace.attrs["until"] == "enough"
    with pytest.raises(ConfigError, match="looks at the draws, which record='covariance'"):
        sampled(net, data, record="covariance", until=stagewise.until_rank_stability(0.9))
