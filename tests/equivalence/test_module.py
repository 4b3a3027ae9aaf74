"""The same model as a module and in closed form gives the same chains."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from stagewise.models.linear_net import LinearNetLoss
from stagewise.models.module import ModuleLoss
from stagewise.models.per_sample import PerSampleLoss
from stagewise.sampling.kernels import by_name
from stagewise.sampling.potential import Potential
from stagewise.sampling.records import RunResult, Schedule
from stagewise.sampling.runner import run
from stagewise.sampling.streams import NoiseStreams

ITEMS, FEATURES, HIDDEN = 4, 3, 2


def squared(output: Tensor, targets: Tensor) -> Tensor:
    return 0.5 * (output - targets).square().sum(-1)


@pytest.fixture
def closed() -> LinearNetLoss:
    targets = torch.randn(FEATURES, ITEMS, generator=torch.Generator().manual_seed(1))
    return LinearNetLoss(targets.double(), HIDDEN)


@pytest.fixture(params=[True, False], ids=["vectorized", "one by one"])
def module(request: pytest.FixtureRequest, closed: LinearNetLoss) -> ModuleLoss:
    torch.manual_seed(2)
    net = nn.Sequential(
        nn.Linear(ITEMS, HIDDEN, bias=False), nn.Linear(HIDDEN, FEATURES, bias=False)
    ).double()
    states = [{name: value + 0.3 * c for name, value in net.state_dict().items()} for c in range(3)]
    items = torch.eye(ITEMS, dtype=torch.float64)
    return ModuleLoss(
        net, squared, items, closed.targets.T, checkpoints=states, vectorize=request.param
    )


def sampled(loss: PerSampleLoss, centre: Tensor, name: str, batch_size: int | None) -> RunResult:
    potential = Potential(loss, centre, 30.0, 40.0, "recentred")
    streams = NoiseStreams(
        0, "both", 3, 14, batch_size=batch_size, sample_count=ITEMS, dtype=torch.float64
    )
    friction = 0.3 if name == "underdamped" else None
    kernel = by_name.make(name, 1e-3, friction=friction)
    return run(kernel, potential, streams, Schedule(10, 8, 2), checkpoint_block=2)


def test_losses_and_gradients_agree(module: ModuleLoss, closed: LinearNetLoss) -> None:
    w = module.centre[:, None].repeat(1, 3, 1)
    w += 0.1 * torch.randn(w.shape, generator=torch.Generator().manual_seed(3)).double()
    torch.testing.assert_close(module.losses(w), closed.losses(w), rtol=1e-12, atol=1e-13)
    for batch in (None, torch.tensor([[0, 1], [2, 2], [3, 0]])):
        for one, other in zip(
            module.mean_and_gradient(w, batch), closed.mean_and_gradient(w, batch), strict=True
        ):
            torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize(
    ("name", "batch_size"),
    [("sgld", 2), ("underdamped", None), ("rmsprop_sgld", 2), ("mala", None)],
)
def test_chains_agree(
    module: ModuleLoss, closed: LinearNetLoss, name: str, batch_size: int | None
) -> None:
    one = sampled(module, module.centre, name, batch_size)
    other = sampled(closed, module.centre, name, batch_size)
    np.testing.assert_allclose(one.excess_loss, other.excess_loss, rtol=1e-5, atol=1e-8)
    for field in ("loss_ref", "train_loss", "potential", "distance"):
        np.testing.assert_allclose(
            getattr(one, field), getattr(other, field), rtol=1e-9, atol=1e-10
        )
