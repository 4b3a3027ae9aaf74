"""Replicas one by one and side by side give what one batched call gives."""

import functools
from collections.abc import Iterator

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stagewise.models.module import MOST_BATCHED, ModuleLoss

CROSS_ENTROPY = functools.partial(F.cross_entropy, reduction="none")


@pytest.fixture(params=[1, 2, 3], ids=lambda threads: f"{threads} threads")
def threads(request: pytest.FixtureRequest) -> Iterator[int]:
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


class Viewed(nn.Module):
    """A convolution whose output is viewed in the order of its memory, channels first."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4)
        self.unused = nn.Parameter(torch.ones(3))
        self.last = nn.Linear(4 * 36, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.norm(self.conv(x)).relu().view(len(x), -1))


class Pooled(Viewed):
    """The same, but pooled, which any order of the memory allows."""

    def forward(self, x: Tensor) -> Tensor:
        pooled = F.adaptive_avg_pool2d(self.norm(self.conv(x)).relu(), 6)
        return self.last(pooled.flatten(1))


def losses(kind: type[nn.Module], **settings: object) -> ModuleLoss:
    generator = torch.Generator().manual_seed(0)
    images, labels = torch.randn(6, 2, 8, 8, generator=generator), torch.arange(6) % 3
    torch.manual_seed(1)
    net = kind()
    states = [{name: value + 0.1 * c for name, value in net.state_dict().items()} for c in range(2)]
    return ModuleLoss(net, CROSS_ENTROPY, images, labels, checkpoints=states, **settings)


@pytest.mark.parametrize("kind", [Viewed, Pooled])
@pytest.mark.parametrize("restrict", [None, "conv.*"])
@pytest.mark.parametrize("batch", [None, torch.tensor([[0, 5, 5], [1, 2, 3], [4, 4, 0]])])
def test_one_by_one_is_the_batched_call(
    kind: type[nn.Module], restrict: str | None, batch: Tensor | None, threads: int
) -> None:
    batched = losses(kind, restrict=restrict, vectorize=True)
    single = losses(kind, restrict=restrict, vectorize=False)
    w = batched.centre[:, None].repeat(1, 3, 1)
    w += 0.05 * torch.randn(w.shape, generator=torch.Generator().manual_seed(2))
    chosen = torch.tensor([4, 0, 2])
    torch.testing.assert_close(single.losses(w, chosen), batched.losses(w, chosen))
    for one, other in zip(
        single.mean_and_gradient(w, batch), batched.mean_and_gradient(w, batch), strict=True
    ):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)
    assert torch.get_num_threads() == threads


def test_side_by_side_is_deterministic(threads: int) -> None:
    loss = losses(Pooled, vectorize=False)
    w = loss.centre[:, None].repeat(1, 5, 1)
    first = loss.mean_and_gradient(w, None)[1]
    assert all(torch.equal(first[:, k], first[:, 0]) for k in range(5))
    assert torch.equal(loss.mean_and_gradient(w, None)[1], first)


def test_channels_go_last_only_where_the_module_can() -> None:
    assert losses(Pooled, vectorize=False)._channels_last
    assert not losses(Viewed, vectorize=False)._channels_last
    assert not losses(Pooled, vectorize=True)._channels_last


def test_positions_are_not_written_to() -> None:
    loss = losses(Pooled, vectorize=False)
    w = loss.centre[:, None].clone()
    before, centre = w.clone(), loss.centre.clone()
    loss.mean_and_gradient(w + 1.0, None)
    loss.mean_and_gradient(w, None)
    assert torch.equal(w, before)
    assert torch.equal(loss.centre, centre)


@pytest.mark.parametrize("extra", [0, 1])
def test_large_modules_run_one_by_one(extra: int) -> None:
    net = nn.Linear(MOST_BATCHED - 1 + extra, 1)
    loss = ModuleLoss(
        net,
        lambda output, _: output[:, 0],
        torch.zeros(1, MOST_BATCHED - 1 + extra),
        torch.zeros(1),
    )
    assert loss._vectorize is (extra == 0)
