"""Which parameters serve which task."""

import numpy as np
import pytest
import torch

from stagewise.data.modular import modular
from stagewise.errors import ConfigError
from stagewise.models.two_tasks import TwoTaskNet, random_start, shared_units

WIDTH, MODULUS = 4, 5


def served(shared: int) -> list[np.ndarray]:
    """Which parameters the losses of each task depend on, by their gradients at random weights."""
    net = TwoTaskNet(MODULUS, WIDTH, shared)
    (start,) = random_start(MODULUS, WIDTH, [np.random.default_rng(0)])
    torch.nn.utils.vector_to_parameters(start + 0.1, net.parameters())
    train, _ = modular(MODULUS, ("add", "subtract"), 0, 0.9)
    inputs, labels = torch.from_numpy(train.inputs), torch.from_numpy(train.labels)
    found = []
    for task in (0, 1):
        net.zero_grad()
        chosen = torch.from_numpy(train.task == task)
        torch.nn.functional.cross_entropy(net(inputs[chosen]), labels[chosen]).backward()
        found.append(torch.cat([one.grad.ravel() for one in net.parameters()]).numpy() != 0)
    return found


@pytest.mark.parametrize("shared", range(WIDTH + 1))
def test_the_shared_fraction_of_parameters_is_exact(shared: int) -> None:
    first, second = served(shared)
    assert first.sum() == second.sum() == WIDTH * (3 * MODULUS + 2)
    assert (first & second).sum() / first.sum() == shared / WIDTH


def test_logits_by_hand() -> None:
    net = TwoTaskNet(2, 1, 0)
    with torch.no_grad():
        net.inward.copy_(torch.tensor([[1.0, 2.0, 3.0, 4.0], [5.0, 6.0, 7.0, 8.0]]))
        net.gain.copy_(torch.tensor([0.5, 0.25]))
        net.bias.copy_(torch.tensor([1.0, -1.0]))
        net.readout.copy_(torch.tensor([[1.0, 10.0], [2.0, 20.0]]))
    first = net(torch.tensor([[1.0, 0, 0, 1, 1, 0]]))  # a 0, b 1, first task
    np.testing.assert_allclose(first.detach(), [[(1.5 * 5 + 1) ** 2, 2 * (1.5 * 5 + 1) ** 2]])
    second = net(torch.tensor([[0.0, 1, 1, 0, 0, 1]]))
    np.testing.assert_allclose(second.detach(), [[10 * (0.75 * 13 - 1) ** 2, 20 * 8.75**2]])


def test_fractions_that_are_no_whole_number_of_units_are_refused() -> None:
    assert [shared_units(4, one) for one in (0.0, 0.25, 1.0)] == [0, 1, 4]
    with pytest.raises(ConfigError, match="whole number"):
        shared_units(4, 0.3)
    with pytest.raises(ConfigError, match="allowed are 0 to 4"):
        TwoTaskNet(5, 4, 5)
