"""The convolutional net whose gradients are written out is the module that autograd differentiates.

Caught: patches folded back to another place, a border that is not zero, odd sides, a bias or a
slope left out, parameters in another order than the module's, chains that see each other's weights,
a sample's weight that also enters the divisor.
"""

import jaxtyping
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from stagewise.baselines.exact import gauss_newton
from stagewise.errors import ConfigError
from stagewise.models.conv import ConvLoss

SAMPLES, CHAINS, CLASSES = 7, 3, 4
#: Sums of some hundred terms of order one in float64.
TOLERANCE = 1e-12


def problem(side: int = 8, channels: tuple[int, ...] = (3, 5)) -> tuple[ConvLoss, Tensor]:
    generator = torch.Generator().manual_seed(5)
    inputs = torch.randn(SAMPLES, side**2, generator=generator, dtype=torch.float64)
    loss = ConvLoss(inputs, torch.arange(SAMPLES) % CLASSES, channels, CLASSES)
    shape = (1, CHAINS, loss.parameter_count)
    return loss, 0.4 * torch.randn(shape, generator=generator, dtype=torch.float64)


def module_gradient(loss: ConvLoss, w: Tensor, batch: Tensor, weights: Tensor) -> Tensor:
    """Of (1/B) Σ c l, by autograd through the module."""
    module = loss.module(w)
    each = F.cross_entropy(module(loss.inputs[batch]), loss.labels[batch], reduction="none")
    parts = torch.autograd.grad((weights * each).sum() / len(batch), module.parameters())
    return torch.cat([part.flatten() for part in parts])


@pytest.mark.parametrize(
    ("side", "channels"), [(8, (3, 5)), (7, (2, 3)), (5, (4,)), (8, (2, 2, 3))]
)
def test_losses_and_gradients_are_the_modules(side: int, channels: tuple[int, ...]) -> None:
    loss, w = problem(side, channels)
    batch = torch.tensor([[0, 1, 1], [2, 3, 4], [6, 5, 0]])
    weights = torch.tensor([[1.0, 0.0, 2.0], [0.5, 1.0, 1.0], [0.0, 0.0, 3.0]]).double()
    gradient = loss.mean_and_gradient(w, batch, weights)[1]
    everything = torch.arange(SAMPLES)
    full = loss.mean_and_gradient(w, None)[1]
    for chain in range(CHAINS):
        own = F.cross_entropy(loss.module(w[0, chain])(loss.inputs), loss.labels, reduction="none")
        assert torch.allclose(loss.losses(w)[0, chain], own, atol=TOLERANCE)
        wanted = module_gradient(loss, w[0, chain], batch[chain], weights[chain])
        assert torch.allclose(gradient[0, chain], wanted, atol=TOLERANCE)
        wanted = module_gradient(loss, w[0, chain], everything, torch.ones(SAMPLES).double())
        assert torch.allclose(full[0, chain], wanted, atol=TOLERANCE)


def test_the_mean_is_the_weighted_one_with_the_batch_as_divisor() -> None:
    loss, w = problem()
    batch = torch.tensor([[0, 1], [2, 3], [4, 5]])
    weights = torch.tensor([[1.0, 0.0], [2.0, 1.0], [0.0, 0.0]]).double()
    mean = loss.mean_and_gradient(w, batch, weights)[0]
    each = torch.stack([loss.losses(w)[0, chain, batch[chain]] for chain in range(CHAINS)])
    assert torch.allclose(mean[0], (weights * each).sum(1) / 2, atol=TOLERANCE)


def test_checkpoints_have_every_chains_batch() -> None:
    loss, w = problem()
    batch = torch.tensor([[0, 1], [2, 3], [4, 5]])
    both = loss.mean_and_gradient(torch.cat([w, w.flip(1)]), batch)[1]
    assert torch.allclose(both[0], loss.mean_and_gradient(w, batch)[1][0], atol=TOLERANCE)
    assert torch.allclose(both[1], loss.mean_and_gradient(w.flip(1), batch)[1][0], atol=TOLERANCE)


def test_the_gauss_newton_matrix_can_be_taken() -> None:
    """By torch.func through the logits; its quadratic form is that of central differences."""
    loss, w = problem(5, (2,))
    direction = torch.randn(w.shape[-1], generator=torch.Generator().manual_seed(1)).double()
    change = 1e-5
    ahead, behind = (
        loss.logits((w[:, :1] + sign * change * direction), loss.inputs)[0, 0] for sign in (1, -1)
    )
    slope = (ahead - behind) / (2 * change)
    p = loss.logits(w[:, :1], loss.inputs)[0, 0].softmax(1)
    wanted = ((p * slope.square()).sum(1) - (p * slope).sum(1).square()).mean()
    found = direction @ gauss_newton(loss, w[0, 0]) @ direction
    # Central differences: truncation of order change², rounding of order 1e-16 / change.
    assert float(found) == pytest.approx(float(wanted), rel=1e-7)


@pytest.mark.parametrize(
    ("inputs", "labels", "channels", "message"),
    [
        (torch.zeros(2, 63), torch.zeros(2, dtype=torch.int64), (2,), "square images"),
        (torch.zeros(2, 64), torch.zeros(3, dtype=torch.int64), (2,), "2 inputs and 3 labels"),
        (torch.zeros(2, 64), torch.full((2,), 4), (2,), "label 4 of 4 classes"),
        (torch.zeros(2, 64), torch.zeros(2, dtype=torch.int64), (), "at least one convolution"),
    ],
)
def test_bad_input_is_named(
    inputs: Tensor, labels: Tensor, channels: tuple[int, ...], message: str
) -> None:
    jaxtyping.config.update("jaxtyping_disable", True)  # a user's call is not checked for types
    with pytest.raises(ConfigError, match=message):
        ConvLoss(inputs, labels, channels, CLASSES)


def test_positions_of_another_size_are_refused() -> None:
    loss, w = problem()
    with pytest.raises(ConfigError, match="the network needs"):
        loss.losses(w[..., :-1])
