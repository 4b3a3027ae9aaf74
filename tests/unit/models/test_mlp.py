"""The MLP whose gradients are written out is the module that autograd differentiates.

Caught: a bias or a slope left out, layers in another order than those of an ``nn.Sequential``, a
batch that counts a repeated sample once or goes to another chain, a gradient written into a copy.
"""

import functools
from itertools import pairwise

import jaxtyping
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stagewise.errors import ConfigError
from stagewise.models.mlp import Activation, MLPLoss
from stagewise.models.module import ModuleLoss

CROSS_ENTROPY = functools.partial(F.cross_entropy, reduction="none")
MODULES = {"relu": nn.ReLU, "tanh": nn.Tanh}
SAMPLES, CHECKPOINTS, CHAINS = 9, 2, 3
WIDTHS = ((5, 3), (5, 4, 3), (5, 7, 4, 3))


def data() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(3)
    inputs = torch.randn(SAMPLES, 5, generator=generator, dtype=torch.float64)
    return inputs, torch.arange(SAMPLES) % 3


def both(widths: tuple[int, ...], activation: Activation) -> tuple[MLPLoss, ModuleLoss, Tensor]:
    """The two losses and positions of every checkpoint and chain, float64."""
    torch.manual_seed(4)
    layers: list[nn.Module] = []
    for one, other in pairwise(widths):
        layers += [nn.Linear(one, other), MODULES[activation]()]
    module = nn.Sequential(*layers[:-1]).double()
    states = [module.state_dict()] * CHECKPOINTS
    modular = ModuleLoss(module, CROSS_ENTROPY, *data(), checkpoints=states)
    w = torch.randn(CHECKPOINTS, CHAINS, modular.parameter_count, dtype=torch.float64)
    return MLPLoss(*data(), widths, activation), modular, w


@pytest.mark.parametrize("activation", MODULES)
@pytest.mark.parametrize("widths", WIDTHS)
def test_losses_and_logits_are_the_modules(widths: tuple[int, ...], activation: Activation) -> None:
    loss, modular, w = both(widths, activation)
    torch.testing.assert_close(loss.losses(w), modular.losses(w), rtol=1e-12, atol=1e-12)
    chosen = torch.tensor([4, 0, 4])
    torch.testing.assert_close(loss.losses(w, chosen), loss.losses(w)[..., chosen])
    from_logits = F.cross_entropy(loss.logits(w, data()[0]).flatten(0, 1).mT, data()[1].expand(
        CHECKPOINTS * CHAINS, -1), reduction="none")  # fmt: skip
    torch.testing.assert_close(from_logits.view(loss.losses(w).shape), loss.losses(w))


@pytest.mark.parametrize(
    "batch", [None, torch.tensor([[0, 8, 8, 8], [1, 2, 3, 1], [5, 5, 5, 5]])], ids=["full", "batch"]
)
@pytest.mark.parametrize("activation", MODULES)
@pytest.mark.parametrize("widths", WIDTHS)
def test_gradients_are_autograds(
    widths: tuple[int, ...], activation: Activation, batch: Tensor | None
) -> None:
    loss, modular, w = both(widths, activation)
    mean, gradient = loss.mean_and_gradient(w, batch)
    expected_mean, expected = modular.mean_and_gradient(w, batch)
    torch.testing.assert_close(mean, expected_mean, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(gradient, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("batch", [None, torch.tensor([[0, 8], [1, 2], [5, 5]])])
def test_neither_data_nor_positions_are_changed_and_strides_do_not_matter(
    batch: Tensor | None,
) -> None:
    loss, _, w = both((5, 4, 3), "relu")
    _, expected = loss.mean_and_gradient(w, batch)
    turned = w.mT.contiguous().mT  # the same numbers, parameters far apart
    swapped = w.transpose(0, 1).contiguous().transpose(0, 1)
    for other in (turned, swapped):
        assert not other.is_contiguous()
        torch.testing.assert_close(loss.mean_and_gradient(other, batch)[1], expected)
        torch.testing.assert_close(other, w, rtol=0, atol=0)
    torch.testing.assert_close(loss.inputs, data()[0], rtol=0, atol=0)


def test_queries_are_losses_of_the_same_network() -> None:
    loss, _, w = both((5, 4, 3), "tanh")
    inputs, labels = data()
    other = loss.with_data(inputs[:2], labels[:2])
    assert (other.sample_count, other.parameter_count) == (2, loss.parameter_count)
    torch.testing.assert_close(other.losses(w), loss.losses(w)[..., :2])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"widths": (4, 3)}, r"inputs \(9, 5\) for widths \[4, 3\]"),
        ({"widths": (5,)}, "at least the widths of input and output"),
        ({"labels": torch.zeros(8, dtype=torch.int64)}, "9 inputs, 8 labels"),
        ({"labels": torch.full((9,), 3)}, "labels"),
        ({"labels": torch.full((9,), -1)}, "labels"),
        ({"activation": "gelu"}, "activation 'gelu'; choose one of"),
    ],
)
def test_what_does_not_fit_is_refused(change: dict[str, object], message: str) -> None:
    jaxtyping.config.update("jaxtyping_disable", True)  # a user's call is not checked for types
    arguments = {"inputs": data()[0], "labels": data()[1], "widths": (5, 3)} | change
    with pytest.raises(ConfigError, match=message):
        MLPLoss(**arguments)


@pytest.mark.parametrize("shape", [(1, 2, 17), (2, 18)])
def test_positions_of_another_network_are_refused(shape: tuple[int, ...]) -> None:
    jaxtyping.config.update("jaxtyping_disable", True)
    loss = MLPLoss(*data(), (5, 3))
    with pytest.raises(ConfigError, match=r"the network needs \(checkpoint, chain, 18\)"):
        loss.losses(torch.zeros(shape, dtype=torch.float64))
