"""Options of the public API: tokens, control variate, progress, ceilings, kernels with friction."""

import functools
import io
import sys

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


@pytest.fixture
def data() -> tuple[Tensor, Tensor]:
    inputs = torch.randn(10, 4, generator=torch.Generator().manual_seed(0))
    return inputs, torch.arange(10) % 3


@pytest.fixture
def net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3))


def sampled(net: nn.Module, data: object, **changed: object) -> xr.Dataset:
    return stagewise.sample_losses(net, CROSS_ENTROPY, data, **{**SETTINGS, **changed})


def test_tokens_are_samples_with_their_places() -> None:
    """Catches positions that run slower than sequences, and a mean over the wrong count."""
    torch.manual_seed(0)
    net, ids = nn.Sequential(nn.Embedding(6, 4), nn.Linear(4, 6)), torch.randint(6, (3, 5))

    def per_token(logits: Tensor, targets: Tensor) -> Tensor:
        return F.cross_entropy(logits.transpose(1, 2), targets, reduction="none")

    trace = stagewise.sample_losses(
        net, per_token, (ids[:, :-1], ids[:, 1:]), per_token=True, sample_ids=["a", "b", "c"],
        queries=(ids[:1, :3], ids[:1, 1:4]), query_ids=["q"], batch_size=2, **SETTINGS,
    )  # fmt: skip
    validate(trace)
    assert trace["sample"].values.tolist()[:5] == ["a:0", "a:1", "a:2", "a:3", "b:0"]
    assert trace["sequence"].values.tolist() == ["a"] * 4 + ["b"] * 4 + ["c"] * 4
    assert trace["position"].values.tolist() == [0, 1, 2, 3] * 3
    assert trace["query"].values.tolist() == ["q:0", "q:1", "q:2"]
    with torch.no_grad():
        expected = per_token(net(ids[:, :-1]), ids[:, 1:]).flatten()
    np.testing.assert_allclose(trace["loss_ref"], expected, rtol=1e-5)
    assert trace.attrs["n"] == 12
    np.testing.assert_allclose(trace["train_loss"], trace["excess_loss"].mean("sample"), rtol=1e-5)
    influence = stagewise.bif(trace)
    assert influence["position"].dims == ("sample",)
    assert influence["query_position"].values.tolist() == [0, 1, 2]


def test_the_control_variate_is_passed_on(net: nn.Module, data: tuple[Tensor, Tensor]) -> None:
    """Catches a flag that reaches the attributes only: with full gradients nothing changes."""
    plain, other = (sampled(net, data, batch_size=3, control_variate=on) for on in (False, True))
    assert not plain["excess_loss"].equals(other["excess_loss"])
    assert other.attrs["control_variate"] == 1
    full = [sampled(net, data, control_variate=on)["excess_loss"] for on in (False, True)]
    xr.testing.assert_equal(*full)


def test_baoab_runs(net: nn.Module, data: tuple[Tensor, Tensor]) -> None:
    trace = sampled(net, data, kernel="baoab", friction=0.3)
    assert np.isfinite(trace["excess_loss"]).all()
    with pytest.raises(ConfigError, match="friction"):
        sampled(net, data, kernel="baoab")


def test_progress_is_shown_where_it_is_asked_for(
    net: nn.Module, data: tuple[Tensor, Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Catches lines in a log that nobody asked for, and a bar that is left open."""

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    def shown(stream: io.StringIO, **changed: object) -> str:
        monkeypatch.setattr(sys, "stderr", stream)
        sampled(net, data, **changed)
        return stream.getvalue()

    assert shown(io.StringIO()) == ""
    assert shown(Terminal(), progress=False) == ""
    assert "sample_losses: step 10 of 10 (100%)" in shown(io.StringIO(), progress=True)
    assert shown(Terminal()).endswith("\n")


def test_a_trace_too_large_names_the_sums(net: nn.Module, data: tuple[Tensor, Tensor]) -> None:
    """Catches a remedy that would be larger still."""
    large = {"draws": 100_000, "most_bytes": 2**20}
    with pytest.raises(ConfigError, match=r"record='covariance' would take 0\.01 GiB"):
        sampled(net, data, **large)
    with pytest.raises(ConfigError, match=r"the trace would take .* use fewer draws") as caught:
        sampled(net, data, most_bytes=100)
    assert "record=" not in str(caught.value)
    with pytest.raises(ConfigError, match="the sums would take"):
        sampled(net, data, record="covariance", most_bytes=100)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"chains": [0, -1]}, "chains is -1"),
        ({"chains": [2, 2]}, "distinct ids"),
        ({"chains": []}, "distinct ids"),
        ({"record": "sums"}, "record 'sums'; choose one of"),
        ({"record": "covariance", "groups": 2}, "must divide the 3 chains"),
        ({"per_token": True}, "one loss per token"),
    ],
)
def test_bad_options_are_named(
    net: nn.Module, data: tuple[Tensor, Tensor], changed: dict, message: str
) -> None:
    import jaxtyping

    jaxtyping.config.update("jaxtyping_disable", True)  # which would find some first, in this test
    with pytest.raises(ConfigError, match=message):
        sampled(net, data, **changed)


def test_batchnorm_and_dropout_are_frozen() -> None:
    """Catches losses in train mode: they would move the statistics, and differ between calls."""
    torchvision = pytest.importorskip("torchvision")
    torch.manual_seed(0)
    net = torchvision.models.mobilenet_v3_small(num_classes=3, dropout=0.5)
    net(torch.randn(8, 3, 32, 32))  # fills the running statistics
    before = {name: value.clone() for name, value in net.state_dict().items()}
    data = torch.randn(3, 3, 32, 32), torch.arange(3)
    trace = sampled(net, data, chains=2, draws=1, burn_in=0, restrict=["classifier.*"])
    assert net.training
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    with torch.no_grad():
        expected = CROSS_ENTROPY(net.eval()(data[0]), data[1])
    np.testing.assert_allclose(trace["loss_ref"], expected, rtol=1e-4)
