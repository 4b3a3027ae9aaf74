"""Products that stand for convolutions on small maps, against the convolutions themselves."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stagewise.models.googlenet import build, image_loss
from stagewise.models.small_maps import FEWEST, SmallMapConv2d, use_small_maps

IMAGES = FEWEST + 3
#: 44 layers there and back, 7,488 = 832 x 9 terms of a sum, half a unit in the last place.
ROUNDING = 44 * 7488 * 2.0**-53


def layer_and_product(side: int) -> tuple[nn.Conv2d, nn.Module]:
    torch.manual_seed(side)
    layer = nn.Conv2d(5, 7, side, padding=side // 2).double()
    return layer, use_small_maps(copy.deepcopy(layer))


def values_and_gradients(layer: nn.Module, x: Tensor) -> list[Tensor]:
    x = x.clone().requires_grad_()
    found = layer(x)
    weights = torch.linspace(-1, 1, found.numel(), dtype=x.dtype).view(found.shape)
    return [found, *torch.autograd.grad((found * weights).sum(), [x, *layer.parameters()])]


@pytest.mark.parametrize("side", [1, 3])
@pytest.mark.parametrize("places", [(1, 1), (1, 2), (2, 1), (2, 2), (3, 3), (4, 4), (5, 5)])
def test_values_and_gradients_are_the_convolutions(side: int, places: tuple[int, int]) -> None:
    """Catches a tap at the wrong place, rows taken for columns, a gradient summed twice.

    Sums of at most 35 images x 25 places of numbers of order one, added in another order: 875 times
    1.1e-16 times their size, at most 10.
    """
    layer, product = layer_and_product(side)
    x = torch.randn(IMAGES, 5, *places, dtype=torch.float64)
    wanted, found = values_and_gradients(layer, x), values_and_gradients(product, x)
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)


def test_the_product_is_taken_where_the_map_is_small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches conditions that never hold: the equivalence above would hold all the same."""
    convolved: list[tuple[int, ...]] = []
    usual = nn.Conv2d.forward

    def watched(layer: nn.Conv2d, x: Tensor) -> Tensor:
        convolved.append((layer.kernel_size[0], len(x), *x.shape[2:]))
        return usual(layer, x)

    monkeypatch.setattr(nn.Conv2d, "forward", watched)
    for side in (1, 3):
        _, product = layer_and_product(side)
        for count in (FEWEST - 1, FEWEST):
            for places in (1, 2, 3, 4, 5):
                product(torch.randn(count, 5, places, places, dtype=torch.float64))
    few, many = FEWEST - 1, FEWEST
    assert convolved == [
        *[(1, count, 5, 5) for count in (few, many)],
        *[(3, few, places, places) for places in (2, 3, 4, 5)],
        *[(3, many, places, places) for places in (3, 4, 5)],
    ]


@pytest.mark.parametrize(
    "options",
    [
        {"kernel_size": 3},
        {"kernel_size": 3, "padding": 1, "stride": 2},
        {"kernel_size": 3, "padding": 2, "dilation": 2},
        {"kernel_size": 3, "padding": 1, "groups": 2},
        {"kernel_size": 3, "padding": 1, "padding_mode": "circular"},
        {"kernel_size": 1, "stride": 2},
        {"kernel_size": (1, 3), "padding": (0, 1)},
        {"kernel_size": 5, "padding": 2},
        {"kernel_size": 3, "padding": "same"},
    ],
)
def test_other_layers_are_left_alone(options: dict[str, object]) -> None:
    assert type(use_small_maps(nn.Conv2d(4, 4, **options))) is nn.Conv2d


def test_a_class_of_its_own_is_left_alone() -> None:
    class Own(nn.Conv2d):
        pass

    assert type(use_small_maps(Own(4, 4, 1))) is Own


def test_googlenet_keeps_its_state_and_its_losses() -> None:
    """All of a network's small maps at once, as chains and trainings use them.

    A gradient passes 22 layers there and back, each with sums of at most 7,488 terms in another
    order: 44 times 7,488 times 1.1e-16 of its length.
    """
    net = build(10).eval().double()
    names = list(net.state_dict())
    x, y = torch.randn(IMAGES, 3, 32, 32, dtype=torch.float64), torch.arange(IMAGES) % 10
    loss = image_loss(net, x, y)
    assert not any(isinstance(one, SmallMapConv2d) for one in net.modules())
    assert any(isinstance(one, SmallMapConv2d) for one in loss._module.modules())
    mean, gradient = loss.mean_and_gradient(loss.centre[:, None], None)
    wanted = F.cross_entropy(net(x), y)
    slopes = torch.autograd.grad(wanted, list(net.parameters()))
    torch.testing.assert_close(mean[0, 0], wanted.detach(), rtol=ROUNDING, atol=0)
    flat = torch.cat([one.flatten() for one in slopes])
    assert float((gradient[0, 0] - flat).norm()) <= ROUNDING * float(flat.norm())
    assert list(use_small_maps(net).state_dict()) == names
