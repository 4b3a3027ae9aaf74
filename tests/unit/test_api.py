"""The public API as a user calls it, on modules of the kinds that users have."""

import functools
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
from stagewise.storage.trace import validate

CROSS_ENTROPY = functools.partial(F.cross_entropy, reduction="none")
SETTINGS = {
    "n_beta": 20.0,
    "localization": 50.0,
    "step_size": 1e-3,
    "draws": 6,
    "burn_in": 4,
    "chains": 3,
}


def seeded(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def data() -> tuple[Tensor, Tensor]:
    return seeded(10, 4), torch.arange(10) % 3


@pytest.fixture
def net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Dropout(0.5), nn.Linear(5, 3))


def sampled(net: nn.Module, data: object, **changed: object) -> xr.Dataset:
    return stagewise.sample_losses(net, CROSS_ENTROPY, data, **{**SETTINGS, **changed})


def test_a_trace_of_the_users_own_model(net: nn.Module, data: tuple[Tensor, Tensor]) -> None:
    trace = sampled(net, data, sample_ids=[f"s{i}" for i in range(10)])
    validate(trace)
    assert dict(trace["excess_loss"].sizes) == {"chain": 3, "draw": 6, "sample": 10}
    assert trace["sample"].values.tolist() == [f"s{i}" for i in range(10)]
    with torch.no_grad():
        expected = CROSS_ENTROPY(net.eval()(data[0]), data[1])
    np.testing.assert_allclose(trace["loss_ref"], expected, rtol=1e-5)
    assert trace.attrs["n_beta"] == 20.0
    assert trace.attrs["n"] == 10
    assert trace.attrs["loss"] == "Sequential/cross_entropy"
    assert trace.attrs["chain_steps"] == 30


def test_estimators_take_the_trace(net: nn.Module, data: tuple[Tensor, Tensor]) -> None:
    trace = sampled(net, data, chains=8, queries=(data[0][:2], data[1][:2]), query_ids=["p", "q"])
    assert stagewise.bif(trace)["value"].dims == ("query", "sample")
    assert stagewise.bif(trace)["query"].values.tolist() == ["p", "q"]
    assert np.isfinite(stagewise.llc(trace)["value"])
    assert stagewise.loss_kernel(trace)["covariance"].shape == (10, 10)


def test_dropout_is_off_and_a_seed_is_a_result(net: nn.Module, data: tuple[Tensor, Tensor]) -> None:
    one, same = sampled(net.train(), data, seed=1), sampled(net, data, seed=1)
    xr.testing.assert_equal(one, same)
    assert not one["excess_loss"].equals(sampled(net, data, seed=2)["excess_loss"])
    assert net.training


def test_checkpoints_are_a_dimension(net: nn.Module, data: tuple[Tensor, Tensor]) -> None:
    states = [{n: s * v for n, v in net.state_dict().items()} for s in (0.5, 1.0)]
    trace = sampled(net, data, checkpoints=states, steps=[10, 20], batch_size=5)
    assert trace["excess_loss"].dims == ("checkpoint", "chain", "draw", "sample")
    assert trace["step"].values.tolist() == [10, 20]
    alone = sampled(net, data, batch_size=5)
    np.testing.assert_allclose(trace["excess_loss"][1], alone["excess_loss"], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    "kernel",
    [
        {"kernel": "underdamped", "friction": 0.1, "potential": "recentred"},
        {"kernel": "rmsprop_sgld", "batch_size": 4},
        {"kernel": "rmsprop_sgld", "adapt": True},
        {"kernel": "mala"},
    ],
)
def test_every_kernel_runs(net: nn.Module, data: tuple[Tensor, Tensor], kernel: dict) -> None:
    trace = sampled(net, data, **kernel)
    assert np.isfinite(trace["excess_loss"]).all()
    assert trace.attrs["kernel"] == kernel["kernel"]
    assert ("acceptance" in trace.attrs) == (kernel["kernel"] == "mala")


def test_datasets_of_pairs_are_taken(net: nn.Module, data: tuple[Tensor, Tensor]) -> None:
    pairs = torch.utils.data.TensorDataset(*data)
    xr.testing.assert_equal(sampled(net, pairs), sampled(net, data))


def test_resnet18_with_batchnorm() -> None:
    torchvision = pytest.importorskip("torchvision")
    torch.manual_seed(0)
    net = torchvision.models.resnet18(num_classes=3)
    data = seeded(2, 3, 32, 32), torch.tensor([0, 1])
    small = {"chains": 2, "draws": 1, "burn_in": 0, "restrict": ["layer4.1.bn*", "fc.*"]}
    trace = sampled(net.train(), data, **small)
    assert net.bn1.num_batches_tracked == 0
    with torch.no_grad():
        expected = CROSS_ENTROPY(net.eval()(data[0]), data[1])
    np.testing.assert_allclose(trace["loss_ref"], expected, rtol=1e-4)
    assert np.isfinite(trace["excess_loss"]).all()


def test_an_interrupted_call_resumes(
    net: nn.Module, data: tuple[Tensor, Tensor], tmp_path: Path
) -> None:
    def interrupt(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        sampled(net, data, scratch=tmp_path, progress=interrupt)
    assert any(tmp_path.iterdir())
    xr.testing.assert_equal(sampled(net, data, scratch=tmp_path), sampled(net, data))
    assert not any(tmp_path.iterdir())


def test_divergence_is_in_the_trace(net: nn.Module, data: tuple[Tensor, Tensor]) -> None:
    trace = sampled(net, data, step_size=10.0, draws=30)
    assert trace["status"].values.all()
    assert (trace["diverged_step"] > 0).all()


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"n_beta": -1.0}, "n_beta is -1.0; it must be finite and at least 0"),
        ({"localization": -1.0}, "localization is -1.0"),
        ({"step_size": 0.0}, "step_size is 0.0"),
        ({"step_size": "1e-4"}, "write 1.0e-4, not '1e-4'"),
        ({"chains": 1}, "chains is 1; it must be an integer, at least 2"),
        ({"batch_size": 0}, "batch_size is 0"),
        ({"draws": 0}, "draws is 0"),
        ({"seed": -1}, "seed is -1"),
        ({"kernel": "hmc"}, "kernel 'hmc'; choose one of"),
        ({"potential": "tilted"}, "potential 'tilted'; choose one of"),
        ({"kernel": "mala", "batch_size": 2}, "set batch_size to None"),
        ({"sample_ids": ["a", "a"]}, "sample_ids has 2 ids, 1 distinct, for 10 samples"),
        ({"steps": [1, 2]}, "2 steps for 0 checkpoints"),
        ({"most_bytes": 100}, "more than the ceiling"),
        ({"restrict": "layer4.*"}, "matches none of the parameters"),
        ({"data": 5}, r"data is int; pass \(inputs, targets\)"),
    ],
)
def test_bad_settings_are_named(
    net: nn.Module, data: tuple[Tensor, Tensor], changed: dict, message: str
) -> None:
    jaxtyping.config.update("jaxtyping_disable", True)  # which would find some first, in this test
    changed = dict(changed)
    with pytest.raises(ConfigError, match=message):
        sampled(net, changed.pop("data", data), **changed)


def test_losses_that_are_not_finite_are_named(net: nn.Module, data: tuple[Tensor, Tensor]) -> None:
    data[0][7] = torch.nan
    with pytest.raises(ConfigError, match="loss of '7' at checkpoint 0 is not finite"):
        sampled(net, data)


def test_means_are_refused(net: nn.Module, data: tuple[Tensor, Tensor]) -> None:
    with pytest.raises(ConfigError, match="reduction='none'"):
        stagewise.sample_losses(net, F.cross_entropy, data, **SETTINGS)
